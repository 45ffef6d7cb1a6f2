"""What every degradation has in common: the check of its input, full precision, and the rounding to 8 bits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fsr_plugins.degradations.random import fresh_seeds
from fsr_plugins.errors import UserError


class Degradation(nn.Module):
    """Makes the low-resolution images of a batch. A subclass writes :meth:`degrade`.

    Whatever is random is drawn per image from its seed (:mod:`fsr_plugins.degradations.random`), so that an image is
    degraded alike in any batch, on any rank and device. It computes in float32, also under autocast.

    Attributes:
        scale: input size divided by output size.
    """

    scale: int = 1

    def forward(self, gt: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Degrades a batch.

        Args:
            gt: NCHW, RGB, float in [0, 1], sides that ``scale`` divides.
            seeds: int64 (N,), one an image, on the device of ``gt``; None draws new ones from torch's generator.

        Returns:
            NCHW, RGB, float32 in [0, 1], sides divided by ``scale``.

        Raises:
            ValueError: ``gt`` is not NCHW, or ``seeds`` are not one int64 an image.
            UserError: the sides are no multiple of ``scale``.
        """
        if gt.ndim != 4:
            raise ValueError(f'A degradation takes NCHW; this tensor has the shape {tuple(gt.shape)}.')
        if gt.shape[2] % self.scale or gt.shape[3] % self.scale:
            raise UserError(
                f'{type(self).__name__} reduces by {self.scale}, which does not divide images of '
                f'{gt.shape[2]}×{gt.shape[3]}; crop them, or choose another scale.'
            )
        if seeds is None:
            seeds = fresh_seeds(gt.shape[0], gt.device)
        elif seeds.shape != gt.shape[:1] or seeds.dtype != torch.int64:
            raise ValueError(f'{gt.shape[0]} images need as many int64 seeds, not {seeds.dtype} {tuple(seeds.shape)}.')
        with torch.autocast(gt.device.type, enabled=False):
            return self.degrade(gt.float(), seeds)

    @abstractmethod
    def degrade(self, gt: Tensor, seeds: Tensor) -> Tensor:
        """The degradation itself, in float32 and outside autocast; arguments and result as for :meth:`forward`."""


def to_8bit(x: Tensor) -> Tensor:
    """Clamps to [0, 1] and rounds to multiples of 1/255; the gradient passes the rounding unchanged."""
    clamped = x.clamp(0.0, 1.0)
    rounded = (clamped.detach() * 255.0).round_() / 255.0
    return clamped + (rounded - clamped.detach()) if clamped.requires_grad else rounded


def check_range(owner: str, name: str, limits: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """``limits`` as a pair (smallest, largest) within [low, high].

    Raises:
        UserError: not two ascending numbers within the bounds.
    """
    try:
        values = tuple(float(value) for value in limits)
    except (TypeError, ValueError):  # an option file may have anything there
        values = ()
    if len(values) != 2 or not low <= values[0] <= values[1] <= high:
        raise UserError(f"{owner}: '{name}' is {_plain(limits)}; give two ascending numbers between {low} and {high}.")
    return values[0], values[1]


def _plain(limits: object) -> object:
    return list(limits) if isinstance(limits, tuple) else limits


def check_most(owner: str, name: str, most: float, high: float) -> float:
    """``most``, if it is a number from 0 to ``high``.

    Raises:
        UserError: it is not.
    """
    if not isinstance(most, int | float) or not 0 <= most <= high:
        raise UserError(f"{owner}: '{name}' is {most!r}; give a number from 0 to {high:g}.")
    return float(most)


def check_share(owner: str, name: str, share: float) -> float:
    """``share``, if it is a number from 0 to 1.

    Raises:
        UserError: it is not.
    """
    return check_most(owner, name, share, 1)


def check_scale(owner: str, scale: int) -> int:
    """``scale``, if it is a whole number of at least 1.

    Raises:
        UserError: it is not.
    """
    if not isinstance(scale, int) or scale < 1:
        raise UserError(f"{owner}: 'scale' is {scale!r}; give a whole number of at least 1.")
    return scale
