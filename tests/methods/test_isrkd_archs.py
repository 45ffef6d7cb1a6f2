"""ISR-KD's networks: parameters counted by hand from the layer table, edges, the extended network, paddings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.methods.isrkd.archs import (
    EDGE_KERNELS,
    EdgeBlock,
    GeneratorOutput,
    ISRKDDiscriminator,
    ISRKDGenerator,
    Module,
)


def small(**options: Any) -> ISRKDGenerator:
    torch.manual_seed(1)
    return ISRKDGenerator(**{'num_feat': 16, 'extension_feat': 4, **options})


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def layer(num_in: int, num_out: int, kernel: int) -> int:
    """Weights and biases of a convolution; the same for a deconvolution, and for a linear layer with kernel 1."""
    return num_in * num_out * kernel**2 + num_out


def count_generator() -> int:
    """The layer table at the paper's size: head, three modules (two convolutions, deconvolution, side), tail."""
    module1 = layer(512, 512, 3) + layer(512, 512, 3) + layer(512, 256, 4) + layer(256, 1, 1)
    module2 = layer(512, 512, 3) + layer(512, 256, 3) + layer(256, 128, 4) + layer(128, 1, 1)
    module3 = layer(256, 256, 3) + layer(256, 128, 3) + layer(128, 64, 4) + layer(64, 1, 1)
    return layer(3, 512, 3) + module1 + module2 + module3 + layer(128, 3, 1)


def count_discriminator(side: int) -> int:
    convolutions = [(3, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512), (512, 512)]
    linear = layer(512 * side * side, 512, 1) + layer(512, 1, 1)
    return sum(layer(num_in, num_out, 3) for num_in, num_out in convolutions) + linear


def test_parameters_of_the_generator() -> None:
    assert parameters(ISRKDGenerator()) == count_generator() == 11_912_582


def test_parameters_of_the_extended_generator() -> None:
    extension = layer(3, 64, 3) + 4 * layer(64, 64, 3) + layer(64, 3, 3)
    assert parameters(ISRKDGenerator(extended=True)) == count_generator() + extension


@pytest.mark.parametrize(('padding', 'side', 'total'), [('valid', 15, 64_149_889), ('same', 16, 72_276_353)])
def test_parameters_of_the_discriminator(padding: Any, side: int, total: int) -> None:
    with torch.device('meta'):
        net = ISRKDDiscriminator(d_padding=padding)
    assert parameters(net) == count_discriminator(side) == total


def test_output_is_eight_times_the_input_with_edges_at_three_scales() -> None:
    net, lq = small(), torch.rand(2, 3, 6, 5)
    output = net(lq, details=True)
    assert isinstance(output, GeneratorOutput)
    assert output.sr.shape == (2, 3, 48, 40)
    assert [tuple(edge.shape) for edge in output.edges] == [(2, 1, 12, 10), (2, 1, 24, 20), (2, 1, 48, 40)]
    assert all(edge.min() >= 0 for edge in output.edges)
    assert output.bottleneck.shape == (2, 16, 6, 5)
    torch.testing.assert_close(net(lq), output.sr, rtol=0, atol=0)


