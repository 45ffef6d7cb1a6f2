"""Up- and down-sampling with a FIR filter, differentiable as often as one likes, in plain PyTorch.

The operation of scipy's ``upfirdn`` on both axes of an image: zeros between the pixels, zeros around the image (or
pixels cropped), a convolution, every n-th pixel kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Padding = tuple[int, int]


def make_kernel(taps: Sequence[float], gain: float = 1.0) -> Tensor:
    """The filter (K, K) float32 that is ``taps`` (K) along both axes, its sum ``gain``.

    Zero insertion by a factor f leaves one pixel in f * f: a filter after it needs the gain f * f.

    Raises:
        ValueError: the taps add up to 0.
    """
    total = sum(taps)
    if total == 0:
        raise ValueError(f'The FIR filter {tuple(taps)} adds up to 0: it cannot be given a gain.')
    line = torch.tensor([tap / total for tap in taps], dtype=torch.float32)
    return gain * torch.outer(line, line)


def upfirdn2d(x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, padding: Padding = (0, 0)) -> Tensor:
    """Filters every channel of an image, between an up- and a down-sampling.

    Along each axis ``up - 1`` zeros follow each pixel, ``padding`` zeros are put before and after (negative: taken
    away), the filter is convolved where it fits, and of the result every ``down``-th pixel is kept, the first included.
    The gradient is the same operation with the filter turned and ``up`` and ``down`` exchanged, and is computed so:
    the convolution's own second derivative would cost several times as much. The filter gets none.

    Args:
        x: (N, C, H, W) float.
        kernel: (K, K), see :func:`make_kernel`.
        up, down: factors.
        padding: before and after, in pixels of the enlarged image.

    Returns:
        (N, C, H', W') of the type of x, under autocast too, H' = (H * up + sum(padding) - K) // down + 1.
    """
    result: Tensor = _UpFirDown.apply(x, kernel, up, down, (padding, padding))
    return result


class _Context(Protocol):
    """What autograd keeps between :class:`_UpFirDown`'s two directions."""

    saved_tensors: tuple[Tensor, ...]
    factors: tuple[int, int]
    padding: tuple[Padding, Padding]

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keeps tensors."""


class _UpFirDown(torch.autograd.Function):
    """:func:`upfirdn2d` with the padding of rows and of columns apart: the adjoint of an image that is not square."""

    @staticmethod
    def forward(
        ctx: _Context, x: Tensor, kernel: Tensor, up: int, down: int, padding: tuple[Padding, Padding]
    ) -> Tensor:
        ctx.save_for_backward(kernel)
        with torch.autocast(x.device.type, enabled=False):
            out = _up_fir_down(x, kernel, up, down, padding)
        ctx.factors = (up, down)
        size = kernel.shape[0]
        rows, columns = (
            (size - 1 - before, num_in * up - num_out * down + before - up + 1)
            for num_in, num_out, (before, _) in zip(x.shape[2:], out.shape[2:], padding, strict=True)
        )
        ctx.padding = rows, columns
        return out

    @staticmethod
    def backward(ctx: _Context, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (kernel,) = ctx.saved_tensors
        up, down = ctx.factors
        return _UpFirDown.apply(grad_outputs[0], kernel.flip(0, 1), down, up, ctx.padding), None, None, None, None


def _up_fir_down(x: Tensor, kernel: Tensor, up: int, down: int, padding: tuple[Padding, Padding]) -> Tensor:
    """One depthwise convolution: with the four taps of StyleGAN2, one pass over both axes is faster than one each."""
    channels, size = x.shape[1], kernel.shape[0]
    weight = kernel.to(x.dtype).expand(channels, 1, size, size)
    (top, bottom), (left, right) = padding
    if up > 1:
        # The transposed convolution never touches the zeros between the pixels. It begins size - 1 rows early and lacks
        # the up - 1 zeros behind the last pixel.
        out = F.conv_transpose2d(x, weight, stride=up, groups=channels)
        missing = up - size
        out = F.pad(out, (left - size + 1, right + missing, top - size + 1, bottom + missing))
        return out[:, :, ::down, ::down]
    rows, columns = max(min(top, bottom), 0), max(min(left, right), 0)
    rest = (left - columns, right - columns, top - rows, bottom - rows)
    x = F.pad(x, rest) if any(rest) else x
    return F.conv2d(x, weight.flip(2, 3), stride=down, padding=(rows, columns), groups=channels)


class FIR(nn.Module):
    """:func:`upfirdn2d` with fixed arguments; its filter moves with the module and is no part of its state.

    Args:
        taps: of the filter along one axis.
        gain: sum of the filter.
        up, down, padding: as in :func:`upfirdn2d`.
    """

    kernel: Tensor

    def __init__(
        self, taps: Sequence[float], gain: float = 1.0, up: int = 1, down: int = 1, padding: Padding = (0, 0)
    ) -> None:
        super().__init__()
        self.register_buffer('kernel', make_kernel(taps, gain), persistent=False)
        self.up, self.down, self.padding = up, down, padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        return upfirdn2d(x, self.kernel, self.up, self.down, self.padding)


def enlarge(taps: Sequence[float]) -> FIR:
    """An image to twice its height and width."""
    spare = len(taps) - 2
    return FIR(taps, gain=4.0, up=2, padding=((spare + 1) // 2 + 1, spare // 2))


def smooth_after_up(taps: Sequence[float], kernel_size: int) -> FIR:
    """What follows a transposed convolution of stride 2 and ``kernel_size`` pixels: (2h + kernel_size - 2) to 2h."""
    spare = len(taps) - 2 - (kernel_size - 1)
    return FIR(taps, gain=4.0, padding=((spare + 1) // 2 + 1, spare // 2 + 1))


def smooth_before_down(taps: Sequence[float], kernel_size: int, down: int = 1) -> FIR:
    """What goes before a convolution of stride 2 and ``kernel_size`` pixels without padding, so that it gives h / 2.

    A convolution of one pixel may leave the halving to the filter (``down=2``), which then computes a quarter.
    """
    spare = len(taps) - 2 + (kernel_size - 1)
    return FIR(taps, down=down, padding=((spare + 1) // 2, spare // 2))
