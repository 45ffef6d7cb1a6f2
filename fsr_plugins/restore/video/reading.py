"""A clip as a row of frames, one after the other, never all at once.

The bytes are anybody's: only files are read, by demuxers that open no others, and sizes are bounded before anything is
decoded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fsr_plugins.errors import UserError
from fsr_plugins.faces.protocol import Image
from fsr_plugins.images import shown
from fsr_plugins.restore.video.boxes import promised_bytes
from fsr_plugins.restore.video.kinds import check_installed

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

#: Pixels of a frame (8K has 33 million) and frames of a clip; one that has more is not read.
MOST_PIXELS, MOST_FRAMES = 36_000_000, 2_000_000
#: Demuxers that read the file alone; a playlist would name other files and hosts.
_FORMATS = 'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegvideo,mpegts,flv,ogg'
#: FFmpeg's number of a matrix that is not named.
_UNSPECIFIED = 2
#: Bytes and microseconds that are read to find out what a clip holds.
_PROBED, _ANALYSED = 16_000_000, 10_000_000


class Frame(NamedTuple):
    """A frame of a clip.

    Attributes:
        number: its place, from 0.
        pts: when it is shown, in units of the clip's time base.
        duration: how long, in the same units; 0 where the clip does not say it.
        image: uint8 (H, W, 3) RGB, upright.
    """

    number: int
    pts: int
    duration: int
    image: Image


class Colour(NamedTuple):
    """What a clip says of its colours, as FFmpeg numbers it."""

    space: int
    range: int
    primaries: int
    transfer: int


@dataclass(frozen=True)
class ClipHeader:
    """What a clip says of itself.

    Attributes:
        height, width: of a frame as it is shown.
        rotation: by so many degrees the stored frames are turned to the left to be shown: 0, 90, 180 or -90.
        time_base: seconds of a unit of time.
        rate: frames a second, on the average.
        aspect: width of a pixel by its height.
        colour: see :class:`Colour`.
        sounds: codecs of its audio streams.
        left_out: kinds of its other streams, subtitles or data, which the result does not have.
    """

    height: int
    width: int
    rotation: int
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    colour: Colour
    sounds: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@contextmanager
def readable(path: Path, doing: str = 'be read as a clip') -> Iterator[None]:
    """Says in a sentence what FFmpeg does not take.

    Raises:
        UserError: the clip is damaged, of another kind, or cannot be read.
    """
    from av.error import FFmpegError

    try:
        yield
    except (FFmpegError, OSError) as error:
        reason = getattr(error, 'strerror', None) or str(error)
        raise UserError(
            f"'{shown(path)}' cannot {doing} ({reason}): it is damaged or of another format; replace or remove it."
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """The clip's container.

    Raises:
        UserError: see :func:`readable`; or it is cut off.
    """
    check_installed()
    import av

    descriptor = None
    try:
        # A pipe would let its reader wait for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_BINARY', 0))
        status = os.fstat(descriptor)
    except OSError as error:
        raise UserError(f"'{shown(path)}' cannot be read: {error.strerror}.") from error
    with os.fdopen(descriptor, 'rb') as file:
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            what = 'is empty' if stat.S_ISREG(status.st_mode) else 'is no file of a clip'
            raise UserError(f"'{shown(path)}' {what}: remove it.")
        promised = promised_bytes(file, status.st_size)
        if promised > status.st_size:
            raise UserError(
                f"'{shown(path)}' is cut off: it says that it has {promised} bytes, and has {status.st_size}; replace "
                'or remove it.'
            )
        options = {
            'format_whitelist': _FORMATS,
            'probesize': str(_PROBED),
            'analyzeduration': str(_ANALYSED),
            'max_pixels': str(MOST_PIXELS),
        }
        with readable(path):
            container = av.open(file, 'r', options=options)
        with container:
            yield container


def _video(container: InputContainer, path: Path) -> VideoStream:
    """The first stream of frames that is no cover picture."""
    import av

    cover = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & cover and stream.codec_context is not None:
            context = stream.codec_context
            if context.width * context.height > MOST_PIXELS:
                raise UserError(
                    f"'{shown(path)}' claims frames of {context.width}x{context.height}, more than the {MOST_PIXELS} "
                    'pixels that are read: reduce it first.'
                )
            context.options = {'max_pixels': str(MOST_PIXELS)}
            return stream
    raise UserError(f"'{shown(path)}' holds no video that can be read: name pictures and clips only.")


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[tuple[VideoFrame, bool]]:
    """The frames of a stream, each with whether FFmpeg met an error while it decoded it.

    The H.264 decoder marks next to no damaged frame, and says each error in its log only.
    """
    import av

    frames = container.decode(stream)
    while True:
        level, before = av.logging.get_level(), av.logging.get_last_error()[0]
        # Errors are counted at whatever level is shown, but not where nothing is.
        av.logging.set_level(av.logging.PANIC if level is None else level)
        try:
            frame = next(frames, None)
        finally:
            count = av.logging.get_last_error()[0]
            av.logging.set_level(level)
        if frame is None:
            return
        yield frame, frame.is_corrupt or count > before


class Clip:
    """A file of a clip; ``damaged`` are the frames, of those decoded so far, at which errors were met.

    Raises:
        UserError: it cannot be read, holds no frame, or frames of a kind that is not taken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged: set[int] = set()
        with opened(path) as container, readable(path):
            stream = _video(container, path)
            first = next(container.decode(stream), None)
            if first is None:
                raise UserError(f"'{shown(path)}' holds no frame: it is damaged or empty; replace or remove it.")
            self._refuse_depth(first)
            self.header = _header(container, stream, first)

    def _refuse_depth(self, frame: VideoFrame) -> None:
        bits = max(component.bits for component in frame.format.components)
        if bits > 8:
            raise UserError(
                f"'{shown(self.path)}' has {bits} bits a channel; only 8 bits a channel are read: convert it first."
            )

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The frames from one on; those before it are decoded, too, for only that is the same on every call.

        Raises:
            UserError: a frame is damaged or of another size, or time does not go on.
        """
        number, last = 0, None
        with opened(self.path) as container, readable(self.path, 'be read to its end'):
            stream = _video(container, self.path)
            for frame, is_damaged in _decoded(container, stream):
                if is_damaged:
                    self.damaged.add(number)
                if frame.pts is None or (last is not None and frame.pts <= last):
                    raise UserError(
                        f"'{shown(self.path)}': the time of frame {number} is not after that of the one before: write "
                        'the clip anew with other timestamps first.'
                    )
                if number >= MOST_FRAMES:
                    raise UserError(
                        f"'{shown(self.path)}' has more than {MOST_FRAMES} frames: cut it into parts first."
                    )
                last = frame.pts
                if number >= start:
                    yield Frame(number, frame.pts, frame.duration or 0, self._image(frame, number))
                number += 1

    def _image(self, frame: VideoFrame, number: int) -> Image:
        stored = frame.to_ndarray(format='rgb24', interpolation=exact_colours())
        image: Image = np.ascontiguousarray(np.rot90(stored, self.header.rotation // 90), np.uint8)
        height, width = image.shape[:2]
        if (height, width) != (self.header.height, self.header.width):
            raise UserError(
                f"'{shown(self.path)}': frame {number} is {width}x{height}, those before are "
                f'{self.header.width}x{self.header.height}: cut the clip there first.'
            )
        return image


def exact_colours() -> int:
    """How frames become RGB and back: rounded, not cut off, and with every pixel's own colour.

    FFmpeg's quick way darkens by more than a level at each turn.
    """
    from av.video.reformatter import Interpolation

    return int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)


def _header(container: InputContainer, stream: VideoStream, first: VideoFrame) -> ClipHeader:
    turned = round(first.rotation / 90) * 90
    rotation = 180 if abs(turned) == 180 else turned
    height, width = (first.width, first.height) if rotation % 180 else (first.height, first.width)
    if not stream.time_base:
        raise UserError(f"'{container.name}' says nothing of its time: it is damaged; replace or remove it.")
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    others = [each.type for each in container.streams if each.index != stream.index and each.type != 'audio']
    return ClipHeader(
        height,
        width,
        rotation,
        stream.time_base,
        rate if 0 < rate < 100_000 else Fraction(25),
        Fraction(stream.sample_aspect_ratio or 1) or Fraction(1),
        _colour(first),
        tuple(each.codec_context.name for each in container.streams.audio if each.codec_context is not None),
        tuple(others),
    )


def _colour(frame: VideoFrame) -> Colour:
    said = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    space, *others = (int(getattr(value, 'value', value)) for value in said)
    # Frames of RGB become such of brightness and colours, of the matrix that is meant where none is named.
    return Colour(space or _UNSPECIFIED, *others)
