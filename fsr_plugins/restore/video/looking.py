"""Faces in the frames of a clip: the whole frame is looked at now and then, the places of known faces always.

Looking at a whole frame takes many times as long as looking where a face was just before. A face that appears between
two looks at the whole is followed back to where it began, over the frames that are still held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from fsr_plugins.faces.crops import warp
from fsr_plugins.faces.overlap import shared
from fsr_plugins.faces.protocol import Detection, Detector, Floats, Image
from fsr_plugins.faces.tiling import TiledDetector, merged
from fsr_plugins.restore.video.tracks import COLUMNS, Rows, row

#: Side of what the detector is shown of a face's place, and how many times as wide as the face that is.
_VIEW, _ROUND = 192, 2.0
#: A face shares so much with where it is looked for.
_SAME = 0.15
#: Two boxes of one frame that share more are one face.
_ONE = 0.4
#: Frames in which a face is looked for though it was not seen.
_MISSES = 8
#: Pixels of earlier frames that are held.
_HELD = 24_000_000
#: Grey levels by which reduced frames differ on the average where another scene begins; their size.
_CUT, _SMALL = 30.0, (64, 36)


@dataclass
class Looked:
    """What was seen in some frames.

    Attributes:
        rows: (N, 16), faces; see :data:`~fsr_plugins.restore.video.tracks.COLUMNS`.
        cuts: frames with which another scene begins.
    """

    rows: list[Rows] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)

    def table(self) -> Rows:
        """The rows as one array."""
        return np.stack(self.rows) if self.rows else np.empty((0, COLUMNS))


@dataclass(frozen=True)
class _Held:
    """A frame, to follow faces back over it, and the boxes of those that were seen in it."""

    number: int
    image: Image
    boxes: list[Floats]


class Looker:
    """Looks at frame after frame; what it goes on with is ``carried``.

    Args:
        detector: looks at whole frames, and has the detector for places.
    """

    def __init__(self, detector: TiledDetector) -> None:
        self.whole: Detector = detector
        self.near: Detector = detector.detector
        self._faces: list[Detection] = []
        self._missed: list[int] = []
        self._held: deque[_Held] = deque()
        self._small: Image | None = None

    @property
    def carried(self) -> Rows:
        """The faces that are followed: (N, 16), in the place of the frame how often each was missed."""
        rows = [row(missed, face) for face, missed in zip(self._faces, self._missed, strict=True)]
        return np.stack(rows) if rows else np.empty((0, COLUMNS))

    @property
    def held(self) -> int:
        """How many frames are held."""
        return len(self._held)

    def go_on(self, carried: Rows) -> None:
        """Follows the faces that another one has followed up to here; :meth:`hold` gives it the frames before."""
        self._missed = carried[:, 0].astype(int).tolist()
        self._faces = [
            Detection(one[1:5].astype(np.float32), float(one[5]), one[6:].reshape(5, 2).astype(np.float32))
            for one in carried
        ]

    def hold(self, number: int, image: Image, rows: Rows | Sequence[Rows]) -> None:
        """Holds a frame, to follow faces back over it.

        Args:
            rows: (N, 16), the faces that were seen in it.
        """
        self._held.append(_Held(number, image, [one[1:5].astype(np.float32) for one in rows]))
        while len(self._held) > max(1, _HELD // (image.shape[0] * image.shape[1])):
            self._held.popleft()
        self._small = _reduced(image)

    def look(self, number: int, image: Image, whole: bool, looked: Looked) -> None:
        """Looks at a frame and adds what it sees.

        Args:
            image: uint8 (H, W, 3), as large as the frames before.
            whole: whether all of it is looked at.
        """
        if self._small is not None and is_cut(self._small, _reduced(image)):
            looked.cuts.append(number)
            self._faces, self._missed, whole = [], [], True
            self._held.clear()
        found = self.near_to(image, self._faces)
        new: list[Detection] = []
        if whole:
            seen = [face.box for face in found if face is not None]
            new = [face for face in self.whole.detect([image])[0] if not _among(face, seen)]
        # A place that has just been found anew is not looked for as a missed one.
        old = [
            (face or before, 0 if face else missed + 1)
            for face, before, missed in zip(found, self._faces, self._missed, strict=True)
            if face or (missed < _MISSES and not _among(before, [one.box for one in new]))
        ]
        exact = [again or face for again, face in zip(self.near_to(image, new), new, strict=True)]
        both = old + [(face, 0) for face in exact]
        kept = merged([face for face, _ in both], np.zeros(len(both), bool), _ONE)
        self._faces, self._missed = [both[place][0] for place in kept], [both[place][1] for place in kept]
        rows = [row(number, face) for face, missed in zip(self._faces, self._missed, strict=True) if not missed]
        looked.rows += rows
        starting = [face for place, face in enumerate(exact, len(old)) if place in kept]
        if number and starting:
            self._back(starting, looked)
        self.hold(number, image, rows)

    def _back(self, faces: list[Detection], looked: Looked) -> None:
        """Follows faces over the frames before, until they are not seen, or where one was seen already.

        There it is a face that was missed meanwhile: its rows from before and those from now on are one's over time.
        """
        for held in reversed(self._held):
            found = [face for face in self.near_to(held.image, faces) if face is not None]
            faces = []
            for face in sorted(found, key=lambda one: -one.score):
                if not _among(face, held.boxes, _ONE):
                    held.boxes.append(face.box)
                    faces.append(face)
            if not faces:
                return
            looked.rows += [row(held.number, face) for face in faces]

    def near_to(self, image: Image, faces: Sequence[Detection]) -> list[Detection | None]:
        """Of each face the one that is seen at its place now."""
        if not faces:
            return []
        matrices = [_view(face) for face in faces]
        views = [warp(image, matrix, (_VIEW, _VIEW), 'reflect') for matrix in matrices]
        found: list[Detection | None] = []
        for face, matrix, seen in zip(faces, matrices, self.near.detect(views), strict=True):
            placed = [_placed(one, matrix) for one in seen]
            common = shared(face.box, np.stack([one.box for one in placed])) if placed else np.zeros(1)
            found.append(placed[int(common.argmax())] if common.max() > _SAME else None)
        return found


def is_cut(before: Image, now: Image) -> bool:
    """Whether another scene begins, by two reduced frames."""
    return float(np.abs(before.astype(np.float32) - now).mean()) > _CUT


def _reduced(image: Image) -> Image:
    small: Image = cv2.resize(image, _SMALL, interpolation=cv2.INTER_AREA)
    return small


def _among(face: Detection, boxes: Sequence[Floats], least: float = _SAME) -> bool:
    """Whether a face shares more than ``least`` with one of the boxes."""
    return bool(boxes) and float(shared(face.box, np.stack(boxes)).max()) > least


def _view(face: Detection) -> np.ndarray:
    """From the frame's pixels to those of what is looked at: (2, 3)."""
    middle = (face.box[:2] + face.box[2:]).astype(np.float64) / 2
    times = _VIEW / (_ROUND * max(4.0, float((face.box[2:] - face.box[:2]).max())))
    return np.column_stack([np.eye(2) * times, (_VIEW - 1) / 2 - middle * times])


def _placed(face: Detection, matrix: np.ndarray) -> Detection:
    """A face of a view as one of the frame."""
    corners = np.concatenate([face.box.reshape(2, 2), face.points])
    back = ((corners - matrix[:, 2]) / matrix[0, 0]).astype(np.float32)
    return Detection(back[:2].ravel(), face.score, back[2:])
