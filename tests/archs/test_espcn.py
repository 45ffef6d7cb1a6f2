"""The residual ESPCN: parameters counted by hand, how it begins, and that its pixels lie where they belong."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.espcn import ResidualESPCN
from fsr_plugins.registry import build


def drawn(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('scale', [2, 3, 4, 8])
def test_parameters(scale: int) -> None:
    net = build('archs', {'type': 'ResidualESPCN', 'scale': scale, 'num_feat': 8, 'num_block': 3, 'kernel_size': 5})
    head = 5 * 5 * 3 * 8 + 8 + 8
    block = 2 * (9 * 8 * 8 + 8) + 8
    up = 9 * 8 * 3 * scale**2 + 3 * scale**2
    assert sum(p.numel() for p in net.parameters()) == head + 3 * block + (9 * 8 * 8 + 8) + up


@pytest.mark.parametrize('scale', [2, 3, 4, 8])
@pytest.mark.parametrize('memory', [torch.contiguous_format, torch.channels_last])
def test_it_enlarges(scale: int, memory: torch.memory_format) -> None:
    torch.manual_seed(0)
    net = ResidualESPCN(scale, num_feat=8, num_block=2)
    lq = drawn(2, 3, 5, 7)
    expected = net(lq)
    assert expected.shape == (2, 3, 5 * scale, 7 * scale)
    torch.testing.assert_close(net.to(memory_format=memory)(lq.contiguous(memory_format=memory)), expected)


def test_it_begins_near_bicubic_and_without_a_checkerboard() -> None:
    torch.manual_seed(0)
    lq = drawn(1, 3, 16, 16)
    bicubic = F.interpolate(lq, scale_factor=8, mode='bicubic', align_corners=False)
    detail = ResidualESPCN(8)(lq) - bicubic
    assert 0 < detail.std() < 0.3
    blocks = detail.unfold(2, 8, 8).unfold(3, 8, 8)  # the 8x8 pixels of one LR pixel
    assert blocks.std(dim=(-2, -1)).max() < 1e-5


def test_its_last_convolution_has_a_colour_after_the_other() -> None:
    """Of colour c, the value in row y and column x of a block is channel (c · scale + y) · scale + x."""
    net = ResidualESPCN(2, num_feat=4, num_block=1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        assert net.up.bias is not None
        net.up.bias.copy_(torch.arange(12.0))
    result = net(torch.zeros(1, 3, 1, 1))[0]
    assert result.tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]]


def test_every_parameter_learns() -> None:
    net = ResidualESPCN(4, num_feat=8, num_block=2)
    net(drawn(2, 3, 6, 6)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert sum(isinstance(module, nn.PReLU) for module in net.modules()) == 3


@pytest.mark.parametrize(('options', 'message'), [({'scale': 1}, 'not by scale=1'), ({'kernel_size': 4}, 'odd')])
def test_wrong_sizes_are_named(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResidualESPCN(**options)


def test_a_mirrored_face_is_enlarged_alike_where_that_is_asked_for():
    torch.manual_seed(0)
    lq = torch.rand(2, 3, 7, 10)
    net = ResidualESPCN(4, num_feat=8, num_block=2, mirror=True)
    plain = ResidualESPCN(4, num_feat=8, num_block=2)
    plain.load_state_dict(net.state_dict())
    assert torch.equal(net(lq), plain(lq))
    net.eval()
    torch.testing.assert_close(net(lq.flip(3)), net(lq).flip(3))
    assert not torch.allclose(plain(lq.flip(3)), plain(lq).flip(3), atol=1e-4)
    torch.testing.assert_close(net(lq), torch.stack([plain(lq), plain(lq.flip(3)).flip(3)]).mean(dim=0))
