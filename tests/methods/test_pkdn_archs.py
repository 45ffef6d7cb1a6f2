"""PKDN's networks: parameters counted by hand from the layer table, blocks against their formulas, every switch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.attention import ChannelGate, SpatialGate
from fsr_plugins.methods.pkdn.archs import PKDNStudent, PKDNTeacher
from fsr_plugins.methods.pkdn.blocks import FFB, PFB, part_codes

from basicsr.utils.matlab_functions import imresize as basicsr_imresize  # isort: skip


def student(**options: Any) -> PKDNStudent:
    torch.manual_seed(0)
    return PKDNStudent(**{'num_feat': 4, 'num_block': 1, 'squeeze_factor': 2, **options})


def teacher(**options: Any) -> PKDNTeacher:
    torch.manual_seed(0)
    return PKDNTeacher(**{'num_feat': 4, 'num_block': 1, 'squeeze_factor': 2, **options})


def maps(number: int, size: int = 128) -> Tensor:
    numbers = torch.Generator().manual_seed(2)
    return torch.randint(19, (number, size, size), dtype=torch.uint8, generator=numbers)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def conv(num_in: int, num_out: int, kernel: int = 3) -> int:
    """Weights and biases."""
    return num_in * num_out * kernel**2 + num_out


def gate(c: int, r: int) -> int:
    """Two 1x1 convolutions, C to C / r to C: a channel attention."""
    return conv(c, c // r, 1) + conv(c // r, c, 1)


def rcag(c: int, blocks: int, squeeze: int) -> int:
    return blocks * (2 * conv(c, c) + gate(c, squeeze))


def pfb(c: int, prior: int, r: int) -> int:
    spatial = conv(c, 2 * c, 1) + conv(2 * c, c, 1)
    return conv(c, c) + conv(prior, c) + conv(2 * c, c) + gate(c, r) + spatial + conv(2 * c, c, 1)


def ffb(c: int, r: int) -> int:
    return 4 * conv(c, c) + gate(c, r)


def frame(c: int, head: int = 3) -> int:
    """Head, four halvings, four doublings, tail."""
    return conv(head, c) + 4 * (conv(4 * c, c) + conv(c, 4 * c)) + conv(c, 3)


def test_parameters_of_the_student() -> None:
    assert parameters(PKDNStudent()) == frame(64) + 9 * rcag(64, 6, 16) == 5_203_995
    assert parameters(student()) == frame(4) + 9 * rcag(4, 1, 2)
    assert parameters(student(student_ffb=True)) == frame(4) + 9 * rcag(4, 1, 2) + 4 * ffb(4, 4)


def test_parameters_of_the_teacher() -> None:
    assert parameters(PKDNTeacher()) == frame(64) + 9 * 2 * pfb(64, 3, 4) + 4 * ffb(64, 4) == 4_294_307
    assert parameters(teacher(parsing_format='onehot')) == frame(4) + 9 * pfb(4, 19, 4) + 4 * ffb(4, 4)
    assert parameters(teacher(concat_parsing_head=True)) == frame(4, 6) + 9 * pfb(4, 3, 4) + 4 * ffb(4, 4)


def test_the_rows_of_table_2() -> None:
    without_both = teacher(teacher_block='rcag', use_ffb=False)
    assert parameters(without_both) == parameters(student())
    assert parameters(teacher(use_ffb=False)) == frame(4) + 9 * pfb(4, 3, 4)


def call(net: nn.Module, lq: Tensor, **options: Any) -> Any:
    """The network's output; a teacher gets maps too."""
    if isinstance(net, PKDNTeacher):
        return net(lq, maps(lq.shape[0], net.scale * lq.shape[2]), **options)
    return net(lq, **options)


