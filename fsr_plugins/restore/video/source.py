"""Where frames come from and go to: a file of a clip, or a folder of pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from fsr_plugins.atomic import write_atomically
from fsr_plugins.errors import UserError
from fsr_plugins.images import look_at, read_bytes, shown
from fsr_plugins.restore.pictures import beside_colours, decode, encode, unfit
from fsr_plugins.restore.video.encoding import Encoder, Pieces
from fsr_plugins.restore.video.joining import check_sounds, join
from fsr_plugins.restore.video.parts import Arrays
from fsr_plugins.restore.video.reading import Clip, Frame
from fsr_plugins.values import Record
from fsr_plugins.weights import file_sha256


class Source(Protocol):
    """A clip: its frames, and what becomes of them; ``size`` is the height and width of a frame."""

    size: tuple[int, int]

    def digest(self) -> str:
        """What tells it from every other clip."""

    def named(self) -> list[str]:
        """How its results are named: the first one's name, and what tells all names from others."""

    def there(self, frames: range) -> bool:
        """Whether the results of frames that were written are still there, beside what parts keep."""

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Its frames from one on."""

    def check(self, times: int) -> None:
        """Finds out before the work whether the result can be made.

        Args:
            times: how many times frames are enlarged.

        Raises:
            UserError: it cannot.
        """

    def write(self, times: int, frames: Iterable[Frame]) -> Arrays:
        """Writes enlarged frames, or gives what is to be kept of them, as arrays."""

    def finish(self, times: int, parts: Iterable[Arrays]) -> None:
        """Makes the result of all that was kept."""

    def about(self) -> Record:
        """What is to be said of it, plain values."""


class ClipFile:
    """A file of a clip; see :class:`Source`.

    Args:
        file: the clip.
        result: the file of the result.

    Raises:
        UserError: see :class:`~fsr_plugins.restore.video.reading.Clip`.
    """

    def __init__(self, file: Path, result: Path) -> None:
        self.file, self.result = file, result
        self.clip = Clip(file)
        self.size = self.clip.header.height, self.clip.header.width

    def digest(self) -> str:
        """See :class:`Source`."""
        return file_sha256(self.file)

    def named(self) -> list[str]:
        """See :class:`Source`."""
        return [self.result.name]

    def there(self, frames: range) -> bool:
        """See :class:`Source`; parts keep all of it."""
        return True

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See :class:`Source`."""
        return self.clip.frames(start)

    def check(self, times: int) -> None:
        """See :class:`Source`."""
        Encoder(self.clip.header, times)
        check_sounds(self.clip.header, self.file, self.result.suffix)

    def write(self, times: int, frames: Iterable[Frame]) -> Arrays:
        """See :class:`Source`."""
        return Encoder(self.clip.header, times).encoded(frames)._asdict()

    def finish(self, times: int, parts: Iterable[Arrays]) -> None:
        """See :class:`Source`."""
        pieces = (Pieces(*(part[name] for name in Pieces._fields)) for part in parts)
        write_atomically(
            self.result,
            lambda handle: join(self.file, self.clip.header, times, pieces, self.result.suffix, handle),
        )

    def about(self) -> Record:
        """See :class:`Source`."""
        header = self.clip.header
        return {
            'sounds': list(header.sounds),
            'left_out': list(header.left_out),
            'rotation': header.rotation,
            'damaged': len(self.clip.damaged),
        }


class FrameFolder:
    """Pictures that are the frames of a clip, in this order; see :class:`Source`.

    Args:
        results: by each picture, the file of its result.

    Raises:
        UserError: the first picture cannot be read.
    """

    def __init__(self, results: Mapping[Path, Path]) -> None:
        self.results: Sequence[tuple[Path, Path]] = list(results.items())
        self.size = look_at(read_bytes(self.results[0][0]), shown(self.results[0][0])).shape

    def digest(self) -> str:
        """See :class:`Source`."""
        digest = hashlib.sha256()
        for file, _ in self.results:
            digest.update(f'{file.name}\0{hashlib.sha256(read_bytes(file)).hexdigest()}\n'.encode())
        return digest.hexdigest()

    def named(self) -> list[str]:
        """See :class:`Source`; they may lie in other folders than the first one."""
        first = self.results[0][1]
        digest = hashlib.sha256()
        for _, result in self.results:
            digest.update(os.fsencode(os.path.relpath(result, first.parent)) + b'\0')
        return [shown(first.name), digest.hexdigest()]

    def there(self, frames: range) -> bool:
        """See :class:`Source`."""
        return all(self.results[number][1].is_file() for number in frames)

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See :class:`Source`."""
        for number, (file, _) in enumerate(self.results[start:], start):
            image, _ = decode(read_bytes(file), shown(file), False)
            if image.shape[:2] != self.size:
                height, width = self.size
                raise UserError(
                    f"'{shown(file)}' is {image.shape[1]}x{image.shape[0]}, and the first frame {width}x{height}: "
                    'frames of one clip have one size; put others into another folder.'
                )
            yield Frame(number, number, 1, image)

    def check(self, times: int) -> None:
        """See :class:`Source`."""
        for _, result in self.results:
            why = unfit(result.suffix, (self.size[0] * times, self.size[1] * times))
            if why is not None:
                raise UserError(f"'{shown(result)}' {why}")

    def write(self, times: int, frames: Iterable[Frame]) -> Arrays:
        """See :class:`Source`; each is written with what belongs to its picture beside its colours."""
        count = 0
        for frame in frames:
            file, result = self.results[frame.number]
            data = read_bytes(file)
            extras = beside_colours(data, shown(file), look_at(data, shown(file)).alpha, self.size)
            encoded = encode(frame.image, extras, result.suffix)
            write_atomically(result, lambda handle, encoded=encoded: handle.write(encoded))  # type: ignore[misc]
            count += 1
        return {'written': np.array(count)}

    def finish(self, times: int, parts: Iterable[Arrays]) -> None:
        """See :class:`Source`; every frame is there already."""

    def about(self) -> Record:
        """See :class:`Source`."""
        return {}
