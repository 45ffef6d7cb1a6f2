"""Bicubic resizing that equals MATLAB's ``imresize``, as two products with small dense matrices.

Keys's kernel with a = -0.5 (R. G. Keys: "Cubic convolution interpolation for digital image processing", 1981), widened
by the factor of reduction against aliasing, the taps of a pixel normalised to sum 1, the image mirrored at its borders
(edge pixel repeated). The taps that fall outside are folded back into the matrix, so no image is padded.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fsr_plugins.compiling import constant_when_compiled
from fsr_plugins.degradations.base import Degradation, check_scale, to_8bit
from fsr_plugins.registry import DEGRADATION_REGISTRY

#: Pixels of a picture that are made floats all at once.
_WHOLE = 1 << 24


def keys(x: Tensor, a: float = -0.5) -> Tensor:
    """Keys's cubic convolution kernel (eq. 15 with a = -0.5) at distances in pixels."""
    x = x.abs()
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


@functools.lru_cache(maxsize=256)
def _cached_matrix(n_in: int, n_out: int, scale: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    # A tensor made in inference mode could not be used by a later forward pass with gradients.
    with torch.inference_mode(False), torch.no_grad():
        stretch = max(1.0 / scale, 1.0)
        # Pixel centres: 0.5 in the output falls on 0.5 in the input (counted from the edge).
        centre = (torch.arange(n_out, dtype=torch.float64) + 0.5) / scale - 0.5
        taps = math.ceil(4 * stretch) + 2
        index = torch.floor(centre - 2 * stretch)[:, None] + torch.arange(taps, dtype=torch.float64)
        weight = keys((centre[:, None] - index) / stretch)
        weight = weight / weight.sum(dim=1, keepdim=True)
        folded = index.long() % (2 * n_in)
        folded = torch.minimum(folded, 2 * n_in - 1 - folded)
        matrix = torch.zeros(n_out, n_in, dtype=torch.float64).scatter_add_(1, folded, weight)
        return matrix.to(dtype).to(device)


# Under torch.compile the matrix enters the graph as a constant instead of being built in each call.
@constant_when_compiled
def _matrix(n_in: int, n_out: int, scale: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    return _cached_matrix(n_in, n_out, scale, device, dtype)


def resize_matrix(
    n_in: int,
    n_out: int,
    scale: float | None = None,
    device: torch.device | str = 'cpu',
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The matrix that resizes a line of ``n_in`` pixels to ``n_out``; cached, so not to be changed in place.

    Args:
        n_in: pixels before.
        n_out: pixels after.
        scale: distance of input pixels over distance of output pixels; ``n_out / n_in`` when None.
        device: where the matrix is kept.
        dtype: its type; it is computed in float64.

    Returns:
        (n_out, n_in); each row sums to 1.
    """
    return _matrix(n_in, n_out, n_out / n_in if scale is None else scale, torch.device(device), dtype)


def _target(n: int, scale: float) -> int:
    # MATLAB rounds up; the margin keeps the float 30 * 0.1 = 3.0000000000000004 from becoming 4.
    return math.ceil(n * scale - 1e-9)


def _apply(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``rows @ x @ columns.T`` for each channel, in the order that costs least."""
    n, c, h, w = x.shape
    h_out, w_out = rows.shape[0], columns.shape[0]
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        # Images as they come from uint8 NHWC: the rows are reduced where they lie, and only what is left is reordered.
        # Twice as fast as making the whole batch contiguous (128 to 16 px, CPU).
        short = torch.matmul(rows, x.permute(0, 2, 3, 1).reshape(n, h, w * c)).view(n, h_out, w, c)
        return torch.matmul(short.permute(0, 3, 1, 2).contiguous(), columns.t())
    # Of two orders of equal cost, as with squares, rows first is the quicker by a tenth (CPU).
    if h_out * w * (h + w_out) <= h * w_out * (w + h_out):
        return torch.matmul(torch.matmul(rows, x), columns.t())
    narrow = x.reshape(n * c * h, w) @ columns.t()
    return torch.matmul(rows, narrow.view(n, c, h, w_out))


def imresize(x: Tensor, scale: float | None = None, size: tuple[int, int] | None = None) -> Tensor:
    """Resizes images as MATLAB's ``imresize(x, scale)`` or ``imresize(x, size)``: bicubic, antialiased when reducing.

    Differentiable; computed in float32 (float64 for float64) also under autocast. Agrees with BasicSR's ``imresize`` to
    1e-5 at every pixel. On a GPU this needs float32 products in full precision, torch's default.

    Args:
        x: NCHW, any range, float.
        scale: factor of both sides; sides are rounded up.
        size: (height, width) instead of ``scale``.

    Returns:
        NCHW, not clamped: the kernel overshoots at edges.

    Raises:
        ValueError: not exactly one of ``scale`` and ``size`` is given, or ``x`` is not NCHW.
    """
    if (scale is None) == (size is None):
        raise ValueError("imresize takes either 'scale' or 'size'.")
    if x.ndim != 4:
        raise ValueError(f'imresize takes NCHW; this tensor has the shape {tuple(x.shape)}.')
    h, w = x.shape[2:]
    h_out, w_out = (_target(h, scale), _target(w, scale)) if scale is not None else size or (h, w)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    rows = resize_matrix(h, h_out, scale, x.device, dtype)
    columns = resize_matrix(w, w_out, scale, x.device, dtype)
    with torch.autocast(x.device.type, enabled=False):
        return _apply(x.to(dtype), rows, columns)


def imresize_uint8(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """:func:`imresize` of one picture, uint8 (H, W, C) to uint8 (*size, C), rounded."""
    height, width, channels = image.shape
    if height * width <= _WHOLE:
        planes = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
        resized = imresize(planes, size=size)[0]
    else:
        # A large picture's floats would take gigabytes: its rows are reduced strip by strip.
        rows, columns = resize_matrix(height, size[0]), resize_matrix(width, size[1])
        step = max(1, _WHOLE // height)
        strips = (torch.from_numpy(image[:, left : left + step]) for left in range(0, width, step))
        short = torch.cat([rows @ (strip.reshape(height, -1) / 255) for strip in strips], dim=1)
        resized = short.view(size[0], width, channels).permute(2, 0, 1).contiguous() @ columns.t()
    return resized.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()


def bicubic_up(lq: Tensor, scale: int) -> Tensor:
    """The baseline every method is compared with: ``lq`` enlarged bicubically and clamped.

    Args:
        lq: NCHW, RGB, float in [0, 1].
        scale: factor of both sides.

    Returns:
        NCHW, RGB, float32 in [0, 1].
    """
    return imresize(lq, scale=scale).clamp_(0.0, 1.0)


@DEGRADATION_REGISTRY.register()
class BicubicDown(Degradation):
    """Bicubic reduction equal to MATLAB's; nothing random.

    Args:
        scale: factor of reduction.
        quantize: clamp and round to multiples of 1/255, as an image stored with 8 bits would be; otherwise the
            overshoot of the kernel beyond [0, 1] is kept.
    """

    def __init__(self, scale: int, quantize: bool = True) -> None:
        super().__init__()
        self.scale = check_scale('BicubicDown', scale)
        self.quantize = quantize

    def degrade(self, gt: Tensor, seeds: Tensor) -> Tensor:
        lq = imresize(gt, scale=1.0 / self.scale)
        return to_8bit(lq) if self.quantize else lq

    def extra_repr(self) -> str:
        return f'scale={self.scale}, quantize={self.quantize}'