def test_an_image_does_not_depend_on_its_batch() -> None:
    net, lq = small(), torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(net(lq)[1:2], net(lq[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('kernel', EDGE_KERNELS)
def test_a_constant_has_no_edges_borders_included(kernel: int) -> None:
    block = EdgeBlock(4, kernel)
    constant = torch.tensor([0.3, 1.0, 7.5, 255.0])[None, :, None, None].expand(2, 4, 16, 20)
    output, edges = block(constant)
    torch.testing.assert_close(output[:, :4], constant, rtol=0, atol=0)
    assert edges.abs().max() / 255 < 1e-6
    nn.init.zeros_(block.side.bias)
    assert block.edge_map(edges).abs().max() / 255 < 1e-6


@pytest.mark.parametrize('kernel', EDGE_KERNELS)
def test_edges_are_what_exceeds_the_mean_of_the_valid_neighbours(kernel: int) -> None:
    x = torch.randn(1, 2, 13, 12, dtype=torch.float64)
    before, after = (kernel - 1) // 2, kernel // 2  # TensorFlow's SAME: the odd pixel at the right and below
    expected = torch.empty_like(x)
    for i in range(13):
        for j in range(12):
            window = x[:, :, max(i - before, 0) : i + after + 1, max(j - before, 0) : j + after + 1]
            expected[:, :, i, j] = (x[:, :, i, j] - window.mean(dim=(2, 3))).clamp(min=0)
    torch.testing.assert_close(EdgeBlock(2, kernel)(x)[1], expected)


def test_module_by_its_formula() -> None:
    torch.manual_seed(0)
    module, x = Module(8, 4, 2, 7), torch.randn(1, 8, 6, 6)
    inner = F.relu(F.conv2d(x, module.conv1.weight, module.conv1.bias, padding=1))
    residual = F.relu(F.conv2d(inner, module.conv2.weight, module.conv2.bias, padding=1))
    feature = x[:, :4] + residual  # the deconvolution's half of the input, not its edges
    up = F.relu(F.conv_transpose2d(feature, module.up.weight, module.up.bias, stride=2, padding=1))
    output, edges, given = module(x)
    torch.testing.assert_close(given, feature)
    torch.testing.assert_close(output, torch.cat([up, edges], dim=1))


def test_bottleneck_is_the_residual_sum_of_the_first_module() -> None:
    net, lq = small(), torch.rand(1, 3, 4, 4)
    feature = net.head(lq)
    expected = feature + net.module1.conv2(net.module1.conv1(feature).relu()).relu()
    torch.testing.assert_close(net(lq, details=True).bottleneck, expected)


@pytest.mark.parametrize('extended', [False, True])
def test_gradients_reach_every_parameter(extended: bool) -> None:
    net = small(extended=extended)
    output = net(torch.rand(2, 3, 8, 8), details=True)
    (output.sr.square().mean() + sum(edge.mean() for edge in output.edges)).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_extension_follows_the_image() -> None:
    net, lq = small(extended=True), torch.rand(1, 3, 4, 4)
    plain = small()
    plain.load_state_dict({key: value for key, value in net.state_dict().items() if not key.startswith('extension')})
    image = plain(lq)
    expected = image
    convolutions = [module for module in net.extension or [] if isinstance(module, nn.Conv2d)]
    for place, conv in enumerate(convolutions):
        expected = F.conv2d(expected, conv.weight, conv.bias, padding=1)
        expected = expected.relu() if place < 5 else expected
    assert len(convolutions) == 6
    torch.testing.assert_close(net(lq), expected)
    net.extension_skip = True
    torch.testing.assert_close(net(lq), image + expected)


@pytest.mark.parametrize('num_feat', [4, 20])
def test_a_width_that_cannot_be_halved_three_times_is_refused(num_feat: int) -> None:
    with pytest.raises(ValueError, match=f'not {num_feat}'):
        ISRKDGenerator(num_feat=num_feat)


@pytest.mark.parametrize('padding', ['valid', 'same'])
@pytest.mark.parametrize('size', [31, 32, 50])
def test_discriminator_takes_any_size_it_was_built_for(padding: Any, size: int) -> None:
    net = ISRKDDiscriminator(input_size=size, num_feat=2, num_fc=4, d_padding=padding)
    assert net(torch.rand(2, 3, size, size)).shape == (2, 1)
    with pytest.raises(ValueError, match=f'input_size={size}'):
        net(torch.rand(1, 3, size, size + 1))


def discriminate(net: ISRKDDiscriminator, x: Tensor) -> Tensor:
    """Fig. 3 with TensorFlow's paddings written out; strides 1, 2, 1, 2, 1, 2, 1."""
    for place, conv in enumerate(net.convs):
        stride = 2 if place in (1, 3, 5) else 1
        if stride == 1:
            x = F.pad(x, (1, 1, 1, 1))
        elif net.d_padding == 'same':
            total = max((-(-x.shape[2] // 2) - 1) * 2 + 3 - x.shape[2], 0)
            x = F.pad(x, (total // 2, total - total // 2) * 2)
        x = F.conv2d(x, conv.weight, conv.bias, stride=stride)
        x = x if place == 6 else torch.where(x > 0, x, 0.2 * x)
    hidden = x.flatten(1) @ net.fc.weight.t() + net.fc.bias
    return torch.where(hidden > 0, hidden, 0.2 * hidden) @ net.logit.weight.t() + net.logit.bias


@pytest.mark.parametrize('padding', ['valid', 'same'])
@pytest.mark.parametrize('size', [33, 40])
def test_discriminator_by_its_formula(padding: Any, size: int) -> None:
    torch.manual_seed(0)
    net, x = ISRKDDiscriminator(input_size=size, num_feat=2, num_fc=4, d_padding=padding), torch.rand(2, 3, size, size)
    torch.testing.assert_close(net(x), discriminate(net, x))


def test_gradients_reach_every_parameter_of_the_discriminator() -> None:
    torch.manual_seed(0)
    net = ISRKDDiscriminator(input_size=32, num_feat=4, num_fc=8)
    net(torch.rand(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize('options', [{'d_padding': 'full'}, {'input_size': 14}])
def test_wrong_options_of_the_discriminator_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(options.values())))):
        ISRKDDiscriminator(num_feat=2, **options)


def test_traced_generator_gives_the_same() -> None:
    net = small().eval()
    example, other = torch.rand(2, 1, 3, 8, 8)
    torch.testing.assert_close(torch.jit.trace(net, example)(other), net(other))