@pytest.mark.parametrize('make', [student, teacher])
@pytest.mark.parametrize('scale', [4, 8])
def test_image_and_features_of_every_stage(make: Callable[..., Any], scale: int) -> None:
    net, lq = make(scale=scale), torch.rand(2, 3, 128 // scale, 128 // scale)
    sr, features = call(net, lq, with_features=True)
    assert sr.shape == (2, 3, 128, 128)
    assert [tuple(f.shape) for f in features] == [(2, 4, side, side) for side in (64, 32, 16, 8, 8, 16, 32, 64, 128)]
    torch.testing.assert_close(call(net, lq), sr)


@pytest.mark.parametrize('make', [student, teacher])
def test_an_image_does_not_depend_on_its_batch(make: Callable[..., Any]) -> None:
    net, lq = make(), torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(call(net, lq)[:1], call(net, lq[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    'make',
    [
        lambda **wide: student(**wide),
        lambda **wide: student(student_ffb=True, **wide),
        lambda **wide: teacher(**wide),
        lambda **wide: teacher(teacher_block='rcag', concat_parsing_head=True, **wide),
        lambda **wide: teacher(use_ffb=False, parsing_format='onehot', **wide),
    ],
)
def test_gradients_reach_every_layer(make: Callable[..., nn.Module]) -> None:
    net = make(num_feat=16)  # of 2 hidden channels in a gate all may be off
    call(net, torch.rand(1, 3, 16, 16)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def silent(net: Any) -> Any:
    """The network with a tail that gives zero."""
    nn.init.zeros_(net.tail.weight)
    nn.init.zeros_(net.tail.bias)
    return net


def test_lr_is_enlarged_as_matlab_does() -> None:
    lq = torch.rand(1, 3, 16, 16)
    enlarged = silent(student(global_skip=True))(lq)
    torch.testing.assert_close(enlarged[0], basicsr_imresize(lq[0], 8), rtol=0, atol=1e-5)
    assert not silent(student())(lq).any()
    for mode in ('bilinear', 'nearest'):
        other = silent(student(global_skip=True, pre_upsample=mode))(lq)
        torch.testing.assert_close(other, nn.Upsample(scale_factor=8, mode=mode)(lq))


def test_student_takes_lr_alone() -> None:
    with pytest.raises(TypeError):
        student()(torch.rand(1, 3, 16, 16), parsing=maps(1))


@pytest.mark.parametrize(
    ('options', 'seen'),
    [
        ({}, True),
        ({'parsing_format': 'onehot'}, True),
        ({'teacher_block': 'rcag'}, False),
        ({'teacher_block': 'rcag', 'concat_parsing_head': True}, True),
        ({'teacher_block': 'rcag', 'concat_parsing_head': True, 'parsing_format': 'onehot'}, True),
    ],
)
def test_the_map_comes_in_by_pfbs_or_by_the_head(options: dict[str, Any], seen: bool) -> None:
    net, lq, parsing = teacher(**options), torch.rand(1, 3, 16, 16), maps(1)
    assert bool((net(lq, parsing) != net(lq, 18 - parsing)).any()) is seen


def test_palette_is_pascal_voc_s() -> None:
    # The colours of its development kit for the ids 0 to 18, as they are published.
    published = [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128),
        (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128), (64, 128, 128),
        (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0),
    ]  # fmt: skip
    np.testing.assert_allclose(part_codes('rgb').numpy() * 255, published, atol=1e-4)
    assert torch.equal(part_codes('onehot'), torch.eye(19))


def mlp(weights: nn.Sequential, x: Tensor) -> Tensor:
    """The gates' two 1x1 convolutions on (N, C) by matrix products."""
    first, second = weights[0], weights[2]
    hidden = torch.relu(x @ first.weight.flatten(1).T + first.bias)
    return hidden @ second.weight.flatten(1).T + second.bias


def test_channel_gate_by_hand() -> None:
    net, x = ChannelGate(8, 4), torch.randn(2, 8, 5, 6)
    flat = x.flatten(2)
    pooled = (flat.mean(2), flat.max(2).values, ((flat - flat.mean(2, keepdim=True)) ** 2).mean(2))
    weight = torch.sigmoid(sum(mlp(net.mlp, each) for each in pooled))
    torch.testing.assert_close(net(x), x * weight[:, :, None, None])
    assert torch.isfinite(net(x[:, :, :1, :1])).all()  # a single pixel


def test_spatial_gate_by_hand() -> None:
    net, x = SpatialGate(4), torch.randn(2, 4, 3, 5)
    pixels = x.permute(0, 2, 3, 1)
    weight = torch.sigmoid(mlp(net.weights, pixels.reshape(-1, 4))).view_as(pixels)
    torch.testing.assert_close(net(x), (pixels * weight).permute(0, 3, 1, 2))


def test_pfb_by_hand() -> None:
    block, feature, prior = PFB(4, 3, 2), torch.randn(1, 4, 4, 6), torch.rand(1, 3, 16, 24)
    nearest = prior[:, :, ::4, ::4]
    of_feature = torch.relu(
        F.conv2d(feature, block.project_feature[0].weight, block.project_feature[0].bias, padding=1)
    )
    of_prior = torch.relu(F.conv2d(nearest, block.project_prior[0].weight, block.project_prior[0].bias, padding=1))
    fused = F.conv2d(torch.cat([of_feature, of_prior], 1), block.fuse.weight, block.fuse.bias, padding=1)
    gated = torch.cat([block.channel_gate(fused), block.spatial_gate(fused)], 1)
    expected = feature + F.conv2d(gated, block.join.weight, block.join.bias)
    torch.testing.assert_close(block(feature, prior), expected)


@pytest.mark.parametrize('residual', [True, False])
def test_ffb_by_hand(residual: bool) -> None:
    block, feature, kept = FFB(4, 2, residual), torch.randn(2, 4, 6, 6), torch.randn(2, 4, 6, 6)
    difference = feature - kept
    for each in block.project:
        hidden = torch.relu(F.conv2d(difference, each.conv1.weight, each.conv1.bias, padding=1))
        difference = difference + F.conv2d(hidden, each.conv2.weight, each.conv2.bias, padding=1)
    expected = block.gate(feature + difference) + (feature if residual else 0)
    torch.testing.assert_close(block(feature, kept), expected)


def test_each_ffb_is_given_the_encoder_s_feature_of_its_size() -> None:
    net, seen = student(student_ffb=True), []
    for block in net.fusion:
        block.register_forward_pre_hook(lambda _, given: seen.append(given))
    _, features = net(torch.rand(1, 3, 16, 16), with_features=True)
    for (_, kept), down in zip(seen[:3], (features[2], features[1], features[0]), strict=True):
        assert kept is down
    assert [given[0].shape for given in seen] == [given[1].shape for given in seen]
    assert seen[3][1].shape[2:] == (128, 128)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: student(pre_upsample='lanczos'), 'lanczos'),
        (lambda: student(squeeze_factor=8), 'reduced 8 times'),
        (lambda: teacher(teacher_block='msrb'), 'msrb'),
        (lambda: teacher(parsing_format='grey'), 'grey'),
        (lambda: student()(torch.rand(1, 3, 9, 16)), '72x128'),
        (lambda: teacher()(torch.rand(1, 3, 16, 16), maps(1, 64)), r'\(1, 64, 64\)'),
    ],
)
def test_what_does_not_fit_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize('net', [student(), student(global_skip=True, student_ffb=True)])
def test_traced_student_gives_the_same(net: nn.Module) -> None:
    example, other = torch.rand(2, 1, 3, 16, 16)
    traced = torch.jit.trace(net.eval(), example)
    torch.testing.assert_close(traced(other), net(other))
