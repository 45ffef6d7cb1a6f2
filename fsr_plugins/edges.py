"""Edges as the methods use them: Canny, difference of Gaussians, and the difference from a local mean."""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.errors import UserError

Adaptive = Literal['mean_std', 'otsu']

# Grey as OpenCV's RGB2GRAY: ITU-R BT.601, in fixed point of 15 bits for uint8.
_GREY = (0.299, 0.587, 0.114)
_GREY_INT = (9798, 19235, 3735)
# OpenCV's tan(22.5°) in fixed point of 15 bits.
_TAN_22 = 13573
# Dilations between two looks at whether anything still changes; each look makes the CPU wait for a GPU.
_DILATIONS = 8


def grey(x: Tensor) -> Tensor:
    """Luma by ITU-R BT.601, as OpenCV's RGB2GRAY on floats; differentiable.

    Args:
        x: N3HW, RGB, or N1HW, already grey; any range.

    Returns:
        N1HW in the range and type of ``x``.

    Raises:
        ValueError: neither one nor three channels.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f'Edges are found in N3HW or N1HW; this tensor has the shape {tuple(x.shape)}.')
    if x.shape[1] == 1:
        return x
    return _GREY[0] * x[:, :1] + _GREY[1] * x[:, 1:2] + _GREY[2] * x[:, 2:]


def _grey_8bit(x: Tensor) -> Tensor:
    """Grey values (N, H, W), int32 from 0 to 255, equal to OpenCV's RGB2GRAY of the image rounded to 8 bits."""
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f'Edges are found in N3HW or N1HW; this tensor has the shape {tuple(x.shape)}.')
    levels = (x.detach().float().clamp(0.0, 1.0) * 255.0).round_().int()
    if x.shape[1] == 1:
        return levels[:, 0]
    red, green, blue = levels.unbind(1)
    return (red * _GREY_INT[0] + green * _GREY_INT[1] + blue * _GREY_INT[2] + (1 << 14)) >> 15


def _sobel(image: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel derivatives in x and y of (N, H, W) int32, the edge pixel repeated, as OpenCV's Canny takes them."""
    wide = torch.cat((image[:, :, :1], image, image[:, :, -1:]), dim=2)
    p = torch.cat((wide[:, :1], wide, wide[:, -1:]), dim=1)
    down = p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]
    across = p[:, :, :-2] + 2 * p[:, :, 1:-1] + p[:, :, 2:]
    return down[:, :, 2:] - down[:, :, :-2], across[:, 2:] - across[:, :-2]


def _otsu(magnitude: Tensor) -> Tensor:
    """Otsu's threshold (N,) of magnitudes (N, H, W) in 256 classes of width 8 (they go up to 2040)."""
    n = magnitude.shape[0]
    classes = (magnitude >> 3).flatten(1).long()
    counts = torch.zeros(n, 256, dtype=torch.float64, device=magnitude.device)
    counts.scatter_add_(1, classes, torch.ones_like(classes, dtype=torch.float64))
    share = counts / counts.sum(dim=1, keepdim=True)
    below = share.cumsum(1)
    moment = (share * torch.arange(256, device=magnitude.device)).cumsum(1)
    spread = below * (1.0 - below)
    between = (moment[:, -1:] * below - moment).square() / spread.clamp(min=1e-12)
    best = torch.where(spread > 1e-12, between, 0.0).argmax(dim=1)
    # The largest magnitude of that class: what is above belongs to the next one.
    return best.float() * 8.0 + 7.0


def _thresholds(magnitude: Tensor, low: float, high: float, adaptive: Adaptive | None) -> tuple[Tensor, Tensor]:
    """Low and high threshold (N,) of each image, whole numbers; OpenCV rounds them down as well."""
    if adaptive is None:
        if not 0 <= low <= high:
            raise UserError(f'Canny: the thresholds are {low} and {high}; give 0 <= low <= high, on the scale of 255.')
        limit = torch.full((magnitude.shape[0],), math.floor(high), device=magnitude.device)
        return torch.full_like(limit, math.floor(low)), limit
    if adaptive == 'mean_std':
        values = magnitude.flatten(1).double()
        limit = values.mean(dim=1) + 1.2 * values.std(dim=1, correction=0)
    elif adaptive == 'otsu':
        limit = _otsu(magnitude)
    else:
        raise UserError(f"Canny: adaptive thresholds are 'mean_std' or 'otsu', not '{adaptive}'.")
    return (0.5 * limit).floor().int(), limit.floor().int()


