"""How much of a restored face is seen at each of its pixels: all inside the face, nothing at the border."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from fsr_plugins.faces.parts import PARTS
from fsr_plugins.faces.protocol import Floats, Image, Parser

#: Share of a crop's side over which it fades at its border.
_FADE = 0.15
#: Half the width and half the height of a face, and how far its middle lies below the eyes, in the greater of the two
#: distances from eye to eye and from the eyes to the mouth: from the hairline to the chin.
_WIDE, _HIGH, _BELOW = 1.25, 1.6, 0.35
#: Where the border of the ellipse begins and ends, as shares of its radius.
_INSIDE, _OUTSIDE = 0.9, 1.3
#: Share of a crop's side over which a face fades beyond its outline in a parsing map.
_BEYOND = 0.12
#: What of a parsing map is a head, by id.
_HEAD = np.array([part not in ('background', 'neck', 'neck_l', 'cloth') for part in PARTS])


def face_masks(
    faces: Sequence[Image], points: Sequence[Floats], parser: Parser | None = None
) -> list[npt.NDArray[np.uint8]]:
    """Weights of the pixels of some faces, uint8 (height, width) each.

    Args:
        faces: uint8 (height, width, 3) each.
        points: (5, 2) each, of the faces in their pixels.
        parser: what finds the outline of a face; where it sees no head that holds the face's eyes and nose, and
            without one, see :func:`face_mask`.
    """
    maps = [None] * len(faces) if parser is None else parser.parse(faces)
    heads = [None if parts is None else _head(parts, place) for parts, place in zip(maps, points, strict=True)]
    return [
        face_mask(face.shape[0], face.shape[1], place) if head is None else outline_mask(head)
        for face, place, head in zip(faces, points, heads, strict=True)
    ]


def _head(parts: Image, points: Floats) -> npt.NDArray[np.bool_] | None:
    """The head in a parsing map that holds both eyes and the nose, bool (height, width); None: there is none."""
    _, heads = cv2.connectedComponents(_HEAD[parts].astype(np.uint8))
    places = np.rint(points[:3]).astype(int)
    if (places < 0).any() or (places >= parts.shape[::-1]).any():
        return None
    x, y = places.T
    found = heads[y, x]
    return None if found[0] == 0 or (found != found[0]).any() else heads == found[0]


def outline_mask(head: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Weights of a crop's pixels, uint8 (height, width): 255 in the head, falling smoothly to 0.

    Args:
        head: (height, width).
    """
    outside = np.where(head, 0, 255).astype(np.uint8)
    away = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return _rounded(np.minimum(_border(*head.shape), _smooth(1 - away / (_BEYOND * max(head.shape)))))


def _border(height: int, width: int) -> npt.NDArray[np.float64]:
    """Weights that fall to 0 at a crop's border."""
    rows, columns = (
        _smooth(np.minimum(np.arange(side), np.arange(side)[::-1]) / (_FADE * side)) for side in (height, width)
    )
    weights: npt.NDArray[np.float64] = np.minimum(rows[:, None], columns)
    return weights


def face_mask(height: int, width: int, points: Floats) -> npt.NDArray[np.uint8]:
    """Weights of a crop's pixels, uint8 (height, width): 255 inside the face, falling smoothly to 0.

    The face is an ellipse through hairline, chin and ears, as eyes and mouth say; it is turned as they are. At the
    crop's own border the weights fall to 0 in any case.

    Args:
        points: (5, 2), the face's points in pixels of the crop. Where eyes and mouth lie in one point, the whole crop
            is the face.
    """
    mask = _border(height, width)
    left, right, _, mouth_left, mouth_right = np.asarray(points, np.float64)
    eyes, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    unit = max(np.hypot(*(right - left)), np.hypot(*(mouth - eyes)))
    down = mouth - eyes + _quarter(right - left)
    length = np.hypot(*down)
    if length > 1e-3 * unit:
        down /= length
        middle = eyes + _BELOW * unit * down
        y, x = np.mgrid[:height, :width].astype(np.float64)
        along = (x - middle[0]) * down[0] + (y - middle[1]) * down[1]
        across = (y - middle[1]) * down[0] - (x - middle[0]) * down[1]
        radius = np.hypot(across / (_WIDE * unit), along / (_HIGH * unit))
        mask = np.minimum(mask, _smooth((_OUTSIDE - radius) / (_OUTSIDE - _INSIDE)))
    return _rounded(mask)


def _rounded(mask: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    weights: npt.NDArray[np.uint8] = np.rint(255 * mask).astype(np.uint8)
    return weights


def _quarter(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The line between the eyes turned downwards."""
    return np.array([-vector[1], vector[0]])


def _smooth(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped: npt.NDArray[np.float64] = np.clip(share, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)
