"""Squares around boxes of faces, with a margin, cut also where they reach beyond the picture.

What lies beyond the border repeats the border's pixels: a black bar would be an edge that no face has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from fsr_plugins.prepare.plan import TOO_SMALL, Item, Skip
from fsr_plugins.prepare.window import Window
from fsr_plugins.stores.images import Image
from fsr_plugins.stores.records import Face

#: Sides of a picture that a square may have at most: what claims more is no box, and would need the memory.
_LARGEST = 4


def square(box: Sequence[float], margin: float) -> tuple[int, int, int]:
    """The square around a box's centre, of its longer side and ``margin`` of that on each side.

    Args:
        box: x0, y0, x1, y1 in pixels, as edges: pixel i reaches from i to i + 1, so x1 - x0 is the width.
        margin: Fraction of the box's longer side; below 0 the square is smaller than that side.

    Returns:
        Left column, top row (both may be negative) and side, in whole pixels.

    Raises:
        ValueError: The box is not finite, has no area, or the margin leaves nothing.
    """
    x0, y0, x1, y1 = box
    if not all(map(math.isfinite, box)) or x1 <= x0 or y1 <= y0:
        raise ValueError(f'The box {x0} {y0} {x1} {y1} has no area.')
    side = round(max(x1 - x0, y1 - y0) * (1 + 2 * margin))
    if side < 1:
        raise ValueError(f'A margin of {margin} leaves nothing of the box {x0} {y0} {x1} {y1}.')
    return round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2), side


def box_of_points(points: npt.NDArray[np.floating]) -> tuple[float, float, float, float]:
    """The box around points (N, 2), x and y, whole numbers of which are pixel centres, for :func:`square`.

    A point in the middle of a pixel lies half a pixel from its edges, of which boxes are made.
    """
    x0, y0 = (points.min(axis=0) + 0.5).tolist()
    x1, y1 = (points.max(axis=0) + 0.5).tolist()
    return x0, y0, x1, y1


def crop_square(image: Image, left: int, top: int, side: int, size: int) -> Image:
    """A square of an image, reduced as MATLAB's ``imresize`` does (bicubic, antialiased).

    Args:
        image: uint8 (H, W, 3); beyond its border the border's pixels are repeated.
        left: Column of the square's left edge, may be negative.
        top: Row of its upper edge, may be negative.
        side: Side of the square.
        size: Side of the result, at most ``side``: nothing is enlarged, smaller faces are the caller's to leave out.

    Returns:
        uint8 (size, size, 3).

    Raises:
        ValueError: ``size`` does not fit ``side``, or the square has no pixel of the image, or is out of all
            proportion to it.
    """
    height, width = image.shape[:2]
    if not 0 < size <= side:
        raise ValueError(f'A square of {side} is not made {size}: nothing is enlarged.')
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f'The square of {side} at column {left} and row {top} lies outside of {width}x{height}.')
    if side > _LARGEST * max(height, width):
        raise ValueError(f'The square of {side} is no part of {width}x{height}.')
    # The border is added to what is cut, not to the whole photograph, which may hold many faces.
    beyond = (y0 - top, top + side - y1, x0 - left, left + side - x1)
    cut = image[y0:y1, x0:x1]
    if any(beyond):
        cut = np.asarray(cv2.copyMakeBorder(cut, *beyond, cv2.BORDER_REPLICATE), np.uint8)
    return Window(0, 0, side, size).image(cut)


def crop_points(points: npt.NDArray[np.float32], left: int, top: int, side: int, size: int) -> npt.NDArray[np.float32]:
    """Points (N, 2), x and y of the whole image, in the pixels of :func:`crop_square`'s result.

    Pixel centres are whole numbers; points beyond the square stay beyond it.
    """
    return Window(top, left, side, size).points(points)


def crop_box(
    item: Item,
    image: Image,
    box: Sequence[float],
    *,
    margin: float,
    size: int,
    points: npt.NDArray[np.float32] | None = None,
) -> Face | Skip:
    """The face in a box of an item's image, or why there is none: its square is smaller than ``size``, or no box.

    Args:
        item: gives key and name.
        image: uint8 (H, W, 3).
        box: as in :func:`square`.
        margin: as in :func:`square`.
        size: side of the face.
        points: (5, 2) landmarks of the image, moved along.
    """
    try:
        left, top, side = square(box, margin)
        if side < size:
            return Skip(item.name, TOO_SMALL, f'the square around the face has {side} pixels, {size} are needed')
        face = crop_square(image, left, top, side, size)
    except ValueError as error:
        return Skip(item.name, 'bad box', str(error))
    return Face(item.key, face, landmarks=None if points is None else crop_points(points, left, top, side, size))