@torch.compiler.disable
def canny_cv2(x: Tensor, low: float = 100.0, high: float = 200.0, adaptive: Adaptive | None = None) -> Tensor:
    """Canny's edges by OpenCV: aperture 3, L1 gradient, no blur before. Computed on the CPU, whatever holds ``x``.

    Args:
        x: N3HW, RGB, or N1HW; float in [0, 1], rounded to 8 bits first.
        low: a pixel above this gradient magnitude continues an edge; on the scale of 0 to 255.
        high: a pixel above this magnitude starts an edge.
        adaptive: thresholds of each image's own instead: ``mean_std`` sets ``high`` to mean + 1.2 standard deviations
            of its gradient magnitude, ``otsu`` to Otsu's threshold of it; ``low`` is half of that.

    Returns:
        N1HW, float32, 0 or 1, on the device of ``x``, without gradient.

    Raises:
        UserError: thresholds that are none.
        ValueError: neither one nor three channels.
    """
    images = _grey_8bit(x).cpu()
    dx, dy = _sobel(images)
    lows, highs = _thresholds(dx.abs() + dy.abs(), low, high, adaptive)
    # cv2.Canny takes one image a call, so here a loop over the batch cannot be avoided; `canny` has none.
    edges = [
        cv2.Canny(image, float(a), float(b))
        for image, a, b in zip(images.byte().numpy(), lows.tolist(), highs.tolist(), strict=True)
    ]
    return torch.from_numpy(np.stack(edges)).to(x.device)[:, None].ne(0).float()


def _thin(dx: Tensor, dy: Tensor, magnitude: Tensor) -> Tensor:
    """True where the magnitude (N, H, W) is largest across the edge, by OpenCV's sectors and rules for ties."""
    p = F.pad(magnitude, (1, 1, 1, 1))
    h, w = magnitude.shape[1:]

    def at(down: int, right: int) -> Tensor:
        return p[:, 1 + down : 1 + down + h, 1 + right : 1 + right + w]

    x, y = dx.abs(), dy.abs() << 15
    tan_22 = x * _TAN_22
    tan_67 = tan_22 + (x << 16)
    across = (magnitude > at(0, -1)) & (magnitude >= at(0, 1))
    along = (magnitude > at(-1, 0)) & (magnitude >= at(1, 0))
    falling = (magnitude > at(-1, -1)) & (magnitude > at(1, 1))
    rising = (magnitude > at(-1, 1)) & (magnitude > at(1, -1))
    diagonal = torch.where((dx ^ dy) < 0, rising, falling)
    return torch.where(y < tan_22, across, torch.where(y > tan_67, along, diagonal))


def _pack(mask: Tensor) -> Tensor:
    """Booleans (N, H, W) as bits of int64 (N, H, words), 64 pixels a word."""
    n, h, w = mask.shape
    pixels = F.pad(mask, (0, -w % 64)).view(n, h, -1, 64).long()
    return (pixels << torch.arange(64, device=mask.device)).sum(dim=3)


def _unpack(words: Tensor, width: int) -> Tensor:
    """The first ``width`` bits of each row, as booleans (N, H, width)."""
    pixels = (words[..., None] >> torch.arange(64, device=words.device)) & 1
    return pixels.flatten(2)[:, :, :width].bool()


def _dilate(words: Tensor) -> Tensor:
    """Dilation by 3×3 pixels of rows of bits (N, H, words)."""
    tall = words.clone()
    tall[:, 1:] |= words[:, :-1]
    tall[:, :-1] |= words[:, 1:]
    # The shift to the right keeps the sign bit, which is a pixel here and has to be masked out.
    after, before = tall << 1, (tall >> 1) & ((1 << 63) - 1)
    if words.shape[2] > 1:
        after[:, :, 1:] |= (tall[:, :, :-1] >> 63) & 1
        before[:, :, :-1] |= tall[:, :, 1:] << 63
    return tall | after | before


def _connect(strong: Tensor, weak: Tensor) -> Tensor:
    """The parts of ``weak`` that touch ``strong``, also over a corner; all (N, H, W), boolean.

    Rows are bits of integers meanwhile: on a CPU thirty times as fast as max-pooling float images.
    """
    edges, mask = _pack(strong), _pack(weak)
    while True:
        before = edges
        for _ in range(_DILATIONS):
            edges = _dilate(edges) & mask
        if torch.equal(edges, before):
            return _unpack(edges, strong.shape[2])


