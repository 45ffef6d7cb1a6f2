"""Modulated convolutions against loops over images and channels, and against BasicSR's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from basicsr.archs.stylegan2_arch import ModulatedConv2d as Reference
from numpy.typing import NDArray
from scipy.signal import convolve2d, correlate2d
from torch import Tensor

from fsr_plugins.archs.stylegan2.modulation import ModulatedConv2d, SampleMode

MODES: list[SampleMode] = [None, 'upsample', 'downsample']
KERNEL = np.outer((1, 3, 3, 1), (1, 3, 3, 1)) / 64


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_channel(x: NDArray, weight: NDArray, mode: SampleMode) -> NDArray:
    """One channel in, one out."""
    if mode == 'upsample':
        zeros = np.zeros([2 * side - 1 for side in x.shape])
        zeros[::2, ::2] = x
        return convolve2d(np.pad(convolve2d(zeros, weight), 1), 4 * KERNEL, mode='valid')
    if mode == 'downsample':
        return correlate2d(convolve2d(np.pad(x, 2), KERNEL, mode='valid'), weight, mode='valid')[::2, ::2]
    return correlate2d(np.pad(x, len(weight) // 2), weight, mode='valid')


def slow(x: NDArray, style: NDArray, net: ModulatedConv2d) -> NDArray:
    """One image (C, H, W), its style (D,)."""
    affine = {name: p.detach().numpy() for name, p in net.modulation.named_parameters()}
    scales = affine['weight'] @ style / np.sqrt(len(style)) + affine['bias']
    weight = net.weight.detach().numpy()[0]
    weight = weight / np.sqrt(weight[0].size) * scales[None, :, None, None]
    if net.demodulate:
        weight = weight / np.sqrt((weight**2).sum(axis=(1, 2, 3), keepdims=True) + 1e-8)
    return np.stack([sum(slow_channel(x[i], w[i], net.sample_mode) for i in range(len(x))) for w in weight])


@pytest.mark.parametrize(('mode', 'kernel_size'), [*((mode, 3) for mode in MODES), (None, 1)])
@pytest.mark.parametrize('demodulate', [True, False])
@pytest.mark.parametrize('grouped', [True, False])
def test_against_loops(mode: SampleMode, demodulate: bool, grouped: bool, kernel_size: int) -> None:
    torch.manual_seed(0)
    net = ModulatedConv2d(4, 5, kernel_size, 6, demodulate, mode, grouped=grouped).double()
    x, styles = drawn(3, 4, 6, 8), drawn(3, 6, seed=2)
    found = net(x, styles).detach().numpy()
    expected = np.stack([slow(a.numpy(), s.numpy(), net) for a, s in zip(x, styles, strict=True)])
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('grouped', [True, False])
def test_is_basicsrs(mode: SampleMode, grouped: bool) -> None:
    torch.manual_seed(0)
    theirs = Reference(8, 6, 3, 16, sample_mode=mode)
    net = ModulatedConv2d(8, 6, 3, 16, sample_mode=mode, grouped=grouped)
    net.load_state_dict(theirs.state_dict())
    x, styles = drawn(4, 8, 16, 16).float(), drawn(4, 16).float()
    torch.testing.assert_close(net(x, styles), theirs(x, styles), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('grouped', [True, False])
def test_both_gradients(mode: SampleMode, grouped: bool) -> None:
    torch.manual_seed(0)
    net = ModulatedConv2d(2, 2, 3, 3, sample_mode=mode, grouped=grouped).double()
    weight = net.weight.detach().requires_grad_()

    def convolved(x: Tensor, style: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(net, {'weight': weight}, (x, style))

    inputs = (drawn(2, 2, 2, 2).requires_grad_(), drawn(2, 3, seed=2).requires_grad_(), weight)
    assert torch.autograd.gradcheck(convolved, inputs)
    assert torch.autograd.gradgradcheck(convolved, inputs)


def test_demodulated_channels_have_the_deviation_one() -> None:
    torch.manual_seed(0)
    net = ModulatedConv2d(64, 64, 3, 32)
    out = net(torch.randn(4, 64, 32, 32), 3 * torch.randn(4, 32))[..., 1:-1, 1:-1]
    assert out.square().mean().sqrt().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize('grouped', [True, False])
def test_autocast_is_near(grouped: bool) -> None:
    torch.manual_seed(0)
    net = ModulatedConv2d(16, 16, 3, 8, sample_mode='upsample', grouped=grouped)
    x, styles = torch.randn(2, 16, 8, 8), torch.randn(2, 8)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = net(x, styles)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), net(x, styles), rtol=0.05, atol=0.05)
