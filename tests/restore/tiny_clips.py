"""Small clips with sound, and a detector that sees what moves in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from fsr_plugins.faces import Detection

SIZE = (120, 160)
#: Frames to RGB and back without a shift.
EXACT = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)
#: Side of a red square, which stands for a face, and where its five points lie in it.
SIDE = 10
POINTS = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.33, 0.75], [0.67, 0.75]])


class RedSquares:
    """Sees red squares in pictures of any size; counts the pixels that it was shown."""

    def __init__(self) -> None:
        self.pixels = 0

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        self.pixels += sum(image.shape[0] * image.shape[1] for image in images)
        return [list(self._seen(image)) for image in images]

    def _seen(self, image: np.ndarray) -> Iterator[Detection]:
        red = (image[..., 0] > 150) & (image[..., 1] < 90)
        _, _, stats, _ = cv2.connectedComponentsWithStats(red.astype(np.uint8))
        for left, top, width, height, area in stats[1:]:
            if area >= 30:
                corner, size = np.array([left, top]), np.array([width, height])
                box = np.array([left, top, left + width, top + height], np.float32)
                yield Detection(box, 0.9, (corner + POINTS * size - 0.5).astype(np.float32))


def place(number: int, face: int = 0) -> tuple[int, int]:
    """Where a square's top left corner is in a frame."""
    return 20 + number % 90, 30 + 50 * face


def frame(number: int, faces: int = 1, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A grey ramp with red squares that move to the right: uint8 (H, W, 3)."""
    image = np.repeat(np.linspace(60, 160, size[1])[None].repeat(size[0], 0)[..., None], 3, axis=2).astype(np.uint8)
    for face in range(faces):
        x, y = place(number, face)
        image[y : y + SIDE, x : x + SIDE] = (220, 20, 30)
    return image


def write_clip(
    file: Path,
    frames: Sequence[np.ndarray],
    times: Sequence[int] | None = None,
    sound: str | None = 'aac',
    rotation: int = 0,
    space: int | None = None,
    codec: str = 'libx264',
) -> Path:
    """A clip of frames, stored as they are, with a second of a tone; times are in thousandths of a second."""
    shown = times if times is not None else [40 * number for number in range(len(frames))]
    with av.open(str(file), 'w') as output:
        video = output.add_stream(codec, rate=25)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt, video.codec_context.time_base = 'yuv420p', Fraction(1, 1000)
        video.time_base = Fraction(1, 1000)
        video.options = {'crf': '8'} if codec == 'libx264' else {'qscale': '2'}
        if rotation:
            video.set_display_rotation(rotation)
        if space is not None:
            video.codec_context.colorspace = space
        audio = None if sound is None else output.add_stream(sound, rate=48_000)
        if audio is not None:
            audio.layout = 'mono'
        for image, pts in zip(frames, shown, strict=True):
            picture = VideoFrame.from_ndarray(np.ascontiguousarray(image), format='rgb24')
            if space is not None:
                picture = picture.reformat(format='yuv420p', dst_colorspace=space, interpolation=EXACT)
            picture.pts, picture.time_base = pts, Fraction(1, 1000)
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
        if audio is not None:
            wave = (0.2 * np.sin(np.arange(48_000) / 20)).astype(np.float32)
            for start in range(0, len(wave), 1024):
                part = AudioFrame.from_ndarray(wave[None, start : start + 1024], format='fltp', layout='mono')
                part.sample_rate, part.pts, part.time_base = 48_000, start, Fraction(1, 48_000)
                output.mux(audio.encode(part))
            output.mux(audio.encode(None))
    return file


def sound_of(file: Path) -> list[tuple[Fraction, bytes]]:
    """Time and bytes of each packet of sound."""
    with av.open(str(file)) as container:
        packets = container.demux(container.streams.audio[0])
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in packets if packet.size]


def times_of(file: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    with av.open(str(file)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(container.streams.video[0])]


def frames_of(file: Path) -> list[np.ndarray]:
    """The frames as they are stored."""
    with av.open(str(file)) as container:
        decoded = container.decode(container.streams.video[0])
        return [one.to_ndarray(format='rgb24', interpolation=EXACT) for one in decoded]
