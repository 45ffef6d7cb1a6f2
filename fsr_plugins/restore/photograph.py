"""Small faces in a photograph: cut out as the network's training faces lay, enlarged, and put back softly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import cv2
import numpy as np
import numpy.typing as npt
import torch

from fsr_plugins.errors import UserError
from fsr_plugins.faces import Detection, alignable, similarity
from fsr_plugins.faces.crops import Matrix, warp
from fsr_plugins.faces.protocol import Floats, Image

#: Pixels of a result beyond which a photograph is enlarged less, but twice up to four times as many.
MOST_PIXELS = 32_000_000
#: Share of a face's side over which it fades into the photograph.
_FADE = 0.15
#: A face begins to fade into the untouched one at this share of the size from which on it is left alone.
_FROM = 0.8
#: A face is restored in full from this many times the size on below which it is left alone.
_UP_TO = 1.25
#: What a face keeps of the photograph's colours is coarser than this, the standard deviation of a blur in LR's pixels.
_COARSE = 2.0


@dataclass(frozen=True, kw_only=True)
class FaceChoice:
    """Which faces are restored, and how much of that is seen.

    Attributes:
        most: a face that is so many times as large as the network's LR is left as it is; from 0.8 times that on
            the restored face fades into the untouched one.
        least: a face that is so many times as large as LR, or smaller, is left as it is, for nothing of it is there
            to be restored; up to 1.25 times that it fades as well.
        score: least confidence of the detector; None: every face that it finds.
        strength: how much of a restored face is seen over the untouched one, 0 to 1.
        smallest: the longer side of a face's box, in pixels of the photograph; smaller faces are left as they are.
        largest: the same of the largest face that is restored; None: without a limit.
        only_largest: all faces but the one with the largest box are left as they are.
    """

    most: float = 1.1
    least: float = 0.35
    score: float | None = None
    strength: float = 1.0
    smallest: float = 0.0
    largest: float | None = None
    only_largest: bool = False

    def __post_init__(self) -> None:
        if not self.most > 0:
            raise UserError(f'--most {self.most}: more than 0 is needed.')
        if not 0 <= self.least < self.most:
            raise UserError(f'--least {self.least}: 0 or more is needed, and less than --most, which is {self.most}.')
        for option, value in (('score', self.score), ('strength', self.strength)):
            if value is not None and not 0 <= value <= 1:
                raise UserError(f'--{option} {value}: 0 to 1 is needed.')
        if not self.smallest >= 0 or (self.largest is not None and not self.largest >= self.smallest):
            raise UserError(
                f'--min-face {self.smallest:g} and --max-face {self.largest}: pixels, 0 or more, in this order.'
            )

    def left_by(self, face: Detection, reduction: float, is_largest: bool) -> str | None:
        """The option that leaves a face as it is, or None.

        Args:
            reduction: how many pixels of the photograph make one of LR.
            is_largest: whether no other face of the photograph has a larger box.
        """
        side = box_side(face)
        rules = {
            '--score': face.score < (self.score or 0.0),
            '--only-largest': self.only_largest and not is_largest,
            '--min-face': side < self.smallest,
            '--max-face': self.largest is not None and side > self.largest,
            '--most': reduction >= self.most,
            '--least': reduction <= self.least,
            '--strength': self.strength == 0,
        }
        return next((option for option, leaves in rules.items() if leaves), None)


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """A face of a photograph.

    Attributes:
        found: as the detector has it.
        matrix: float64 (2, 3), from the photograph's pixels to those of LR.
        reduction: how many pixels of the photograph make one of LR.
        lr: uint8 (H, W, 3), or None for one that is left as it is.
        left_by: the option of :class:`FaceChoice` that leaves it; None: none.
        weight: how much of the restored face is seen over the untouched one, 0 to 1.
    """

    found: Detection
    matrix: Matrix
    reduction: float
    lr: Image | None
    left_by: str | None = None
    weight: float = 1.0

    def as_dict(self) -> dict[str, object]:
        """Plain values."""
        return {
            'box': [round(float(value), 1) for value in self.found.box],
            'score': round(self.found.score, 4),
            'points': [[round(float(value), 1) for value in point] for point in self.found.points],
            'size': round(box_side(self.found), 1),
            'reduction': round(self.reduction, 3),
            'restored': self.lr is not None,
            'weight': round(self.weight, 3),
            **({} if self.left_by is None else {'left_by': self.left_by}),
        }


def cut(
    photograph: Image, found: Sequence[Detection], size: tuple[int, int], points: Floats, choice: FaceChoice
) -> list[FaceCrop]:
    """The faces of a photograph as the network's LR.

    Args:
        photograph: uint8 (H, W, 3).
        size: height and width of LR.
        points: (5, 2), where a face's points shall lie in LR.
        choice: which ones are restored.

    Returns:
        the faces in their order, without those whose points say nothing of their position.
    """
    template = torch.from_numpy(points).double()
    marks = torch.from_numpy(np.array([face.points for face in found], np.float64).reshape(-1, 5, 2))
    good = alignable(marks, template)
    faces = list(compress(found, good.tolist()))
    largest = max(faces, key=box_side, default=None)
    cuts = []
    for face, matrix in zip(faces, similarity(marks[good], template).numpy(), strict=True):
        reduction = float(1 / np.sqrt(np.linalg.det(matrix[:, :2])))
        left_by = choice.left_by(face, reduction, face is largest)
        weight = choice.strength * faded(reduction, choice.most, choice.least) if left_by is None else 0.0
        lr = warp(photograph, matrix, size, 'reflect') if left_by is None else None
        cuts.append(FaceCrop(face, matrix, reduction, lr, left_by, weight))
    return cuts


def box_side(face: Detection) -> float:
    """The longer side of a face's box, in pixels of the photograph."""
    return float((face.box[2:] - face.box[:2]).max())


