"""Faces that are not aligned: a rotation, shift and size of each image's own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.degradations.base import Degradation, check_most, check_range
from fsr_plugins.degradations.random import uniform
from fsr_plugins.errors import UserError
from fsr_plugins.registry import DEGRADATION_REGISTRY

_PLACE = 0

#: What lies beyond the border, and what torch's ``grid_sample`` calls it.
BORDERS = {'reflection': 'reflection', 'zeros': 'zeros', 'edge': 'border'}


@DEGRADATION_REGISTRY.register()
class AffineMisalign(Degradation):
    """Rotates, scales and shifts each image about its centre, bilinearly sampled; the size stays.

    A point p of the image goes to ``zoom · R(angle) (p - centre) + centre + shift``. Each parameter is drawn uniformly
    from [-limit, limit], or from ``zoom``.

    Args:
        rotation: largest angle, degrees; a positive angle turns the face clockwise as seen.
        translation: largest shift in each direction, in pixels of an image of 128 (6.25 % of the side by default).
        zoom: smallest and largest enlargement.
        border: what lies beyond the border: ``reflection``, ``zeros`` or ``edge`` (the edge pixel repeated).

    Raises:
        UserError: an unknown border, a negative limit or a range that is none.
    """

    def __init__(
        self,
        rotation: float = 30.0,
        translation: float = 8.0,
        zoom: Sequence[float] = (0.85, 1.15),
        border: str = 'reflection',
    ) -> None:
        super().__init__()
        if border not in BORDERS:
            raise UserError(f"AffineMisalign: 'border' is '{border}'; give one of {', '.join(BORDERS)}.")
        self.rotation = check_most('AffineMisalign', 'rotation', rotation, 180.0)
        self.translation = check_most('AffineMisalign', 'translation', translation, 128.0)
        self.zoom = check_range('AffineMisalign', 'zoom', zoom, 0.05, 20.0)
        self.border = border

    def matrices(self, seeds: Tensor) -> Tensor:
        """The movement of each image in coordinates of [-1, 1], x right and y down.

        Args:
            seeds: int64 (N,).

        Returns:
            float32 (N, 2, 3): where a point (x, y, 1) of the image goes to, for square images.
        """
        draw = uniform(seeds, 4, _PLACE)
        angle = (2.0 * draw[:, 0] - 1.0) * math.radians(self.rotation)
        zoom = self.zoom[0] + (self.zoom[1] - self.zoom[0]) * draw[:, 1]
        shift = (2.0 * draw[:, 2:] - 1.0) * (self.translation / 64.0)
        cos, sin = zoom * angle.cos(), zoom * angle.sin()
        turn = torch.stack((cos, -sin, sin, cos), dim=1).view(-1, 2, 2)
        return torch.cat((turn, shift[:, :, None]), dim=2)

    def degrade(self, gt: Tensor, seeds: Tensor) -> Tensor:
        forward = self.matrices(seeds)
        # Sampling asks where a pixel of the result comes from, which is the inverse; of a turn with zoom it is
        # the transpose over zoom².
        turn, shift = forward[:, :, :2], forward[:, :, 2:]
        back = turn.transpose(1, 2) / (turn[:, 0, 0].square() + turn[:, 1, 0].square())[:, None, None]
        n, c, h, w = gt.shape
        # Coordinates of [-1, 1] are stretched in an image that is not square; the turn is one of pixels.
        back = back * torch.tensor([[1.0, h / w], [w / h, 1.0]], device=gt.device)
        theta = torch.cat((back, -torch.matmul(back, shift)), dim=2)
        grid = F.affine_grid(theta, [n, c, h, w], align_corners=False)
        return F.grid_sample(gt, grid, 'bilinear', BORDERS[self.border], align_corners=False)

    def extra_repr(self) -> str:
        return f'rotation={self.rotation}, translation={self.translation}, zoom={self.zoom}, border={self.border}'
