"""PSNR and SSIM as BasicSR's ``calculate_psnr`` and ``calculate_ssim`` define them, on batches and on their device."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import MeanMetric, check_border, size_of
from fsr_plugins.registry import METRIC_REGISTRY
from fsr_plugins.threads import one_thread

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03

#: Pixel values that SSIM treats at once on a CPU: its intermediate results should stay in the cache.
CPU_CHUNK = 3 << 16

#: What each thread of :func:`ssim_on_cpu` keeps from call to call: with memory fresh from the system it takes a fifth
#: longer.
_kept = threading.local()

Array = npt.NDArray[np.floating]
#: How the colours of an image are fitted to those of its HR before they are compared.
Match = Literal['none', 'gain', 'affine']


class _PairMetric(MeanMetric):
    """What PSNR and SSIM share: the cropped border and the choice of RGB or luma."""

    better = 'higher'
    needs_gt = True
    smallest = 1

    def __init__(self, crop_border: int = 0, test_y_channel: bool = False, match: Match = 'none') -> None:
        """
        Args:
            crop_border: pixels left out at each edge.
            test_y_channel: take the luma (BT.601, 16–235) instead of each of RGB.
            match: fit the colours of each image to its HR first, see :func:`matched`: of what is compared then, neither
                exposure nor cast is a part.

        Raises:
            UserError: no such border, another ``match``.
        """
        check_border(crop_border, self.name)
        if match not in get_args(Match):
            raise UserError(
                f"'match' of the metric '{self.name}' is '{match}': choose one of {', '.join(get_args(Match))}."
            )
        fitted = '' if match == 'none' else f', matched by {match}'
        super().__init__(f'{"Y" if test_y_channel else "RGB"}, border {crop_border}, uint8{fitted}')
        self.crop_border = crop_border
        self.test_y_channel = test_y_channel
        self.match: Match = match

    def pair(self, sr: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        """Both as :meth:`prepare` makes them, SR matched if that is asked for."""
        return self.prepare(sr if self.match == 'none' else matched(sr, gt, self.match)), self.prepare(gt)

    def prepare(self, images: Tensor) -> Tensor:
        """Crops NCHW images and takes their luma if that is asked for.

        Raises:
            UserError: too little is left inside the border.
        """
        border = self.crop_border
        if min(images.shape[-2:]) - 2 * border < self.smallest:
            raise UserError(
                f"The metric '{self.name}' needs {self.smallest} px inside a border of {border} px, "
                f"and the images have {size_of(images)}: lower 'crop_border' or use larger images."
            )
        inside = images[..., border : images.shape[-2] - border, border : images.shape[-1] - border]
        return luma(inside) if self.test_y_channel and images.shape[1] == 3 else inside


@METRIC_REGISTRY.register()
class PSNR(_PairMetric):
    """Peak signal-to-noise ratio in dB, infinite for identical images: 10·log10(1 / MSE) of images in [0, 1]."""

    name = 'psnr'

    def values(self, sr: Tensor, gt: Tensor | None) -> Tensor:
        """PSNR of each image, shape (N,) float64."""
        assert gt is not None
        with one_thread(sr.device):
            one, other = self.pair(sr, gt)
            error = (one - other).square_().flatten(1)
            return -10 * torch.log10(error.mean(1).double())


@METRIC_REGISTRY.register()
class SSIM(_PairMetric):
    """Structural similarity (Wang et al. 2004, Eq. 13): 11×11 Gaussian window of σ = 1.5, only where it fits wholly,
    averaged over positions and channels."""

    name = 'ssim'
    smallest = WINDOW

    def values(self, sr: Tensor, gt: Tensor | None) -> Tensor:
        """SSIM of each image, shape (N,)."""
        assert gt is not None
        sr, gt = self.pair(sr, gt)
        if sr.device.type == 'cpu':
            return ssim_on_cpu(sr, gt)
        # float64 because GPUs may convolve float32 in TF32, which is too coarse for variances.
        return ssim(sr.double(), gt.double())


def matched(sr: Tensor, gt: Tensor, by: Match) -> Tensor:
    """Images with the colours that are nearest to HR's by least squares, clipped to [0, 1].

    Args:
        sr, gt: (N, C, H, W) in [0, 1].
        by: ``gain``: one factor an image; ``affine``: a factor and an offset an image and channel.
    """
    ours, theirs = sr.double().flatten(2), gt.double().flatten(2)
    if by == 'gain':
        power = ours.square().sum((1, 2), keepdim=True)
        factor = (ours * theirs).sum((1, 2), keepdim=True) / power.where(power > 0, 1.0)
        fitted = ours * factor
    else:
        mean, target = ours.mean(2, keepdim=True), theirs.mean(2, keepdim=True)
        spread = (ours - mean).square().sum(2, keepdim=True)
        factor = ((ours - mean) * (theirs - target)).sum(2, keepdim=True) / spread.where(spread > 0, 1.0)
        fitted = (ours - mean) * factor + target
    return fitted.clamp_(0, 1).view_as(sr).to(sr.dtype)


def luma(images: Tensor) -> Tensor:
    """Y of BT.601 Y'CbCr with the studio range 16–235, as MATLAB's ``rgb2ycbcr`` but not rounded.

    Args:
        images: (N, 3, H, W) RGB in [0, 1].

    Returns:
        (N, 1, H, W) in [16/255, 235/255].
    """
    red, green, blue = images.split(1, dim=1)
    return (red * (65.481 / 255)).add_(green, alpha=128.553 / 255).add_(blue, alpha=24.966 / 255).add_(16 / 255)


def gaussian_window() -> Tensor:
    """The 11 taps of the one-dimensional Gaussian, with the sum 1, float64."""
    offset = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    taps = torch.exp(-offset.square() / (2 * SIGMA**2))
    return taps / taps.sum()


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """SSIM of each pair of images.

    Instead of x and y, s = x + y and d = x − y are filtered: with their local means μ and variances σ², Eq. 13 becomes
    ``(1 − 2μ_d² / (μ_s² + μ_d² + 2C1)) · (1 − 2σ_d² / (σ_s² + σ_d² + 2C2))``. That needs four filtered planes, not
    five, and float32 is enough: where images are alike, the rounding of the large variance does not enter the result.

    Args:
        x, y: (N, C, H, W) in [0, 1] with H, W ≥ 11.

    Returns:
        (N,) of the type of ``x``.
    """
    batch, channels, height, width = x.shape
    planes = batch * channels
    # All planes side by side as channels of one image: depthwise filtering then runs along contiguous memory.
    layout = (height, width, batch, channels)
    x, y = (t.new_empty(layout).copy_(t.permute(2, 3, 0, 1)) for t in (x, y))
    fields = x.new_empty((4, *layout))
    torch.add(x, y, out=fields[0])
    torch.sub(x, y, out=fields[1])
    torch.mul(fields[1], fields[1], out=fields[3])
    torch.addcmul(fields[3], fields[0], fields[0], out=fields[2])

    taps = gaussian_window().to(x)
    fields = fields.view(4, height, width, planes).permute(0, 3, 1, 2)
    fields = F.conv2d(fields, taps.view(1, 1, -1, 1).expand(planes, 1, -1, 1), groups=planes)
    fields = F.conv2d(fields, taps.view(1, 1, 1, -1).expand(planes, 1, 1, -1), groups=planes)

    # Two planes at a time, in place: from here on memory traffic is what costs.
    means, powers = fields[:2].square_(), fields[2:]
    means[0] += means[1]
    powers -= means
    means[0] += 2 * K1**2
    powers[0] += 2 * K2**2
    luminance, contrast = fields[1::2].div_(fields[0::2]).neg_().add_(0.5)
    return luminance.mul_(contrast).mean((-2, -1)).mul_(4).view(batch, channels).mean(1)


def ssim_on_cpu(x: Tensor, y: Tensor) -> Tensor:
    """:func:`ssim` with OpenCV's filter and NumPy, which release Python's lock: on as many threads as torch may use."""
    kind = np.float64 if x.dtype == torch.float64 else np.float32
    pair = [images.detach().numpy().astype(kind, copy=False) for images in (x, y)]
    threads = torch.get_num_threads()
    size = max(1, min(CPU_CHUNK // x[0].numel(), -(-len(x) // threads)))
    chunks = [tuple(images[start : start + size] for images in pair) for start in range(0, len(x), size)]
    values = _threads(os.getpid(), threads).map(_ssim_chunk, *zip(*chunks, strict=True))
    return torch.from_numpy(np.concatenate(list(values))).to(x.dtype)


@lru_cache(maxsize=1)
def _threads(process: int, number: int) -> ThreadPoolExecutor:
    """Threads that stay, with what each keeps in :data:`_kept`; a process that was forked off has to start its own."""
    return ThreadPoolExecutor(number, thread_name_prefix='ssim')


def _ssim_chunk(x: Array, y: Array) -> Array:
    """As :func:`ssim`. In place wherever it can be, for memory traffic is what costs."""
    height, width = x.shape[-2:]
    taps = gaussian_window().numpy()
    kept: Array | None = getattr(_kept, 'fields', None)
    if kept is None or kept.shape != (2, 4, *x.shape) or kept.dtype != x.dtype:
        kept = _kept.fields = np.empty((2, 4, *x.shape), x.dtype)
    fields, filtered = kept
    np.add(x, y, out=fields[0])
    np.subtract(x, y, out=fields[1])
    np.multiply(fields[:2], fields[:2], out=fields[2:])
    fields[2] += fields[3]
    # All planes as one tall image. Where the window reaches into the neighbouring plane, it does not fit: cut off, but
    # only at the end, for NumPy is quicker where memory has no gaps.
    tall, tall_filtered = (planes.reshape(-1, width) for planes in (fields, filtered))
    fields = cv2.sepFilter2D(tall, -1, taps, taps, dst=tall_filtered).reshape(fields.shape)

    means, powers = fields[:2], fields[2:]
    means *= means
    means[0] += means[1]
    powers -= means
    means[0] += 2 * K1**2
    powers[0] += 2 * K2**2
    ratios = np.divide(fields[1::2], fields[0::2], out=fields[1::2])
    luminance, contrast = np.subtract(0.5, ratios, out=ratios)
    luminance *= contrast
    edge = WINDOW // 2
    return 4 * luminance[..., edge : height - edge, edge : width - edge].mean((1, 2, 3))
