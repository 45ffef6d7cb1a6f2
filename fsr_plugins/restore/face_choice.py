"""Which faces of a photograph are restored, and how much of that is seen."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real

import numpy as np
from typing_extensions import Self

from fsr_plugins.errors import UserError
from fsr_plugins.faces import Detection
from fsr_plugins.restore.network import GAINS
from fsr_plugins.restore.option_names import option_of

#: A face begins to fade into the untouched one at this share of the size from which on it is left alone.
_FROM = 0.8
#: A face is restored in full from this many times the size on below which it is left alone.
_UP_TO = 1.25
#: By the type of an option, what its value is an instance of, and how that is called.
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    'float': ((Real,), 'a number'),
    'int': ((Integral,), 'a whole number'),
    'bool': ((bool, np.bool_), 'True or False'),
    'str': ((str,), 'text'),
    'Path': ((str, os.PathLike), 'a path'),
}


@dataclass(frozen=True, kw_only=True)
class FaceChoice:
    """Which faces are restored, and how much of that is seen.

    Attributes:
        most: a face that is so many times as large as the network's LR is left as it is; from 0.8 times that on
            the restored face fades into the untouched one. None: as the network gains; 1.1 where that is not known.
        least: a face that is so many times as large as LR, or smaller, is left as it is, for nothing of it is there
            to be restored; up to 1.25 times that it fades as well. None: as the network gains; 0.35 where that is not
            known.
        score: least confidence of the detector; None: every face that it finds.
        strength: how much of a restored face is seen over the untouched one, 0 to 1.
        smallest: the longer side of a face's box, in pixels of the photograph; smaller faces are left as they are.
        largest: the same of the largest face that is restored; None: without a limit.
        only_largest: all faces but the one with the largest box are left as they are.
    """

    most: float | None = None
    least: float | None = None
    score: float | None = None
    strength: float = 1.0
    smallest: float = 0.0
    largest: float | None = None
    only_largest: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_kind(field.name, str(field.type), getattr(self, field.name))
        if self.most is not None and not self.most > 0:
            raise UserError(f'--most {self.most}: more than 0 is needed.')
        if self.least is not None and not 0 <= self.least < np.inf:
            raise UserError(f'--least {self.least:g}: 0 or more is needed.')
        # Where one of them is not given, the network says what it is.
        if self.least is not None and self.most is not None and self.least >= self.most:
            raise UserError(f'--least {self.least:g}: less than --most is needed, which is {self.most:g}.')
        for option, value in (('score', self.score), ('strength', self.strength)):
            if value is not None and not 0 <= value <= 1:
                raise UserError(f'--{option} {value}: 0 to 1 is needed.')
        if not self.smallest >= 0 or (self.largest is not None and not self.largest >= self.smallest):
            raise UserError(
                f'--min-face {self.smallest:g} and --max-face {self.largest}: pixels, 0 or more, in this order.'
            )

    def range(self) -> tuple[float, float]:
        """``least`` and ``most``, or what stands for them."""
        return self.within(GAINS)

    def within(self, gains: tuple[float, float]) -> tuple[float, float]:
        """``least`` and ``most``; where one is not given, so that a network shows in full where it gains.

        Args:
            gains: see :class:`~fsr_plugins.restore.network.FaceNetwork`.
        """
        most = gains[1] / _FROM if self.most is None else self.most
        least = min(gains[0] / _UP_TO, most / 2) if self.least is None else self.least
        return least, most

    def of(self, gains: tuple[float, float]) -> Self:
        """The choice for a network; see :meth:`within`."""
        least, most = self.within(gains)
        return replace(self, least=least, most=most)

    def left_out_by(self, face: Detection) -> str | None:
        """The option by which a face does not count at all, or None."""
        side = box_side(face)
        rules = {
            '--score': face.score < (self.score or 0.0),
            '--min-face': side < self.smallest,
            '--max-face': self.largest is not None and side > self.largest,
        }
        return next((option for option, leaves in rules.items() if leaves), None)

    def left_by(self, face: Detection, reduction: float, is_largest: bool) -> str | None:
        """The option that leaves a face as it is, or None.

        Args:
            reduction: how many pixels of the photograph make one of LR.
            is_largest: whether no other face of the photograph that counts (:meth:`left_out_by`) has a larger box.
        """
        if (option := self.left_out_by(face)) is not None:
            return option
        least, most = self.range()
        rules = {
            '--only-largest': self.only_largest and not is_largest,
            '--most': reduction >= most,
            '--least': reduction <= least,
            '--strength': self.strength == 0,
        }
        return next((option for option, leaves in rules.items() if leaves), None)

    def faded(self, reduction: float) -> float:
        """How much of a restored face is seen by its size: 1, falling smoothly to 0 towards ``most`` and ``least``.

        Args:
            reduction: how many pixels of the photograph make one of LR.
        """
        least, most = self.range()
        large = (most - reduction) / ((1 - _FROM) * most) if most < np.inf else 1.0
        small = (reduction - least) / ((_UP_TO - 1) * least) if least > 0 else 1.0
        share = float(np.clip(min(large, small), 0, 1))
        return share * share * (3 - 2 * share)


def _check_kind(name: str, kind: str, value: object) -> None:
    """Refuses a value of another type than an option's.

    Args:
        kind: as annotated, ``float | None``, say.
    """
    first, *others = kind.split(' | ')
    classes, wanted = _KINDS[first]
    is_right = isinstance(value, classes) and (first == 'bool' or not isinstance(value, bool))
    if not is_right and not (value is None and 'None' in others):
        raise UserError(f'{option_of(name)} {value!r}: {wanted} is needed.')


def box_side(face: Detection) -> float:
    """The longer side of a face's box, in pixels of the photograph."""
    return float((face.box[2:] - face.box[:2]).max())
