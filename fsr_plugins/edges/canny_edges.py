"""Canny's edges: by OpenCV image by image, and of whole batches on their own device, pixel for pixel the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._higher_order_ops import while_loop

from fsr_plugins.compiling import never_compiled
from fsr_plugins.errors import UserError

Adaptive = Literal['mean_std', 'otsu']
#: Of one image a number, of a batch a tensor of them: what is computed alike for both.
_Number = TypeVar('_Number', float, Tensor)

# Grey as OpenCV's RGB2GRAY of uint8: ITU-R BT.601 in fixed point of 15 bits.
_GREY_INT = (9798, 19235, 3735)
# OpenCV's tan(22.5°) in fixed point of 15 bits.
_TAN_22 = 13573
# Dilations between two looks at whether anything still changes; each look makes the CPU wait for a GPU.
_DILATIONS = 8


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


def _check_thresholds(low: float, high: float, adaptive: Adaptive | None) -> None:
    if adaptive not in (None, 'mean_std', 'otsu'):
        raise UserError(f"Canny: adaptive thresholds are 'mean_std' or 'otsu', not '{adaptive}'.")
    if adaptive is None and not 0 <= low <= high:
        raise UserError(f'Canny: the thresholds are {low} and {high}; give 0 <= low <= high, on the scale of 255.')


def _mean_std(pixels: int, total: _Number, squares: _Number) -> _Number:
    """Mean + 1.2 standard deviations, from the sums of magnitudes and of their squares."""
    return (total + 1.2 * (pixels * squares - total * total) ** 0.5) / pixels


def _otsu(counts: Tensor) -> Tensor:
    """Otsu's threshold (N,) from counts (N, 256), float64, of magnitudes in classes of width 8 (they go up to 2040)."""
    share = counts / counts.sum(dim=1, keepdim=True)
    below = share.cumsum(1)
    moment = (share * torch.arange(256, device=counts.device)).cumsum(1)
    spread = below * (1.0 - below)
    between = (moment[:, -1:] * below - moment).square() / spread.clamp(min=1e-12)
    best = torch.where(spread > 1e-12, between, 0.0).argmax(dim=1)
    # The largest magnitude of that class: what is above belongs to the next one.
    return best.double() * 8.0 + 7.0


def canny_image(
    image: npt.NDArray[np.uint8], low: float = 100.0, high: float = 200.0, adaptive: Adaptive | None = None
) -> npt.NDArray[np.uint8]:
    """Canny's edges of one stored image by OpenCV: aperture 3, L1 gradient, no blur before.

    Args:
        image: uint8, HWC RGB or HW grey.
        low: a pixel above this gradient magnitude continues an edge; on the scale of 0 to 255.
        high: a pixel above this magnitude starts an edge.
        adaptive: thresholds of the image's own instead: ``mean_std`` sets ``high`` to mean + 1.2 standard deviations
            of its gradient magnitude, ``otsu`` to Otsu's threshold of it; ``low`` is half of that.

    Returns:
        uint8 HW, 0 or 255.

    Raises:
        UserError: thresholds that are none.
        ValueError: not an image of that kind.
    """
    _check_thresholds(low, high, adaptive)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f'Edges are found in uint8 HWC RGB or HW; this image is {image.dtype} {image.shape}.')
    plain = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    if adaptive is not None:
        dx, dy = cv2.spatialGradient(plain, ksize=3, borderType=cv2.BORDER_REPLICATE)
        magnitude = np.abs(dx) + np.abs(dy)
        # By numpy, as threads that decode images are not to start torch's.
        if adaptive == 'mean_std':
            squares = np.square(magnitude, dtype=np.int32).sum(dtype=np.int64)
            high = _mean_std(magnitude.size, float(magnitude.sum(dtype=np.int64)), float(squares))
        else:
            counts = np.bincount((magnitude >> 3).ravel(), minlength=256)
            high = _otsu(torch.from_numpy(counts)[None].double()).item()
        low = 0.5 * high
    return np.asarray(cv2.Canny(plain, low, high), np.uint8)


@never_compiled
def canny_cv2(x: Tensor, low: float = 100.0, high: float = 200.0, adaptive: Adaptive | None = None) -> Tensor:
    """Canny's edges by OpenCV, image by image (:func:`canny_image`), on the CPU, whatever holds ``x``.

    An exported graph cannot call OpenCV: there :func:`canny` takes its place, which gives the same pixels.

    Args:
        x: N3HW, RGB, or N1HW; float in [0, 1], rounded to 8 bits first.
        low, high, adaptive: as :func:`canny_image`.

    Returns:
        N1HW, float32, 0 or 1, on the device of ``x``, without gradient.

    Raises:
        UserError: thresholds that are none.
        ValueError: neither one nor three channels.
    """
    if torch.compiler.is_exporting():
        return canny(x, low, high, adaptive)
    images = _grey_8bit(x).byte().cpu().numpy()
    # cv2.Canny takes one image a call, so here a loop over the batch cannot be avoided; `canny` has none.
    edges = [canny_image(image, low, high, adaptive) for image in images]
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
    diagonal = _choose((dx ^ dy) < 0, rising, falling)
    return _choose(y < tan_22, across, _choose(y > tan_67, along, diagonal))


