"""Up- and down-sampling with a filter, against zeros, SciPy's convolution and slices, one channel after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from basicsr.archs.stylegan2_arch import UpFirDnDownsample, UpFirDnSmooth, UpFirDnUpsample
from numpy.typing import NDArray
from scipy.signal import convolve2d

from fsr_plugins.archs.stylegan2.fir import FIR, enlarge, make_kernel, smooth_after_up, smooth_before_down, upfirdn2d

TAPS = (1, 3, 3, 1)
CASES = [
    (1, 1, (0, 0), TAPS),
    (1, 1, (2, 2), TAPS),
    (1, 1, (3, 0), (1, 2, 5)),
    (2, 1, (2, 1), TAPS),
    (2, 1, (0, 0), (1, 2, 5)),
    (3, 1, (5, 4), (1, 2)),
    (1, 2, (1, 1), TAPS),
    (1, 2, (1, 2), (3, 1, 2)),
    (2, 3, (2, 3), (1, 2, 5, 4, 1)),
    (1, 1, (-1, 2), TAPS),
    (2, 2, (3, -2), TAPS),
]


def slow(x: NDArray, kernel: NDArray, up: int, down: int, padding: tuple[int, int]) -> NDArray:
    """(H, W) to (H', W') as the definition says."""
    zeros = np.zeros([side * up for side in x.shape])
    zeros[::up, ::up] = x
    before, after = padding
    zeros = np.pad(zeros, (max(before, 0), max(after, 0)))
    begin, end = max(-before, 0), max(-after, 0)
    zeros = zeros[begin : zeros.shape[0] - end, begin : zeros.shape[1] - end]
    return convolve2d(zeros, kernel, mode='valid')[::down, ::down]


@pytest.mark.parametrize(('up', 'down', 'padding', 'taps'), CASES)
@pytest.mark.parametrize('size', [(8, 8), (7, 12)])
def test_against_the_definition(
    up: int, down: int, padding: tuple[int, int], taps: tuple[float, ...], size: tuple[int, int]
) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kernel = make_kernel(taps, gain=up * up)
    found = upfirdn2d(x, kernel, up, down, padding)
    for n, c in np.ndindex(2, 3):
        expected = slow(x[n, c].numpy(), kernel.double().numpy(), up, down, padding)
        np.testing.assert_allclose(found[n, c].numpy(), expected, atol=1e-12)
    if min(padding) >= 0:
        assert found.shape[2:] == tuple((side * up + sum(padding) - len(taps)) // down + 1 for side in size)


@pytest.mark.parametrize(('up', 'down', 'padding', 'taps'), CASES)
def test_both_gradients(up: int, down: int, padding: tuple[int, int], taps: tuple[float, ...]) -> None:
    x = torch.randn(1, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    kernel = make_kernel(taps)

    def filtered(x: torch.Tensor) -> torch.Tensor:
        return upfirdn2d(x, kernel, up, down, padding).square()

    assert torch.autograd.gradcheck(filtered, (x,))
    assert torch.autograd.gradgradcheck(filtered, (x,))


@pytest.mark.parametrize('taps', [TAPS, (1, 2, 1), (1, 4, 6, 6, 4, 1)])
def test_the_places_of_stylegan2_are_basicsrs(taps: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, 12, 8, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(enlarge(taps)(x), UpFirDnUpsample(taps)(x))
    torch.testing.assert_close(smooth_before_down(taps, 1, down=2)(x), UpFirDnDownsample(taps)(x))
    up, down = UpFirDnSmooth(taps, 2, 1, kernel_size=3), UpFirDnSmooth(taps, 1, 2, kernel_size=3)
    torch.testing.assert_close(smooth_after_up(taps, 3)(x), up(x))
    torch.testing.assert_close(smooth_before_down(taps, 3)(x), down(x))


def test_an_even_image_stays_even_inside() -> None:
    image = torch.full((1, 1, 8, 8), 0.7)
    torch.testing.assert_close(enlarge(TAPS)(image)[..., 2:-2, 2:-2], torch.full((1, 1, 12, 12), 0.7))
    halved = smooth_before_down(TAPS, 1, down=2)(image)
    torch.testing.assert_close(halved[..., 1:-1, 1:-1], torch.full((1, 1, 2, 2), 0.7))


def test_the_filter_moves_with_the_module_and_is_no_state() -> None:
    fir = FIR(TAPS).double()
    assert fir.kernel.dtype == torch.float64
    assert not fir.state_dict()
    with pytest.raises(ValueError, match='adds up to 0'):
        make_kernel((1, -1))


def test_the_type_is_kept_under_autocast() -> None:
    x = torch.rand(1, 3, 8, 8).requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = enlarge(TAPS)(x)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, enlarge(TAPS)(x))
    half = x.detach().bfloat16()
    assert enlarge(TAPS)(half).dtype == torch.bfloat16