@torch.compiler.disable
@torch.no_grad()
def canny(x: Tensor, low: float = 100.0, high: float = 200.0, adaptive: Adaptive | None = None) -> Tensor:
    """Canny's edges of a whole batch on its own device: the algorithm of OpenCV's ``Canny`` in integer operations.

    Sobel derivatives, |dx| + |dy|, non-maximum suppression in four sectors and hysteresis are OpenCV's, fixed-point
    arithmetic and rules for ties included, so it gives the same pixels as :func:`canny_cv2`.

    Args, result and errors: as :func:`canny_cv2`.
    """
    dx, dy = _sobel(_grey_8bit(x))
    magnitude = dx.abs() + dy.abs()
    lows, highs = _thresholds(magnitude, low, high, adaptive)
    weak = _thin(dx, dy, magnitude) & (magnitude > lows[:, None, None])
    strong = weak & (magnitude > highs[:, None, None])
    return _connect(strong, weak)[:, None].float()


def _gaussian(sigma: float, like: Tensor) -> Tensor:
    """A sampled Gaussian of the length OpenCV chooses for float images, normalised to sum 1."""
    radius = (round(sigma * 8 + 1) | 1) // 2
    position = torch.arange(-radius, radius + 1, device=like.device, dtype=like.dtype)
    kernel = torch.exp(-0.5 * (position / sigma).square())
    return kernel / kernel.sum()


def _blur(x: Tensor, sigma: float) -> Tensor:
    kernel = _gaussian(sigma, x)
    radius = kernel.numel() // 2
    padded = F.pad(x, (radius,) * 4, mode='reflect')
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))


def dog(x: Tensor, sigma1: float = 1.0, sigma2: float = 1.6) -> Tensor:
    """Difference of Gaussians of the grey image, signed; differentiable.

    With the ratio of 1.6 it is nearest to the Laplacian of a Gaussian (Marr and Hildreth, 1980).

    Args:
        x: N3HW, RGB, or N1HW; float, sides above 4 ``sigma2``. Computed in float32 also under autocast.
        sigma1: standard deviation of the Gaussian that counts positively, in pixels.
        sigma2: standard deviation of the one that is subtracted.

    Returns:
        N1HW, float32, in [-1, 1] for ``x`` in [0, 1]; borders as OpenCV's BORDER_REFLECT_101.

    Raises:
        ValueError: neither one nor three channels, or sides too small for the Gaussian.
    """
    if min(x.shape[2:]) <= 4 * max(sigma1, sigma2) + 1:
        raise ValueError(f'A difference of Gaussians up to {sigma2} px needs larger images than {tuple(x.shape[2:])}.')
    with torch.autocast(x.device.type, enabled=False):
        image = grey(x.float())
        return _blur(image, sigma1) - _blur(image, sigma2)


class AvgPoolEdge(nn.Module):
    """What a pixel has beyond the mean of its neighbourhood: ``x - avgpool(x)``, stride 1, same size.

    As TensorFlow's padding ``SAME``: an even kernel reaches one pixel further to the right and below (k = 10: 4 before,
    5 after), and the mean leaves out what lies beyond the border. So a constant image has no edges, borders included.

    Args:
        kernel: side of the neighbourhood.
        relu: keep positive differences only.
    """

    def __init__(self, kernel: int, relu: bool = False) -> None:
        super().__init__()
        if kernel < 2:
            raise UserError(f"AvgPoolEdge: 'kernel' is {kernel}; a neighbourhood has at least 2 pixels.")
        self.kernel = kernel
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """NCHW to NCHW, any channels and range."""
        k, half = self.kernel, self.kernel // 2
        # The mean over a rectangle of valid pixels separates into rows and columns. Even kernels give a line too many.
        mean = F.avg_pool2d(x, (k, 1), 1, (half, 0), count_include_pad=False)[:, :, 1 - k % 2 :]
        mean = F.avg_pool2d(mean, (1, k), 1, (0, half), count_include_pad=False)[:, :, :, 1 - k % 2 :]
        edge = x - mean
        return edge.relu() if self.relu else edge

    def extra_repr(self) -> str:
        return f'kernel={self.kernel}, relu={self.relu}'
