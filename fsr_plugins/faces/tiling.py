"""Faces of every size in a photograph of any size: tiles of an enlarged level, and of coarser ones.

A detector sees faces of some sizes only, and a photograph of many megapixels must not go through it at once. So the
photograph is looked at on several levels, each half as large as the one before. Tiles of a level overlap, so that a
face smaller than the overlap lies whole in one of them. A larger face is seen on a coarser level, and believed there
only: what a fine level takes for a large face is often a part of one, or blurred cloth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from fsr_plugins.faces.overlap import best_of_each, within
from fsr_plugins.faces.protocol import Detection, Detector, Floats, Image, Images, Size, check_images
from fsr_plugins.faces.scaling import scale_back

#: Pixels of the enlarged level beyond which a photograph is enlarged less, but twice at least.
ENLARGED_PIXELS = 24_000_000
#: A face of which so much lies inside a larger one is a part of it.
_INSIDE = 0.7
#: A box counts as larger by this share of its sides at each border: those of coarse levels are not exact.
_MARGIN = 0.05
#: A larger box swallows a part of itself that is not surer than it by more than this.
_SURER = 0.2
#: A box that comes so near to a tile's border inside the photograph may be cut off there, in pixels of the tile.
_BORDER = 2


class View(NamedTuple):
    """A tile as the detector sees it.

    Attributes:
        image: uint8 (h, w, 3).
        corner: x and y of its top left pixel in the level.
        times: how many times its pixels are enlarged from the level's.
        level: height and width of the level.
        inner: whether its left, top, right and bottom border lie inside the level.
        largest: the longer side of the largest face that is believed here, in pixels of the image.
    """

    image: Image
    corner: tuple[int, int]
    times: int
    level: Size
    inner: tuple[bool, bool, bool, bool]
    largest: float


@dataclass(frozen=True)
class TiledDetector:
    """Looks for faces tile by tile; a :class:`~fsr_plugins.faces.protocol.Detector` itself.

    The photograph is never enlarged as a whole: each tile is. Beside the photograph there are its coarser levels, a
    third of its pixels together, and ``together`` tiles.

    Attributes:
        detector: what looks at a tile.
        side: of a tile as the detector sees it, in pixels.
        overlap: of two neighbours, in the same pixels; larger faces are seen on a coarser level.
        finest: how many times a small photograph is enlarged at most, a power of two; see :func:`enlargement`.
        together: tiles that are handed to the detector at once.
        merging: greatest intersection over union of two faces, 0 to 1.
    """

    detector: Detector
    side: int = 1024
    overlap: int = 128
    finest: int = 4
    together: int = 2
    merging: float = 0.4

    def detect(self, images: Images) -> list[list[Detection]]:
        """See :meth:`Detector.detect`."""
        check_images(images)
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Detection]:
        found: list[Detection] = []
        cut_off: list[bool] = []
        pending: list[View] = []
        for view in self.views(image):
            pending.append(view)
            if len(pending) == self.together:
                self._look(pending, image.shape[:2], found, cut_off)
                pending = []
        if pending:
            self._look(pending, image.shape[:2], found, cut_off)
        return [found[place] for place in merged(found, np.array(cut_off, bool), self.merging)]

    def views(self, image: Image) -> Iterator[View]:
        """The tiles of all levels, the finest level first; the last level is a single tile."""
        level, times = image, enlargement(image.shape, self.finest)
        while True:
            side, overlap = self.side // times, self.overlap // times
            rows, columns = (tile_starts(length, side, overlap) for length in level.shape[:2])
            height, width = level.shape[:2]
            is_last = len(rows) == len(columns) == 1
            largest = np.inf if is_last else self.overlap
            for top in rows:
                for left in columns:
                    tile = level[top : top + side, left : left + side]
                    inner = (left > 0, top > 0, left + side < width, top + side < height)
                    yield View(_enlarged(tile, times), (left, top), times, (height, width), inner, largest)
            if is_last:
                return
            if times > 1:
                times //= 2
            else:
                # The mean of four pixels, or of what there is at an odd border.
                half = (max(1, width // 2), max(1, height // 2))
                level = cv2.resize(level, half, interpolation=cv2.INTER_AREA)

    def _look(self, views: list[View], size: Size, found: list[Detection], cut_off: list[bool]) -> None:
        """Adds the faces of some tiles in the photograph's pixels, and which may be cut off by their tile's border."""
        for view, faces in zip(views, self.detector.detect([view.image for view in views]), strict=True):
            height, width = view.image.shape[:2]
            for face in faces:
                left, top, right, bottom = face.box
                if max(right - left, bottom - top) > view.largest:
                    continue
                near = (left < _BORDER, top < _BORDER, right > width - 1 - _BORDER, bottom > height - 1 - _BORDER)
                cut_off.append(any(inner and close for inner, close in zip(view.inner, near, strict=True)))
                box, points = (_placed(part.reshape(-1, 2), view, size) for part in (face.box, face.points))
                found.append(Detection(box.ravel(), face.score, points))


def enlargement(shape: Size, finest: int) -> int:
    """How many times a photograph is enlarged on its finest level: ``finest``, halved while that is too large.

    Twice is the least, for faces of some 14 pixels are not seen otherwise.

    Args:
        shape: its height and width first.
        finest: a power of two.
    """
    times = max(2, finest)
    while times > 2 and shape[0] * shape[1] * times**2 > ENLARGED_PIXELS:
        times //= 2
    return times


def tile_starts(length: int, side: int, overlap: int) -> list[int]:
    """Where tiles begin along a length: evenly, neighbours sharing ``overlap`` pixels at least, the last at the end."""
    if length <= side:
        return [0]
    count = -(-(length - overlap) // (side - overlap))
    starts: list[int] = np.linspace(0, length - side, count).round().astype(int).tolist()
    return starts


def merged(found: list[Detection], cut_off: npt.NDArray[np.bool_], overlap: float) -> list[int]:
    """The places of the faces that are kept, by descending score.

    Of two boxes of one face the surer is kept, but one that a tile's border may have cut off gives way to a whole one.
    A part of a face inside a box twice as large gives way to it too, unless the part is surer by far and whole.

    Args:
        found: faces of all tiles and levels in the photograph's pixels.
        cut_off: (N,), which ones a border may have cut off.
        overlap: Greatest intersection over union of two that are kept, 0 to 1.
    """
    if not found:
        return []
    boxes = np.stack([face.box for face in found])
    scores = np.array([face.score for face in found])
    # Scores are 1 at most: every whole face comes before every cut one.
    kept = best_of_each(boxes, scores + 2.0 * ~cut_off, overlap)
    boxes, scores, cut = boxes[kept], scores[kept], cut_off[kept]
    sides = boxes[:, 2:] - boxes[:, :2]
    areas, grown = sides.prod(axis=1), boxes + _MARGIN * np.concatenate([-sides, sides], axis=1)
    dropped = np.zeros(len(kept), bool)
    for box, score, area, partial in zip(grown, scores, areas, cut, strict=True):
        larger = area > 2 * areas
        weaker = cut | (scores <= score + _SURER)
        # What may be a part itself swallows only what may be one too.
        dropped |= larger & weaker & (cut | (not partial)) & (within(boxes, box) > _INSIDE)
    left = kept[~dropped]
    return sorted(left.tolist(), key=lambda place: -found[place].score)


def _enlarged(tile: Image, times: int) -> Image:
    if times == 1:
        return np.ascontiguousarray(tile)
    height, width = tile.shape[:2]
    result: Image = cv2.resize(tile, (width * times, height * times), interpolation=cv2.INTER_CUBIC)
    return result


def _placed(points: Floats, view: View, size: Size) -> Floats:
    """Points (K, 2) of a tile as points of the photograph."""
    in_level = (points + 0.5) / view.times - 0.5 + np.array(view.corner)
    return scale_back(in_level, view.level, size).astype(np.float32)