def faded(reduction: float, most: float, least: float = 0.0) -> float:
    """How much of a restored face is seen: 1, falling smoothly to 0 towards ``most`` and ``least``.

    Args:
        reduction: how many pixels of the photograph make one of LR.
        most: the least that shows nothing; the fall begins at 0.8 times that.
        least: the greatest that shows nothing; the fall begins at 1.25 times that.
    """
    large = (most - reduction) / ((1 - _FROM) * most)
    small = (reduction - least) / ((_UP_TO - 1) * least) if least > 0 else 1.0
    share = float(np.clip(min(large, small), 0, 1))
    return share * share * (3 - 2 * share)


def times(shape: Sequence[int], scale: int, wanted: int | None) -> int:
    """How many times a photograph is enlarged: as wanted, else as the network does, but less if it became too large.

    Twice is the least as long as that can be made: a restored face that is shrunk to what it was before has gained
    nothing, and of a clean photograph it has lost.

    Args:
        shape: its height and width first.
        scale: the network's.
        wanted: None: as the network does.

    Raises:
        UserError: what is wanted is more than can be made.
    """
    height, width = shape[:2]
    pixels = height * width
    if wanted is not None:
        if pixels * wanted**2 > 4 * MOST_PIXELS:
            raise UserError(
                f'{width}×{height} enlarged {wanted} times is more than '
                f'{4 * MOST_PIXELS // 10**6} million pixels: lower --enlarge.'
            )
        return wanted
    fitting = int((MOST_PIXELS / pixels) ** 0.5)
    if fitting < 2:
        fitting = 2 if pixels * 2**2 <= 4 * MOST_PIXELS else 1
    return min(scale, fitting)


def power_of_two(scale: int) -> int:
    """The greatest power of two that is not above a scale: 1, 2, 4, …"""
    return 1 << (scale.bit_length() - 1)


def enlarged(photograph: Image, times: int) -> Image:
    """The photograph enlarged bicubically: uint8 (times H, times W, 3)."""
    height, width = photograph.shape[:2]
    result: Image = cv2.resize(photograph, (width * times, height * times), interpolation=cv2.INTER_CUBIC)
    return result


def put_back(result: Image, times: int, cuts: Sequence[FaceCrop], restored: Sequence[Image]) -> None:
    """Lays enlarged faces over their places.

    Args:
        result: the photograph :func:`enlarged` by ``times``; it is changed.
        cuts: those faces that were enlarged by the network; the later ones lie above.
        restored: their SR faces.
    """
    for face, sr in zip(cuts, restored, strict=True):
        assert face.lr is not None  # who was enlarged
        scale = sr.shape[0] / face.lr.shape[0]
        matrix = np.linalg.inv(into_sr(face, times, scale)).astype(np.float64)
        matched = _matched(sr, result, matrix[:2], _COARSE * scale)
        _paste(result, matched, matrix[:2], face.weight)


def into_sr(face: FaceCrop, times: float, scale: float) -> Matrix:
    """From the pixels of a photograph enlarged by ``times`` to those of a face's SR: float64 (3, 3).

    Args:
        scale: how many times SR is as large as LR.
    """
    # By the photograph's pixels and LR's.
    return _larger(scale) @ np.vstack([face.matrix, [0, 0, 1]]) @ np.linalg.inv(_larger(times))


def _larger(times: float) -> Matrix:
    """A point of an image as that of the image enlarged; whole numbers are pixel centres in both."""
    return np.array([[times, 0, (times - 1) / 2], [0, times, (times - 1) / 2], [0, 0, 1.0]])


def _matched(sr: Image, result: Image, matrix: Matrix, coarse: float) -> Image:
    """SR with the colours of its place in ``result``: what is coarser than a blur is the photograph's, the rest SR's.

    Args:
        matrix: from SR's pixels to those of ``result``.
        coarse: standard deviation of the blur in SR's pixels.
    """
    under = warp(result, np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2], (sr.shape[0], sr.shape[1]), 'reflect')
    apart = under.astype(np.float32) - sr
    matched = sr + cv2.GaussianBlur(apart, (0, 0), coarse, borderType=cv2.BORDER_REFLECT)
    return np.rint(matched.clip(0, 255)).astype(np.uint8)


def _paste(result: Image, sr: Image, matrix: Matrix, strength: float) -> None:
    """Lays SR over its place in ``result``, which is changed; only the pixels round it are looked at."""
    height, width = sr.shape[:2]
    corners = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [-0.5, height - 0.5], [width - 0.5, height - 0.5]])
    places = corners @ matrix[:, :2].T + matrix[:, 2]
    left, top = np.maximum(np.floor(places.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(places.max(axis=0)).astype(int) + 1, result.shape[1::-1])
    if left >= right or top >= bottom:
        return
    moved = matrix.copy()
    moved[:, 2] -= (left, top)
    size = (int(bottom - top), int(right - left))
    face = warp(sr, moved, size, 'reflect').astype(np.float32)
    weight = warp(np.repeat(_fade(height, width)[..., None], 3, axis=2), moved, size).astype(np.float32) * (
        strength / 255
    )
    under = result[top:bottom, left:right]
    under[...] = np.rint(under + weight * (face - under)).astype(np.uint8)


def _fade(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Weights of a face's pixels: 255 inside, falling smoothly to 0 at its edges."""
    ramps = []
    for side in (height, width):
        distance = np.minimum(np.arange(side), np.arange(side)[::-1]) / (_FADE * side)
        share = np.clip(distance, 0, 1)
        ramps.append(share * share * (3 - 2 * share))
    return np.rint(255 * np.minimum(ramps[0][:, None], ramps[1])).astype(np.uint8)
