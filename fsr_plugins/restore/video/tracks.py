"""Which faces of many frames are one person's: their places over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fsr_plugins.faces.overlap import shared
from fsr_plugins.faces.protocol import Detection
from fsr_plugins.restore.video.smoothing import Series, smoothed

#: A face as a row: its frame, box (4), score and points (10).
COLUMNS = 16
Rows = npt.NDArray[np.float64]

#: Frames in which a face may be missed and is the same afterwards.
_GAP = 12
#: A face that is seen in fewer frames of a longer clip is none.
_LEAST_SEEN = 3
#: Two places are one face's if they share so much, or their points are so near by the face's size, on the average.
_SHARED, _NEAR = 0.1, 0.5
#: Frames over which the restored face appears where a face begins or ends within a clip.
_FADE = 3
_NEVER = 1e6


@dataclass(frozen=True, eq=False)
class Track:
    """A face over consecutive frames, gaps filled and jitter taken away.

    Attributes:
        first: its first frame.
        boxes: (N, 4), as of :class:`~fsr_plugins.faces.protocol.Detection`.
        points: (N, 5, 2).
        score: the detector's mean confidence.
        seen: in how many frames the detector saw it.
        fade: (N,), how much of the restored face is to be seen, 0 to 1.
    """

    first: int
    boxes: Series
    points: Series
    score: float
    seen: int
    fade: Series

    def at(self, frame: int) -> tuple[Detection, float] | None:
        """The face in a frame, and how much of the restored one is to be seen; None where it is not there."""
        place = frame - self.first
        if not 0 <= place < len(self.boxes):
            return None
        box, points = self.boxes[place].astype(np.float32), self.points[place].astype(np.float32)
        return Detection(box, self.score, points), float(self.fade[place])


@dataclass
class _Open:
    """Rows of a face that may go on."""

    rows: list[Rows] = field(default_factory=list)

    def expected(self, frame: int) -> Rows:
        """The row that is expected in a frame, at the speed of the last two."""
        last = self.rows[-1]
        if len(self.rows) == 1:
            return last
        before = self.rows[-2]
        speed = (last - before) / max(1.0, last[0] - before[0])
        moved = last + speed * (frame - last[0])
        # Sizes are kept: only the middle moves on.
        middle = (moved[1:3] + moved[3:5] - last[1:3] - last[3:5]) / 2
        expected = last.copy()
        expected[1:5] += np.tile(middle, 2)
        expected[6:] += np.tile(middle, 5)
        return expected


def row(frame: int, face: Detection) -> Rows:
    """A face of a frame as a row."""
    return np.concatenate([[frame], face.box, [face.score], face.points.ravel()]).astype(np.float64)


def linked(rows: Rows, frames: int, cuts: Sequence[int] = ()) -> list[Track]:
    """The faces of a clip over time.

    From frame to frame faces are assigned to those before so that they share most and their points are nearest
    altogether (the Hungarian method). A face may be missed in up to 12 frames. None goes on over a cut.

    Args:
        rows: (N, 16), see :data:`COLUMNS`; each face of each frame, in any order.
        frames: how many the clip has.
        cuts: frames with which another scene begins.
    """
    bounds = [0, *sorted(cuts), frames]
    ordered = rows[np.argsort(rows[:, 0], kind='stable')]
    tracks = []
    for begin, end in pairwise(bounds):
        some = ordered[(ordered[:, 0] >= begin) & (ordered[:, 0] < end)]
        least = min(_LEAST_SEEN, end - begin)
        tracks += [_track(one, begin, end) for one in _chains(some) if len(one.rows) >= least]
    return sorted(tracks, key=lambda track: track.first)


def _chains(rows: Rows) -> list[_Open]:
    going: list[_Open] = []
    ended: list[_Open] = []
    starts = np.flatnonzero(np.diff(rows[:, 0], prepend=-1.0)).tolist()
    for start, stop in pairwise([*starts, len(rows)]):
        faces, frame = rows[start:stop], int(rows[start, 0])
        ended += [one for one in going if frame - one.rows[-1][0] > _GAP]
        going = [one for one in going if frame - one.rows[-1][0] <= _GAP]
        taken = _assigned(faces, [one.expected(frame) for one in going])
        for face, place in zip(faces, taken, strict=True):
            if place < 0:
                going.append(_Open([face]))
            else:
                going[place].rows.append(face)
    return ended + going


def _assigned(faces: Rows, expected: Sequence[Rows]) -> list[int]:
    """Of each face the place of the one that it goes on, or -1."""
    if not len(expected):
        return [-1] * len(faces)
    from scipy.optimize import linear_sum_assignment

    before = np.stack(expected)
    boxes = before[:, 1:5].astype(np.float32)
    common = np.stack([shared(face[1:5].astype(np.float32), boxes) for face in faces])
    sizes = np.maximum(1.0, (before[:, 3:5] - before[:, 1:3]).max(axis=1))
    apart = faces[:, None, 6:].reshape(len(faces), 1, 5, 2) - before[None, :, 6:].reshape(1, len(before), 5, 2)
    away = np.linalg.norm(apart, axis=3).mean(axis=2) / sizes
    cost = np.where((common > _SHARED) | (away < _NEAR), 1 - common + away, _NEVER)
    chosen = [-1] * len(faces)
    for face, place in zip(*linear_sum_assignment(cost), strict=True):
        if cost[face, place] < _NEVER:
            chosen[face] = int(place)
    return chosen


def _track(one: _Open, begin: int, end: int) -> Track:
    """Fills the gaps along straight lines and smooths."""
    seen = np.stack(one.rows)
    at = seen[:, 0]
    frames = np.arange(int(at[0]), int(at[-1]) + 1)
    values = np.concatenate([seen[:, 1:5], seen[:, 6:]], axis=1)
    filled = np.stack([np.interp(frames, at, column) for column in values.T], axis=1)
    smooth = smoothed(filled)
    # At the ends of a scene nothing fades: the face was there before, or is there afterwards, as far as anybody knows.
    rise = np.full(len(frames), np.inf) if frames[0] == begin else frames - frames[0] + 1.0
    fall = np.full(len(frames), np.inf) if frames[-1] == end - 1 else frames[-1] - frames + 1.0
    fade = np.minimum(np.minimum(rise, fall) / (_FADE + 1), 1.0)
    points = smooth[:, 4:].reshape(-1, 5, 2)
    return Track(int(frames[0]), smooth[:, :4], points, float(seen[:, 5].mean()), len(seen), fade)