def _choose(condition: Tensor, this: Tensor, other: Tensor) -> Tensor:
    """``torch.where`` of booleans, which ONNX Runtime does not have."""
    return (condition & this) | (~condition & other)


def _pack(mask: Tensor) -> Tensor:
    """Booleans (N, H, W) as bits of int64 (N, H, words), 64 pixels a word."""
    n, h, w = mask.shape
    pixels = F.pad(mask, (0, -w % 64)).view(n, h, -1, 64).long()
    return (pixels << torch.arange(64, device=mask.device)).sum(dim=3)


def _grow_bits(edges: Tensor, mask: Tensor) -> Tensor:
    """Edges (N, H, words) dilated by 3×3 pixels within the mask, both rows of bits."""
    for _ in range(_DILATIONS):
        tall = edges.clone()
        tall[:, 1:] |= edges[:, :-1]
        tall[:, :-1] |= edges[:, 1:]
        # The shift to the right keeps the sign bit, which is a pixel here and has to be masked out.
        after, before = tall << 1, (tall >> 1) & ((1 << 63) - 1)
        if edges.shape[2] > 1:
            after[:, :, 1:] |= (tall[:, :, :-1] >> 63) & 1
            before[:, :, :-1] |= tall[:, :, 1:] << 63
        edges = (tall | after | before) & mask
    return edges


def _grow_pixels(edges: Tensor, mask: Tensor) -> Tensor:
    """Edges (N, H, W) dilated within the mask, both floats of 0 and 1."""
    for _ in range(_DILATIONS):
        edges = F.max_pool2d(edges[:, None], 3, stride=1, padding=1)[:, 0] * mask
    return edges


def _until_settled(edges: Tensor, mask: Tensor, grow: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Grown as long as anything changes."""
    while not torch.equal(grown := grow(edges, mask), edges):
        edges = grown
    return edges


def _connect(strong: Tensor, weak: Tensor) -> Tensor:
    """The parts of ``weak`` that touch ``strong``, also over a corner; all (N, H, W), boolean.

    On a CPU rows are bits of integers meanwhile, thirty times as fast as max-pooling float images. On a GPU starting
    operations takes longest, of which pooling needs two where bits need twelve.
    """
    if torch.compiler.is_exporting():
        return _connect_in_a_graph(strong, weak)
    if strong.is_cuda:
        return _until_settled(strong.float(), weak.float(), _grow_pixels).bool()
    words = _until_settled(_pack(strong), _pack(weak), _grow_bits)
    pixels = (words[..., None] >> torch.arange(64, device=words.device)) & 1
    return pixels.flatten(2)[:, :, : strong.shape[2]].bool()


def _connect_in_a_graph(strong: Tensor, weak: Tensor) -> Tensor:
    """As :func:`_connect`, by operations that an exported graph can hold: how often it dilates is up to the images."""
    mask = weak.float()

    def changes(before: Tensor, edges: Tensor) -> Tensor:
        return (before != edges).any()

    def grow(before: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        return edges.clone(), _grow_pixels(edges, mask)

    edges: Tensor = while_loop(changes, grow, (torch.zeros_like(mask), strong.float()))[1]
    return edges.bool()


@never_compiled
@torch.no_grad()
def canny(x: Tensor, low: float = 100.0, high: float = 200.0, adaptive: Adaptive | None = None) -> Tensor:
    """Canny's edges of a whole batch on its own device: the algorithm of OpenCV's ``Canny`` in integer operations.

    Sobel derivatives, |dx| + |dy|, non-maximum suppression in four sectors and hysteresis are OpenCV's, fixed-point
    arithmetic and rules for ties included, so it gives the same pixels as :func:`canny_cv2`.

    Args, result and errors: as :func:`canny_cv2`.
    """
    _check_thresholds(low, high, adaptive)
    dx, dy = _sobel(_grey_8bit(x))
    magnitude = dx.abs() + dy.abs()
    weak = _thin(dx, dy, magnitude)
    if adaptive is None:
        weak &= magnitude > low
        strong = weak & (magnitude > high)
    else:
        values = magnitude.flatten(1)
        if adaptive == 'mean_std':
            squares = values.long().square_().sum(dim=1)
            limits = _mean_std(values.shape[1], values.sum(dim=1).double(), squares.double())
        else:
            classes = (values >> 3).long()
            counts = torch.zeros(values.shape[0], 256, dtype=torch.float64, device=values.device)
            limits = _otsu(counts.scatter_add_(1, classes, torch.ones_like(classes, dtype=torch.float64)))
        limits = limits[:, None, None]
        # Magnitudes are whole numbers, so nothing is lost by rounding down; OpenCV does it as well.
        weak &= magnitude > (0.5 * limits).int()
        strong = weak & (magnitude > limits.int())
    return _connect(strong, weak)[:, None].float()
