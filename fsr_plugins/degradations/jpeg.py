"""JPEG compression of a batch, each image with its own quality, as libjpeg does it.

ITU-T T.81 (baseline), with the example quantisation tables of its annex K scaled by the quality in libjpeg's way,
JFIF's full-range YCbCr, chroma halved by 2×2 means and enlarged with libjpeg's triangle filter. Entropy coding loses
nothing and is left out.

An image comes out the same, bit for bit, in any batch. A library may sum a matrix product in another order for another
number of rows, so the transforms are exact sums (whole numbers times multiples of 2⁻²⁴, in float64), which have no
order; the colours are mixed element by element.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.compiling import constant_when_compiled
from fsr_plugins.degradations.base import Degradation, check_range
from fsr_plugins.degradations.random import integers
from fsr_plugins.errors import UserError
from fsr_plugins.registry import DEGRADATION_REGISTRY

# T.81, tables K.1 and K.2.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# JFIF 1.02, page 3: full-range YCbCr without the offset of 128.
_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))

# A sum of 64 products of coefficients (below 2¹², steps of the table included) stays below 2¹⁸: with 24 bits behind the
# point it is exact in the 53 bits of float64.
_DCT_GRID = 2.0**24
# libjpeg's fixed point for colours: where thousandths of Y are halves, it decides as libjpeg does.
_COLOUR_GRID = 2.0**16


def _on_grid(matrix: Tensor, grid: float) -> Tensor:
    return (matrix * grid).round() / grid


@functools.lru_cache(maxsize=8)
def _cached_constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with torch.inference_mode(False):
        k = torch.arange(8, dtype=torch.float64)
        dct = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) / 2
        dct[0] /= math.sqrt(2)
        tables = torch.tensor([_LUMA, _CHROMA], dtype=torch.float32)
        # A block as a vector of 64: one product with the Kronecker square is the transform of rows and columns at once.
        to_ycbcr, to_rgb = _on_grid(torch.tensor([_TO_YCBCR, _TO_RGB], dtype=torch.float64), _COLOUR_GRID).float()
        return (
            _on_grid(torch.kron(dct, dct), _DCT_GRID).to(device),
            tables.view(2, 64).to(device),
            to_ycbcr.to(device),
            to_rgb.to(device),
        )


@constant_when_compiled
def _constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _cached_constants(device)


def quantisation_tables(quality: Tensor) -> Tensor:
    """The luma and chroma tables of each quality, as libjpeg's ``jpeg_set_quality`` makes them for baseline files.

    Args:
        quality: int64 (N,), 1 to 100.

    Returns:
        float32 (N, 2, 64), whole numbers from 1 to 255; row-major 8×8, luma first.
    """
    percent = torch.where(quality < 50, 5000 // quality.clamp(min=1), 200 - 2 * quality).float()
    tables = _constants(quality.device)[1]
    return ((tables * percent[:, None, None] + 50.0) / 100.0).floor_().clamp_(1.0, 255.0)


def _mix(planes: Tensor, matrix: Tensor) -> Tensor:
    """The channels of (N, 3, H, W) mixed by a matrix (3, 3), always in the same order."""
    first, second, third = matrix.t()[:, :, None, None].unbind(0)
    return planes[:, :1] * first + planes[:, 1:2] * second + planes[:, 2:] * third


def _code(plane: Tensor, table: Tensor) -> Tensor:
    """Transforms, quantises by tables (N, P or 1, 64) and restores planes (N, P, H, W) of 8 bits centred on 0."""
    n, p, h, w = plane.shape
    padded = F.pad(plane, (0, -w % 8, 0, -h % 8), mode='replicate')
    rows, columns = padded.shape[2] // 8, padded.shape[3] // 8
    blocks = padded.view(n, p, rows, 8, columns, 8).transpose(3, 4).reshape(n, p, rows * columns, 64)
    dct = _constants(plane.device)[0]
    step = table[:, :, None]
    quantised = ((blocks.double() @ dct.t()) / step).round_() * step
    blocks = (quantised @ dct).round_().clamp_(-128.0, 127.0).float()
    restored = blocks.view(n, p, rows, columns, 8, 8).transpose(3, 4).reshape(padded.shape)
    return restored[:, :, :h, :w]


def _halve(chroma: Tensor) -> Tensor:
    """Means of 2×2 pixels, rounded; an exact half is rounded down and up in alternating columns, as libjpeg does."""
    # libjpeg fills the last block to the right before it takes means, and below after it.
    even = F.pad(chroma, (0, -chroma.shape[3] % 16, 0, chroma.shape[2] % 2), mode='replicate')
    mean = F.avg_pool2d(even, 2)
    column = torch.arange(mean.shape[3], device=mean.device, dtype=mean.dtype) % 2
    return (mean + 0.25 + 0.25 * column).floor_()


def jpeg(x: Tensor, quality: Tensor, subsample: bool = True) -> Tensor:
    """Compresses and restores each image with its own quality.

    Args:
        x: NCHW, RGB, float32 in [0, 1]; rounded to 8 bits first. Sides that are no multiple of the block are padded
            with the edge pixel.
        quality: int64 (N,), 1 to 100.
        subsample: chroma of half the size (4:2:0), the usual; otherwise 4:4:4.

    Returns:
        NCHW, RGB, float32, multiples of 1/255 in [0, 1]. No gradient passes.
    """
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        _, _, to_ycbcr, to_rgb = _constants(x.device)
        tables = quantisation_tables(quality)
        rgb = (x.float().clamp(0.0, 1.0) * 255.0).round_()
        ycbcr = _mix(rgb, to_ycbcr).round_()
        luma = _code(ycbcr[:, :1] - 128.0, tables[:, :1])
        chroma = ycbcr[:, 1:].clamp_(-128.0, 127.0)
        if subsample:
            h, w = x.shape[2:]
            small = _code(_halve(chroma), tables[:, 1:])[:, :, :, : (w + 1) // 2]
            chroma = F.interpolate(small, scale_factor=2.0, mode='bilinear', align_corners=False)[:, :, :h, :w]
        else:
            chroma = _code(chroma, tables[:, 1:])
        restored = _mix(torch.cat((luma + 128.0, chroma), dim=1), to_rgb)
        return restored.round_().clamp_(0.0, 255.0) / 255.0


@DEGRADATION_REGISTRY.register()
class JpegCompression(Degradation):
    """JPEG with a quality drawn per image; the size stays.

    Args:
        quality: smallest and largest quality, 1 to 100.
        subsample: 4:2:0 (chroma of half the size) instead of 4:4:4.
    """

    def __init__(self, quality: Sequence[float] = (40, 95), subsample: bool = True) -> None:
        super().__init__()
        low, high = check_range('JpegCompression', 'quality', quality, 1, 100)
        if low != int(low) or high != int(high):
            raise UserError(f"JpegCompression: 'quality' is {list(quality)}; give whole numbers.")
        self.quality = (int(low), int(high))
        self.subsample = subsample

    def degrade(self, gt: Tensor, seeds: Tensor) -> Tensor:
        quality = integers(seeds, 1, 0, self.quality[0], self.quality[1] + 1)[:, 0]
        return jpeg(gt, quality, self.subsample)
