"""Boxes that overlap, of which one is the face.

In NumPy, for boxes are on the CPU by then and few: torchvision's suppression is compiled code, which an installation
whose torch and torchvision are of different builds does not have.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fsr_plugins.faces.protocol import Floats


def shared(box: Floats, boxes: Floats) -> Floats:
    """Intersection over union of a box (4,), x0 y0 x1 y1, with each of ``boxes`` (N, 4): (N,), of empty ones 0."""
    corners = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = (corners[1] - corners[0]).clip(min=0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def within(boxes: Floats, box: Floats) -> Floats:
    """Shares of the areas of ``boxes`` (N, 4), x0 y0 x1 y1, that lie inside a box (4,): (N,), of empty ones 0."""
    corners = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = (corners[1] - corners[0]).clip(min=0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.divide(common, areas, out=np.zeros_like(common), where=areas > 0)


def of_the_smaller(box: Floats, boxes: Floats) -> Floats:
    """The common area of a box (4,), x0 y0 x1 y1, and each of ``boxes`` (N, 4) as a share of the smaller: (N,)."""
    corners = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = (corners[1] - corners[0]).clip(min=0).prod(axis=1)
    smaller = np.minimum((box[2:] - box[:2]).prod(), (boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    return np.divide(common, smaller, out=np.zeros_like(common), where=smaller > 0)


def best_of_each(
    boxes: Floats, scores: Floats, overlap: float, share: Callable[[Floats, Floats], Floats] = shared
) -> npt.NDArray[np.int64]:
    """The places of the boxes that are kept, by descending score: none shares more than ``overlap`` with a better one.

    Args:
        boxes: (N, 4), x0 y0 x1 y1.
        scores: (N,).
        overlap: Greatest share of two that are kept, 0 to 1.
        share: Of a box and each of others; intersection over union by default.
    """
    waiting = np.argsort(-scores, kind='stable')
    kept = []
    while waiting.size:
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        waiting = waiting[share(boxes[best], boxes[waiting]) <= overlap]
    return np.array(kept, np.int64)
