"""Encoded pieces and the sound of the clip as one file; nothing is encoded again."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fsr_plugins.errors import RunError, UserError
from fsr_plugins.images import shown
from fsr_plugins.restore.video.encoding import Pieces, configure, encoder_name
from fsr_plugins.restore.video.reading import ClipHeader, opened, readable

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

#: FFmpeg's names of the kinds of results.
_MUXERS = {'.mp4': 'mp4', '.mov': 'mov', '.mkv': 'matroska'}
#: By its time in seconds and its stream, a packet.
_Timed = tuple[Fraction, int, 'Packet']


def check_sounds(header: ClipHeader, source: Path, suffix: str) -> None:
    """Refuses sound that the kind of result cannot hold, before any work.

    Raises:
        UserError: it cannot.
    """
    import io

    import av
    from av.error import FFmpegError

    with opened(source) as container, av.open(io.BytesIO(), 'w', format=_MUXERS[suffix]) as output:
        try:
            _add_video(output, header, 1)
            _add_sounds(output, container)
            output.start_encoding()
        except (FFmpegError, ValueError, OSError) as error:
            codecs = ', '.join(sorted(set(header.sounds)))
            raise UserError(
                f"'{shown(source)}' has sound ({codecs}) that '{suffix}' cannot hold ({error}): put it into a '.mkv' "
                'first.'
            ) from error


def join(source: Path, header: ClipHeader, times: int, pieces: Iterable[Pieces], suffix: str, handle: BinaryIO) -> None:
    """Writes a clip: the pieces one after the other, and the source's sound as it is.

    Args:
        source: the clip that gives the sound.
        times: how many times the frames are enlarged.
        pieces: in their order; they are read one at a time.
        suffix: of the result.
        handle: where it is written.

    Raises:
        UserError: the source cannot be read any more.
        RunError: the result cannot be written.
    """
    import av
    from av.error import FFmpegError

    with opened(source) as container:
        try:
            with av.open(handle, 'w', format=_MUXERS[suffix]) as output:
                video = _add_video(output, header, times)
                sounds = _add_sounds(output, container)
                output.metadata.update({key: text for key, text in container.metadata.items() if key in _KEPT})
                output.start_encoding()
                streams = [_frames(pieces, video, header), _sound(container, sounds, source)]
                for _, _, packet in heapq.merge(*streams, key=lambda timed: timed[:2]):
                    output.mux(packet)
        except (FFmpegError, ValueError) as error:
            raise RunError(f"The frames and sound of '{shown(source)}' cannot be joined: {error}.") from error


#: What a clip says of itself and its result says, too.
_KEPT = frozenset({'title', 'artist', 'date', 'comment', 'creation_time', 'location', 'copyright', 'description'})


def _add_video(output: OutputContainer, header: ClipHeader, times: int) -> VideoStream:
    from av.video.stream import VideoStream

    stream = output.add_stream(encoder_name(), rate=header.rate)
    assert isinstance(stream, VideoStream)
    configure(stream.codec_context, header, times)
    stream.time_base = header.time_base
    if header.rotation:
        stream.set_display_rotation(header.rotation)
    return stream


def _add_sounds(output: OutputContainer, container: InputContainer) -> dict[int, Stream]:
    """By the index of each of the source's audio streams the one that is its copy."""
    copies: dict[int, Stream] = {}
    for stream in container.streams.audio:
        copy = output.add_stream_from_template(stream)
        copy.metadata.update({key: text for key, text in stream.metadata.items() if key in ('language', 'title')})
        copies[stream.index] = copy
    return copies


def _frames(pieces: Iterable[Pieces], video: VideoStream, header: ClipHeader) -> Iterator[_Timed]:
    from av.packet import Packet

    for piece in pieces:
        for data, pts, duration, is_key in piece.packets():
            packet = Packet(data)
            packet.pts = packet.dts = pts
            packet.time_base = header.time_base
            packet.duration = duration
            packet.is_keyframe = is_key
            packet.stream = video
            yield pts * header.time_base, 0, packet


def _sound(container: InputContainer, copies: dict[int, Stream], source: Path) -> Iterator[_Timed]:
    if not copies:
        return
    latest = Fraction(-(10**9))
    with readable(source, 'be read to its end'):
        for packet in container.demux([container.streams[index] for index in copies]):
            if packet.dts is None:  # the demuxer's end
                continue
            # Streams of a clip are interleaved, but for some of them not in strict order.
            latest = max(latest, packet.dts * _base(packet))
            packet.stream = copies[packet.stream_index]
            yield latest, 1, packet


def _base(packet: Packet) -> Fraction:
    assert packet.time_base is not None
    return packet.time_base
