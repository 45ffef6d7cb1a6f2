"""Small faces in a photograph: cut out as the network's training faces lay, enlarged, and put back softly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import NamedTuple

import cv2
import numpy as np
import torch

from fsr_plugins.errors import UserError
from fsr_plugins.faces import Detection, alignable, similarity
from fsr_plugins.faces.crops import Matrix, warp
from fsr_plugins.faces.protocol import Floats, Image, Parser
from fsr_plugins.restore.face_choice import FaceChoice, box_side
from fsr_plugins.restore.seam import face_masks

#: Pixels of a result beyond which a photograph is enlarged less, but twice up to four times as many.
MOST_PIXELS = 32_000_000
#: What a face keeps of the photograph's colours is coarser than this, the standard deviation of a blur in LR's pixels.
_COARSE = 2.0


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
    largest = max((face for face in faces if choice.left_out_by(face) is None), key=box_side, default=None)
    cuts = []
    for face, matrix in zip(faces, similarity(marks[good], template).numpy(), strict=True):
        reduction = float(1 / np.sqrt(np.linalg.det(matrix[:, :2])))
        left_by = choice.left_by(face, reduction, face is largest)
        weight = choice.strength * choice.faded(reduction) if left_by is None else 0.0
        lr = warp(photograph, matrix, size, 'reflect', 'cubic') if left_by is None else None
        cuts.append(FaceCrop(face, matrix, reduction, lr, left_by, weight))
    return cuts


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


def put_back(
    result: Image, times: int, cuts: Sequence[FaceCrop], restored: Sequence[Image], parser: Parser | None = None
) -> None:
    """Lays enlarged faces over their places.

    Args:
        result: the photograph :func:`enlarged` by ``times``; it is changed.
        cuts: those faces that were enlarged by the network; the later ones lie above.
        restored: their SR faces.
        parser: see :func:`~fsr_plugins.restore.seam.face_masks`.
    """
    masks = face_masks(restored, [_points_in(sr, face) for face, sr in zip(cuts, restored, strict=True)], parser)
    # All are made of the untouched photograph, so that nothing of a lower one shines through an upper one.
    patches = [_patch(result, times, *each) for each in zip(cuts, restored, masks, strict=True)]
    for patch in filter(None, patches):
        place = result[patch.place]
        place[...] = np.rint(place + patch.weight * (patch.face.astype(np.float32) - place)).astype(np.uint8)


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


def _detail(sr: Image, under: Image, coarse: float) -> Floats:
    """What SR has over what lies there, but for what is coarser than a blur: float32 (H, W, 3), in levels.

    So the photograph keeps its colours.

    Args:
        under: what lies there, as large as SR.
        coarse: standard deviation of the blur in SR's pixels.
    """
    more = sr.astype(np.float32) - under
    detail: Floats = more - cv2.GaussianBlur(more, (0, 0), coarse, borderType=cv2.BORDER_REFLECT)
    return detail


class _Patch(NamedTuple):
    """A face in its place in the photograph: uint8 (h, w, 3), and how much of it is seen, float32 (h, w, 1)."""

    place: tuple[slice, slice]
    face: Image
    weight: Floats


def _scale(sr: Image, face: FaceCrop) -> float:
    assert face.lr is not None  # who was enlarged
    return sr.shape[0] / face.lr.shape[0]


def _points_in(sr: Image, face: FaceCrop) -> Floats:
    """The points of a face in the pixels of its SR."""
    in_lr = face.found.points @ face.matrix[:, :2].T + face.matrix[:, 2]
    places: Floats = (in_lr + 0.5) * _scale(sr, face) - 0.5
    return places


def _patch(result: Image, times: int, face: FaceCrop, sr: Image, mask: Image) -> _Patch | None:
    """The photograph with a face's detail added, where the face is; None: it lies beyond the photograph.

    SR itself is not laid there: resampling would take from it what the photograph has.
    """
    height, width = sr.shape[:2]
    scale = _scale(sr, face)
    matrix = np.linalg.inv(into_sr(face, times, scale)).astype(np.float64)
    corners = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [-0.5, height - 0.5], [width - 0.5, height - 0.5]])
    places = corners @ matrix[:2, :2].T + matrix[:2, 2]
    left, top = np.maximum(np.floor(places.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(places.max(axis=0)).astype(int) + 1, result.shape[1::-1])
    if left >= right or top >= bottom:
        return None
    under = warp(result, np.linalg.inv(matrix)[:2].astype(np.float64), (height, width), 'reflect')
    moved = matrix[:2].copy()
    moved[:, 2] -= (left, top)
    size = (int(bottom - top), int(right - left))
    place = (slice(top, bottom), slice(left, right))
    added = result[place] + warp(_detail(sr, under, _COARSE * scale), moved, size, 'reflect')
    weight = warp(np.repeat(mask[..., None], 3, axis=2), moved, size)[..., :1] * np.float32(face.weight / 255)
    return _Patch(place, np.rint(added.clip(0, 255)).astype(np.uint8), weight)
