"""A face of a whole photograph, cut out as the restoration of photographs cuts it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fsr_plugins.degradations.base import check_range, check_share, to_8bit
from fsr_plugins.degradations.bicubic import keys
from fsr_plugins.degradations.random import integers, uniform
from fsr_plugins.degradations.real_world import REDUCTIONS, RealWorldCamera, each_by_its_own
from fsr_plugins.registry import DEGRADATION_REGISTRY

# Beside the camera's own streams, 0 to 6.
_SIZE, _PLACE, _REDUCTION, _ALIGNED = range(16, 20)

#: Pixels of the photograph round the face: those that blur and interpolation look at.
_ROUND = 3
#: The sharpness of the kernel that cuts faces out, OpenCV's ``INTER_CUBIC``.
_SHARP = -0.75


@DEGRADATION_REGISTRY.register()
class PhotographedFace(RealWorldCamera):
    """A face of any size in a photograph, brought to the size of LR by interpolation.

    A camera sees it with so many pixels as it has, in any position to their grid; then it is cut out and resampled
    bicubically, as :func:`fsr_plugins.faces.crops.warp` does, for a network that takes faces of one size. A network
    that was trained on reduced images alone does not know such LR, which is smooth by its interpolation.

    The camera's arguments and errors are those of :class:`RealWorldCamera`. Its blur is in pixels of the photograph,
    and applied there.

    Args:
        size: how large the face is in the photograph, over its size in LR.
        aligned: the share of faces that are as large as LR and lie on its grid, so that none is resampled.
    """

    def __init__(
        self,
        scale: int,
        size: Sequence[float] = (0.3, 1.25),
        aligned: float = 0.0,
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
        owner = type(self).__name__
        self.size = check_range(owner, 'size', size, 0.05, 4.0)
        self.aligned = check_share(owner, 'aligned', aligned)

    def sizes_and_places(self, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Of each face: its size over that in LR, float32 (N,), and how far it lies off the photograph's grid.

        Returns:
            the sizes, and x and y of the shift in the photograph's pixels, from 0 to 1, float32 (N, 2).
        """
        size = uniform(seeds, 1, _SIZE, *self.size)[:, 0]
        place = uniform(seeds, 2, _PLACE)
        aligned = uniform(seeds, 1, _ALIGNED)[:, 0] < self.aligned
        return torch.where(aligned, 1.0, size), torch.where(aligned[:, None], 0.0, place)

    def degrade(self, gt: Tensor, seeds: Tensor) -> Tensor:
        size, place = self.sizes_and_places(seeds)
        kind = integers(seeds, 1, _REDUCTION, 0, len(REDUCTIONS))[:, 0]
        rows, columns = (
            _Line(side, side // self.scale, max(*self.size, 1.0), size, place[:, axis])
            for side, axis in ((gt.shape[2], 1), (gt.shape[3], 0))
        )
        photograph = each_by_its_own(rows.reduced(kind), gt, columns.reduced(kind)).clamp(0.0, 1.0)
        photograph = self.exposed(self.blurred(photograph, seeds, 1), seeds)
        return to_8bit(each_by_its_own(rows.cut_out(), photograph, columns.cut_out()))

    def extra_repr(self) -> str:
        return f'scale={self.scale}, size={self.size}, aligned={self.aligned}'


class _Line:
    """A line of pixels of an image, of the photograph and of LR, which have their edges in common but for ``place``.

    Args:
        before: pixels of the image.
        after: pixels of LR.
        largest: the largest size.
        size: (N,), of each face, over that in LR.
        place: (N,), how far each face lies off the photograph's grid, in its pixels.
    """

    def __init__(self, before: int, after: int, largest: float, size: Tensor, place: Tensor) -> None:
        self.before, self.after, self.largest, self.size = before, after, largest, size
        self.between = math.ceil(after * largest) + 1 + 2 * _ROUND
        #: Pixels of the photograph before the face.
        self.left = place + _ROUND

    def reduced(self, kind: Tensor) -> Tensor:
        """From the image to the photograph by the kinds of :data:`REDUCTIONS`: (N, between, before).

        What lies beyond the image is its mirror image.
        """
        pixel = (self.before / self.after / self.size)[:, None]
        at = torch.arange(self.between, device=self.size.device) + 0.5 - self.left[:, None]
        # Mirrored at the edges, again and again, as far as the photograph reaches.
        at = (at * pixel) % (2 * self.before)
        at = torch.minimum(at, 2 * self.before - at) - 0.5
        # A kernel that reaches beyond an edge takes the mirror image's pixels there.
        index = torch.arange(self.before, device=at.device)
        folded = torch.stack((index, -1 - index, 2 * self.before - 1 - index))[:, None, None]
        weights = _by_kind(at[:, :, None] - folded, pixel[:, :, None].clamp(min=1.0), kind[:, None, None]).sum(dim=0)
        return weights / weights.sum(dim=2, keepdim=True)

    def cut_out(self) -> Tensor:
        """From the photograph to LR: (N, after, between).

        A face that is reduced by up to m is sampled m times as finely, and the mean of m pixels is one of LR.
        """
        most = math.ceil(self.largest - 1e-6)
        times = self.size.sub(1e-6).ceil().clamp(min=1.0)
        cut: Tensor | None = None
        for m in range(1, most + 1):
            fine = (torch.arange(self.after * m, device=self.size.device) + 0.5) / m
            at = fine * self.size[:, None] + self.left[:, None] - 0.5
            away = at[:, :, None] - torch.arange(self.between, device=at.device)
            one = keys(away, _SHARP).view(len(at), self.after, m, -1).mean(dim=2)
            cut = one if cut is None else torch.where((times == m)[:, None, None], one, cut)
        assert cut is not None  # a size is above 0
        return cut


def _by_kind(away: Tensor, pixel: Tensor, kind: Tensor) -> Tensor:
    """Weights of :data:`REDUCTIONS` at distances ``away`` from a pixel's centre, as large as ``pixel``."""
    away = away.abs()
    area = (0.5 * pixel + 0.5 - away).clamp(min=0.0, max=1.0)
    bilinear = (1.0 - away).clamp(min=0.0)
    return torch.where(kind == 0, area, torch.where(kind == 1, bilinear, keys(away / pixel)))
