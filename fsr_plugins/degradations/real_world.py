"""A small face as an unknown camera sees it."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.compiling import constant_when_compiled
from fsr_plugins.degradations.base import Degradation, check_range, check_scale, check_share, to_8bit
from fsr_plugins.degradations.bicubic import resize_matrix
from fsr_plugins.degradations.blur import covariance, gaussian_blur
from fsr_plugins.degradations.jpeg import jpeg
from fsr_plugins.degradations.random import integers, normal, uniform
from fsr_plugins.errors import UserError
from fsr_plugins.registry import DEGRADATION_REGISTRY

_BLUR, _REDUCTION, _COLOUR, _NOISE_LEVEL, _NOISE, _QUALITY, _CLEAN = range(7)

#: The ways to reduce, in the order of the drawn number.
REDUCTIONS = ('area', 'bilinear', 'bicubic')


@functools.lru_cache(maxsize=32)
def _cached_reductions(n_in: int, n_out: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        line = torch.eye(n_in)[:, None]
        area = F.adaptive_avg_pool1d(line, n_out)[:, 0].t()
        bilinear = F.interpolate(line, n_out, mode='linear', align_corners=False)[:, 0].t()
        return torch.stack((area, bilinear, resize_matrix(n_in, n_out))).to(device)


@constant_when_compiled
def _reductions(n_in: int, n_out: int, device: torch.device) -> Tensor:
    """The matrices (3, n_out, n_in) of :data:`REDUCTIONS`; bilinear is not antialiased, as in a quick camera."""
    return _cached_reductions(n_in, n_out, device)


def each_by_its_own(rows: Tensor, x: Tensor, columns: Tensor) -> Tensor:
    """Images resampled by matrices of their own, ``rows @ x @ columns.T`` for each channel.

    Args:
        rows: (N, H', H).
        x: NCHW.
        columns: (N, W', W).

    Returns:
        (N, C, H', W').
    """
    n, c, h, w = x.shape
    narrow = torch.matmul(x.reshape(n, -1, w), columns.transpose(1, 2))
    return torch.matmul(rows[:, None], narrow.view(n, c, h, -1))


@DEGRADATION_REGISTRY.register()
class RealWorldCamera(Degradation):
    """Blur, reduction, colour, noise and JPEG compression, every parameter drawn per image from its seed.

    In this order: anisotropic Gaussian blur; reduction by area, bilinear or bicubic; exposure and colour cast (a gain
    per channel) and gamma; shot and read noise of variance ``shot · value + read²``; 8 bits; JPEG 4:2:0 at the small
    size. Each range is [smallest, largest], drawn uniformly. The defaults are one camera in many situations: its
    exposure is its own, an eighth too dark, while blur, noise and compression change from image to image. A colour cast
    that changed so would be beyond any network, and in PSNR against the hidden original outweigh everything else.

    Args:
        scale: factor of reduction.
        blur: standard deviation along each of the two turned axes, in pixels of the small image.
        gain: exposure.
        cast: deviation of a channel's gain from the exposure, relative.
        gamma: exponent of the values in [0, 1].
        read_noise: standard deviation of the noise in black, for values in [0, 1].
        shot_noise: variance of the noise of a white pixel beyond read noise.
        jpeg_quality: whole numbers from 1 to 100; None leaves the compression out.
        clean: the share of images that are blurred and reduced alone.

    Raises:
        UserError: a range that is none, or a share that is none.
    """

    def __init__(
        self,
        scale: int,
        blur: Sequence[float] = (0.3, 0.7),
        gain: Sequence[float] = (0.84, 0.9),
        cast: Sequence[float] = (-0.01, 0.01),
        gamma: Sequence[float] = (0.98, 1.04),
        read_noise: Sequence[float] = (0.004, 0.02),
        shot_noise: Sequence[float] = (0.0, 0.0005),
        jpeg_quality: Sequence[float] | None = (60, 95),
        clean: float = 0.0,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.scale = check_scale(owner, scale)
        self.blur = check_range(owner, 'blur', blur, 0.0, 10.0)
        self.gain = check_range(owner, 'gain', gain, 0.05, 5.0)
        self.cast = check_range(owner, 'cast', cast, -0.9, 0.9)
        self.gamma = check_range(owner, 'gamma', gamma, 0.1, 10.0)
        self.read_noise = check_range(owner, 'read_noise', read_noise, 0.0, 1.0)
        self.shot_noise = check_range(owner, 'shot_noise', shot_noise, 0.0, 1.0)
        self.jpeg_quality = None if jpeg_quality is None else check_range(owner, 'jpeg_quality', jpeg_quality, 1, 100)
        if self.jpeg_quality and any(value % 1 for value in self.jpeg_quality):
            raise UserError(f"{owner}: 'jpeg_quality' is {list(self.jpeg_quality)}; give whole numbers.")
        self.clean = check_share(owner, 'clean', clean)

    def degrade(self, gt: Tensor, seeds: Tensor) -> Tensor:
        return self.exposed(self._reduce(self.blurred(gt, seeds, self.scale), seeds), seeds)

    def exposed(self, reduced: Tensor, seeds: Tensor) -> Tensor:
        """Reduced images, NCHW in [0, 1], with colour, noise and compression, but for the share that stays clean."""
        x = to_8bit(self._add_noise(self._recolour(reduced, seeds), seeds))
        if self.jpeg_quality is not None:
            low, high = (int(value) for value in self.jpeg_quality)
            x = jpeg(x, integers(seeds, 1, _QUALITY, low, high + 1)[:, 0])
        if self.clean == 0:
            return x
        is_clean = uniform(seeds, 1, _CLEAN)[:, :, None, None] < self.clean
        return torch.where(is_clean, to_8bit(reduced), x)

    def blurred(self, x: Tensor, seeds: Tensor, pixel: float) -> Tensor:
        """Images, NCHW, with the blur of their seeds; a pixel of the small image is ``pixel`` of theirs."""
        low, high = (value * pixel for value in self.blur)
        if high == 0:
            return x
        sigma_angle = uniform(seeds, 3, _BLUR)
        sigma = low + (high - low) * sigma_angle[:, :2]
        return gaussian_blur(x, covariance(sigma[:, 0], sigma[:, 1], math.pi * sigma_angle[:, 2]), high)

    def _reduce(self, x: Tensor, seeds: Tensor) -> Tensor:
        # Each image's own pair of matrices: one product instead of three reductions of which two are thrown away.
        h, w = x.shape[2:]
        kind = integers(seeds, 1, _REDUCTION, 0, len(REDUCTIONS))[:, 0]
        rows = _reductions(h, h // self.scale, x.device)[kind]
        columns = _reductions(w, w // self.scale, x.device)[kind]
        return each_by_its_own(rows, x, columns).clamp(0.0, 1.0)

    def _recolour(self, x: Tensor, seeds: Tensor) -> Tensor:
        channels = x.shape[1]
        draw = uniform(seeds, 2 + channels, _COLOUR)
        gain, gamma = (low + (high - low) * draw[:, i, None] for i, (low, high) in enumerate((self.gain, self.gamma)))
        cast = self.cast[0] + (self.cast[1] - self.cast[0]) * draw[:, 2:]
        return (x * (gain * (1.0 + cast))[:, :, None, None]).clamp(1e-6, 1.0) ** gamma[:, :, None, None]

    def _add_noise(self, x: Tensor, seeds: Tensor) -> Tensor:
        level = uniform(seeds, 2, _NOISE_LEVEL)
        read, shot = (
            (low + (high - low) * level[:, i])[:, None, None, None]
            for i, (low, high) in enumerate((self.read_noise, self.shot_noise))
        )
        return x + (read.square() + shot * x).sqrt() * normal(seeds, x.shape[1:], _NOISE)


@DEGRADATION_REGISTRY.register()
class NeutralCamera(RealWorldCamera):
    """A camera that is right on average: over its draws mean exposure, mean cast and mean gamma are 1.

    Blur, reduction, noise and compression are those of :class:`RealWorldCamera`, and so are its arguments and errors.
    No constant factor makes its pictures more like the originals, so what a network gains on them is detail.
    """

    def __init__(
        self,
        scale: int,
        blur: Sequence[float] = (0.3, 0.7),
        gain: Sequence[float] = (0.97, 1.03),
        cast: Sequence[float] = (-0.01, 0.01),
        gamma: Sequence[float] = (0.97, 1.03),
        read_noise: Sequence[float] = (0.004, 0.02),
        shot_noise: Sequence[float] = (0.0, 0.0005),
        jpeg_quality: Sequence[float] | None = (60, 95),
        clean: float = 0.0,
    ) -> None:
        super().__init__(scale, blur, gain, cast, gamma, read_noise, shot_noise, jpeg_quality, clean)
