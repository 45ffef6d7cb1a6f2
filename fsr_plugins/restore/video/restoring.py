"""A clip restored in two passes, each in stretches that are kept: faces are followed, then frames are made.

The second pass knows where each face goes, so its points are smoothed without lag, and a stretch depends on nothing
but its frames and the faces' places. So a run that goes on after it was stopped makes the same bytes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from fsr_plugins.errors import UserError
from fsr_plugins.faces.crops import warp
from fsr_plugins.faces.protocol import Detection, Image
from fsr_plugins.restore import photograph
from fsr_plugins.restore.restorers import PhotographFaces
from fsr_plugins.restore.video.flicker import Flicker, enlarged_face, figures
from fsr_plugins.restore.video.looking import Looked, Looker
from fsr_plugins.restore.video.parts import Arrays, Parts
from fsr_plugins.restore.video.reading import Frame
from fsr_plugins.restore.video.source import Source
from fsr_plugins.restore.video.tracks import Track, linked
from fsr_plugins.values import Record

logger = logging.getLogger(__name__)

#: Frames of a stretch; whole frames are looked at at its beginning.
STRETCH = 48
#: Pixels of frames and results that are held at once.
_IN_FLIGHT = 32_000_000
#: Kinds of parts.
LOOKED, MADE = 'looked', 'made'


class ClipRestorer:
    """Restores a clip; see the module.

    Args:
        source: the clip.
        faces: finds, enlarges and puts back.
        parts: where stretches are kept; it was begun.
    """

    def __init__(self, source: Source, faces: PhotographFaces, parts: Parts) -> None:
        self.source, self.faces, self.parts = source, faces, parts
        height, width = source.size
        self.times = photograph.times((height, width), faces.network.scale, faces.how.enlarge)

    def run(self) -> Record:
        """Does what is not done yet and makes the result.

        Returns:
            ``{"frames", "enlarged", "tracks", "faces", "restored", "flicker", "seconds", "frames_per_second"}``: the
            faces followed, in how many frames faces were found and restored, and of this run the seconds.

        Raises:
            UserError: the clip cannot be read to its end, or does not fit.
            DiskError: the disk is full.
        """
        started = time.perf_counter()
        count = self._look()
        read = [self._part(LOOKED, number) for number in range(_stretches(count))]
        cuts = [int(cut) for part in read for cut in part['cuts']]
        tracks = linked(np.concatenate([part['rows'] for part in read]), count, cuts)
        made = self._make(count, tracks)
        sums, faces = np.zeros(3), np.zeros(2, np.int64)
        for number in range(_stretches(count)):
            part = self._part(MADE, number)
            sums += part['flicker']
            faces += part['faces']
        self.source.finish(self.times, (self._part(MADE, number) for number in range(_stretches(count))))
        seconds = time.perf_counter() - started
        return {
            'frames': count,
            'enlarged': self.times,
            'tracks': len(tracks),
            'faces': int(faces[0]),
            'restored': int(faces[1]),
            'flicker': figures(sums),
            'seconds': round(seconds, 2),
            'frames_per_second': round(made / max(seconds, 1e-3), 2),
        }

    def _part(self, kind: str, number: int) -> Arrays:
        part = self.parts.read(kind, number)
        if part is None:
            raise UserError(f"'{self.parts.folder}' was changed or damaged meanwhile: remove it and begin anew.")
        return part

    def _whole(self, kind: str) -> int:
        """How many stretches are kept, from the first one on."""
        number = 0
        while self.parts.read(kind, number) is not None:
            number += 1
        return number

    def _look(self) -> int:
        """Looks for faces in all frames, and says how many frames there are."""
        done = self._whole(LOOKED)
        last = self.parts.read(LOOKED, done - 1) if done else None
        if last is not None and int(last['frames']) < STRETCH:
            return (done - 1) * STRETCH + int(last['frames'])
        looker = Looker(self.faces.detector)
        held = 0 if last is None else int(last['held'])
        frames = self.source.frames(done * STRETCH - held)
        rows = np.concatenate([Looked().table(), *(self._part(LOOKED, number)['rows'] for number in range(done))])
        for frame in islice(frames, held):
            looker.hold(frame.number, frame.image, rows[rows[:, 0] == frame.number])
        if last is not None:
            looker.go_on(last['carried'])
        progress = _Progress('Looked for faces in', done * STRETCH)
        number = done
        while True:
            looked, count = Looked(), 0
            for frame in islice(frames, STRETCH):
                looker.look(frame.number, frame.image, frame.number % STRETCH == 0, looked)
                count += 1
            arrays = {'rows': looked.table(), 'cuts': np.array(looked.cuts, np.int64), 'carried': looker.carried}
            self.parts.write(LOOKED, number, arrays | {'frames': np.array(count), 'held': np.array(looker.held)})
            progress.say(number * STRETCH + count)
            if count < STRETCH:
                return number * STRETCH + count
            number += 1

    def _make(self, count: int, tracks: Sequence[Track]) -> int:
        """Makes the frames that are not made, and says how many these were."""
        stretches = [range(start, min(count, start + STRETCH)) for start in range(0, count, STRETCH)]
        kept = stretches[: self._whole(MADE)]
        done = next((number for number, stretch in enumerate(kept) if not self.source.there(stretch)), len(kept))
        first = min(count, done * STRETCH)
        frames = self.source.frames(first)
        progress = _Progress('Restored', first, count)
        for number, stretch in enumerate(stretches[done:], done):
            near = [track for track in tracks if track.first < stretch.stop]
            flicker, faces = Flicker(), np.zeros(2, np.int64)
            made = self._made(islice(frames, len(stretch)), near, flicker, faces)
            written = self.source.write(self.times, made)
            self.parts.write(MADE, number, {**written, 'flicker': flicker.sums, 'faces': faces})
            progress.say(stretch.stop)
        return count - first

    def _made(
        self, frames: Iterator[Frame], tracks: Sequence[Track], flicker: Flicker, counted: np.ndarray
    ) -> Iterator[Frame]:
        """Frames enlarged with their faces restored; what is to be said of them is added up."""
        height, width = self.source.size
        together = max(1, min(8, _IN_FLIGHT // (height * width * (1 + self.times**2))))
        while group := list(islice(frames, together)):
            images = {frame.number: frame.image for frame in group}
            followed = {number: _followed(tracks, number) for number in images}
            cuts: dict[int, list[photograph.FaceCrop]] = {}
            keys: dict[int, list[int]] = {}
            for number, image in images.items():
                faces = sorted(followed[number], key=lambda one: -one[1].score)
                of = {id(face): (key, fade) for key, face, fade in faces}
                cut = self.faces.cut(image, [face for _, face, _ in faces])
                keys[number] = [of[id(crop.found)][0] for crop in cut]
                cuts[number] = [replace(crop, weight=crop.weight * of[id(crop.found)][1]) for crop in cut]
            made, wrong = self.faces.pasted(images, cuts)
            if wrong:
                raise UserError(next(iter(wrong.values())))
            for frame in group:
                result = made[frame.number].image
                pairs = zip(keys[frame.number], cuts[frame.number], strict=True)
                chosen = {key: crop for key, crop in pairs if crop.lr is not None}
                counted += (len(cuts[frame.number]), len(chosen))
                flicker.add(frame.number, self._compared(frame.image, result, chosen))
                yield frame._replace(image=result)

    def _compared(
        self, image: Image, result: Image, chosen: dict[int, photograph.FaceCrop]
    ) -> dict[int, tuple[Image, Image]]:
        """By face, how it looks in the result and where it is enlarged bicubically, at one position."""
        scale = self.faces.network.scale
        height, width = self.faces.network.known_size()
        size = height * scale, width * scale
        compared = {}
        for key, crop in chosen.items():
            matrix = photograph.into_sr(crop, self.times, scale)
            restored = warp(result, matrix[:2], size, 'reflect')
            compared[key] = (restored, enlarged_face(image, matrix, size, self.times))
        return compared


def _followed(tracks: Sequence[Track], number: int) -> list[tuple[int, Detection, float]]:
    """The faces of a frame: which one over time, as detected, and how much of the restored one is to be seen."""
    found = ((key, track.at(number)) for key, track in enumerate(tracks))
    return [(key, *face) for key, face in found if face is not None]


def _stretches(frames: int) -> int:
    return -(-frames // STRETCH)


class _Progress:
    """Says how many frames are done, and how many a second, every ten seconds at most."""

    def __init__(self, what: str, first: int, count: int | None = None) -> None:
        self.what, self.first, self.count = what, first, count
        self.started = self.last = time.perf_counter()

    def say(self, done: int) -> None:
        now = time.perf_counter()
        if done == self.count or now - self.last >= 10:
            self.last = now
            of = '' if self.count is None else f' of {self.count}'
            rate = (done - self.first) / max(now - self.started, 1e-3)
            logger.info('%s %d%s frames, %.1f frames/s', self.what, done, of, rate)
