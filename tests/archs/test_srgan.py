"""SRGAN's networks: sizes and parameters counted by hand, and how they begin."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fsr_plugins.archs.srgan import SRGANDiscriminator, SRGANGenerator, UpsamplingBlock
from fsr_plugins.registry import build


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def count_generator(scale: int, c: int, blocks: int) -> int:
    """By the layers of Fig. 4; no bias before BN, a slope for each channel."""
    head = 9 * 9 * 3 * c + c + c
    block = 2 * (9 * c * c + 2 * c) + c
    middle = 9 * c * c + 2 * c
    doubling = 9 * c * 4 * c + 4 * c + c
    return head + blocks * block + middle + {2: 1, 4: 2, 8: 3}[scale] * doubling + 9 * 9 * c * 3 + 3


@pytest.mark.parametrize('scale', [2, 4, 8])
def test_generator_of_the_papers_size(scale: int) -> None:
    net = build('archs', {'type': 'SRGANGenerator', 'scale': scale})
    assert parameters(net) == count_generator(scale, 64, 16) == {2: 1_400_771, 4: 1_548_547, 8: 1_696_323}[scale]
    assert sum(isinstance(module, nn.PReLU) for module in net.modules()) == 17 + {2: 1, 4: 2, 8: 3}[scale]


def test_discriminator_of_the_papers_size() -> None:
    net = build('archs', {'type': 'SRGANDiscriminator'})
    widths = [3, 64, 64, 128, 128, 256, 256, 512, 512]
    convs = sum(9 * a * b for a, b in zip(widths[:-1], widths[1:], strict=True))
    norms = sum(2 * width for width in widths[2:])
    assert parameters(net) == convs + 64 + norms + (512 * 8 * 8 * 1024 + 1024) + 1025 == 38_243_713
    strides = [module.stride[0] for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert strides == [1, 2] * 4


@pytest.mark.parametrize('scale', [2, 4, 8])
@pytest.mark.parametrize('memory', [torch.contiguous_format, torch.channels_last])
def test_generator_enlarges(scale: int, memory: torch.memory_format) -> None:
    torch.manual_seed(0)
    net = SRGANGenerator(scale, num_feat=8, num_block=2)
    lq = drawn(2, 3, 5, 7)
    expected = net.eval()(lq)
    assert expected.shape == (2, 3, scale * 5, scale * 7)
    other = net.to(memory_format=memory)(lq.contiguous(memory_format=memory))
    torch.testing.assert_close(other, expected)


def test_generator_without_bn_counts_biases_instead() -> None:
    net = SRGANGenerator(8, num_feat=64, num_block=16, use_bn=False)
    norms = 16 * 2 + 1  # each of scale and shift, for which a convolution has a bias
    assert parameters(net) == 1_696_323 - norms * 64
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def test_generator_may_begin_near_bicubic() -> None:
    torch.manual_seed(0)
    lq = drawn(2, 3, 8, 8)
    bicubic = F.interpolate(lq, scale_factor=8, mode='bicubic', align_corners=False)
    near, far = (SRGANGenerator(8, 16, 4, use_bn=False, add_bicubic=add)(lq) - bicubic for add in (True, False))
    assert 0 < near.abs().mean() < 0.5 * far.abs().mean()
    net = SRGANGenerator(8, 16, 4, add_bicubic=True)
    nn.init.zeros_(net.tail.weight)
    torch.testing.assert_close(net(lq), bicubic)


@pytest.mark.parametrize('size', [16, 48, 64, 128])
@pytest.mark.parametrize('memory', [torch.contiguous_format, torch.channels_last])
def test_discriminator_of_any_size(size: int, memory: torch.memory_format) -> None:
    torch.manual_seed(0)
    net = SRGANDiscriminator(num_feat=4, input_size=size, num_fc=8)
    images = drawn(2, 3, size, size)
    expected = net.eval()(images)
    assert expected.shape == (2, 1)
    other = net.to(memory_format=memory)(images.contiguous(memory_format=memory))
    torch.testing.assert_close(other, expected)


@pytest.mark.parametrize('net', [SRGANGenerator(4, 8, 2), SRGANDiscriminator(4, 16, 8)])
def test_every_parameter_gets_a_gradient(net: nn.Module) -> None:
    net(drawn(4, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_doubling_begins_without_a_checkerboard() -> None:
    """The four pixels that come of one are alike, and their convolution has He's deviation for the slope 0.25."""
    torch.manual_seed(0)
    net = SRGANGenerator(2, num_feat=64, num_block=1)
    doubling = net.up[0]
    assert isinstance(doubling, UpsamplingBlock)
    image = doubling(drawn(1, 64, 6, 6))
    torch.testing.assert_close(image, F.interpolate(image[:, :, ::2, ::2], scale_factor=2, mode='nearest'))
    assert doubling.conv.weight.std().item() == pytest.approx((2 / (1 + 0.25**2) / (64 * 9)) ** 0.5, rel=0.02)


def test_images_begin_about_the_middle_of_the_range() -> None:
    torch.manual_seed(0)
    sr = SRGANGenerator(4)(drawn(2, 3, 16, 16))
    assert sr.mean().item() == pytest.approx(0.5, abs=0.1)
    assert sr.std().item() < 0.3


def test_hidden_layers_begin_with_the_spread_of_their_input() -> None:
    """He's weights keep the second moment: 1 after BN in, about 1 out, less what zeros around the image take."""
    torch.manual_seed(0)
    net = SRGANDiscriminator(num_feat=64, input_size=32)
    conv = net.features[2]
    x = F.leaky_relu(torch.randn(8, 64, 32, 32), 0.2)
    assert conv(x).square().mean().item() == pytest.approx(1, abs=0.1)


def test_basicsrs_discriminator_takes_the_same_place() -> None:
    block = {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 2, 'input_size': 128}
    assert build('archs', block)(drawn(2, 3, 128, 128)).shape == (2, 1)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match='scale=3'):
        SRGANGenerator(3)
    with pytest.raises(ValueError, match='40'):
        SRGANDiscriminator(input_size=40)
    with pytest.raises(ValueError, match='input_size=32.*48x48'):
        SRGANDiscriminator(4, 32, 8)(drawn(1, 3, 48, 48))
