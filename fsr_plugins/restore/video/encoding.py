"""Frames as H.264, in pieces that are put together without being encoded again.

A piece begins with a key frame and refers to no other, and no frame refers to a later one: so each is shown in the
order in which it is stored, and pieces are joined by writing them one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from fsr_plugins.errors import UserError
from fsr_plugins.faces.protocol import Image
from fsr_plugins.restore.video.reading import ClipHeader, Frame, exact_colours

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

#: Encoders, the first that is there is taken; and x264's quality and threads, on which its bytes depend.
ENCODERS = ('libx264', 'libopenh264', 'mpeg4')
_X264 = {'preset': 'veryfast', 'crf': '16', 'threads': '2', 'bf': '0'}
_OTHER = {'b': '40M', 'bf': '0', 'threads': '1'}
#: Frames between key frames, and pixels of frames that x264 looks ahead.
_KEYS, _AHEAD = 48, 64_000_000


class Pieces(NamedTuple):
    """Encoded frames.

    Attributes:
        data: uint8, the packets one after the other.
        ends: int64 (N,), where each ends.
        times: int64 (N, 2), when each is shown and how long, in the clip's units.
        keys: bool (N,), which are key frames.
        extradata: uint8, what a player has to know before the first packet.
    """

    data: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    keys: npt.NDArray[np.bool_]
    extradata: npt.NDArray[np.uint8]

    def packets(self) -> Iterator[tuple[bytes, int, int, bool]]:
        """Bytes, time, duration and whether it is a key frame, of each packet."""
        begin = 0
        for end, (pts, duration), key in zip(self.ends.tolist(), self.times.tolist(), self.keys.tolist(), strict=True):
            yield self.data[begin:end].tobytes(), pts, duration, key
            begin = end


def encoder_name() -> str:
    """The encoder that is taken here.

    Raises:
        UserError: there is none.
    """
    import av

    for name in ENCODERS:
        if name in av.codecs_available:
            return name
    raise UserError(f'PyAV has none of the encoders {", ".join(ENCODERS)}: install its wheel from the package index.')


def configure(context: VideoCodecContext, header: ClipHeader, times: int) -> None:
    """Prepares an encoder for the enlarged frames of a clip; the caller opens it."""
    height, width = header.height * times, header.width * times
    if header.rotation % 180:
        height, width = width, height
    context.width, context.height = width, height
    # Colours of odd sides cannot be halved.
    context.pix_fmt = 'yuv420p' if height % 2 == width % 2 == 0 else 'yuv444p'
    context.time_base, context.framerate = header.time_base, header.rate
    context.sample_aspect_ratio = header.aspect
    context.gop_size = _KEYS
    context.colorspace, context.color_range = header.colour.space, header.colour.range
    context.color_primaries, context.color_trc = header.colour.primaries, header.colour.transfer
    if context.name == 'libx264':
        ahead = max(0, min(10, _AHEAD // (height * width)))
        context.options = _X264 | {'rc-lookahead': str(ahead)}
    else:
        context.options = _OTHER


class Encoder:
    """Encodes a piece of a clip.

    Raises:
        UserError: the frames are of a size that the encoder does not take.
    """

    def __init__(self, header: ClipHeader, times: int) -> None:
        import av
        from av.codec.context import Flags
        from av.error import FFmpegError

        self.header = header
        context = av.CodecContext.create(encoder_name(), 'w')
        configure(context, header, times)
        context.flags |= Flags.global_header
        try:
            context.open()
        except (FFmpegError, OSError) as error:
            raise UserError(
                f'{context.width}x{context.height} is not taken by {context.name} ({error}): lower --enlarge.'
            ) from error
        self.context: VideoCodecContext = context

    @property
    def extradata(self) -> bytes:
        """What a player has to know before the first packet."""
        return bytes(self.context.extradata or b'')

    def encoded(self, frames: Iterable[Frame]) -> Pieces:
        """Frames as they are shown, in their order, with the times of the clip."""
        data = bytearray()
        ends: list[int] = []
        times: list[tuple[int, int]] = []
        keys: list[bool] = []
        durations: dict[int, int] = {}

        def add(images: Iterable[Frame | None]) -> None:
            for frame in images:
                if frame is not None:
                    durations[frame.pts] = frame.duration
                for packet in self.context.encode(None if frame is None else self._converted(frame.image, frame.pts)):
                    assert packet.pts is not None
                    data.extend(bytes(packet))
                    ends.append(len(data))
                    times.append((packet.pts, durations.pop(packet.pts)))
                    keys.append(bool(packet.is_keyframe))

        add(frames)
        add([None])
        return Pieces(
            np.frombuffer(bytes(data), np.uint8),
            np.array(ends, np.int64),
            np.array(times, np.int64).reshape(-1, 2),
            np.array(keys, bool),
            np.frombuffer(self.extradata, np.uint8),
        )

    def _converted(self, image: Image, pts: int) -> VideoFrame:
        from av.video.frame import VideoFrame as New

        stored = np.ascontiguousarray(np.rot90(image, -self.header.rotation // 90))
        frame = New.from_ndarray(stored, format='rgb24')
        colour = self.header.colour
        converted = frame.reformat(
            format=self.context.pix_fmt,
            dst_colorspace=colour.space,
            dst_color_range=colour.range or None,
            interpolation=exact_colours(),
        )
        converted.pts, converted.time_base = pts, Fraction(self.header.time_base)
        return converted
