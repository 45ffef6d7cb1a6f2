"""A clip of faces that move over a scene, with a tone: what the restoration of clips is tried on.

    python scripts/make_clip.py clip.mp4 --images lfw-deepfunneled-test.zip

Whole images of people, reduced so that the part of a face that the network takes has so many pixels, move on smooth
paths over a scene of soft colours; blur, noise and H.264 are those of a cheap camera. Without ``--images`` the people
are the built-in portraits, which need no file. The truth is known: ``--points FILE`` gets where each face's points lie
in each frame, as JSON, where the images have points.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import scenes
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from messages import positive, says_what_is_wrong

from fsr_plugins.errors import UserError
from fsr_plugins.faces import open_detector
from fsr_plugins.faces.crops import warp
from fsr_plugins.faces.protocol import Floats, Image
from fsr_plugins.stores.opening import open_store
from fsr_plugins.wording import many

#: The tone's pitch and the sound's samples a second.
TONE, SAMPLES = 440.0, 48_000


def portraits(count: int) -> list[scenes.Person]:
    """Built-in people with the points of their faces."""
    store = open_store(f'portraits://studio/test?number={8 * count}&size=128')
    people = []
    # Eight pictures are one person's.
    for key in store.keys[::8]:
        face = store.get(key)
        assert face.landmarks is not None
        people.append(scenes.Person(face.image, face.landmarks))
    return people


def ground(size: tuple[int, int], seed: int = 0) -> Image:
    """A scene of soft colours: uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 190, (6, 10, 3)).astype(np.float32)
    fine = rng.normal(0, 12, (size[1] // 16, size[0] // 16, 3)).astype(np.float32)
    both = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC) + cv2.resize(fine, size)
    return np.rint(both.clip(0, 255)).astype(np.uint8)


def path(which: int, people: int, seconds: float, size: tuple[int, int]) -> tuple[float, float, float]:
    """Where the middle of a person is in the frame, x and y, and the turn in degrees."""
    column = size[0] * (which + 0.5) / people
    phase = 2 * np.pi * (seconds / 5 + which / people)
    x = column + size[0] / people * 0.28 * np.sin(phase)
    y = size[1] / 2 + size[1] * 0.25 * np.cos(0.7 * phase + which)
    return float(x), float(y), float(8 * np.sin(1.3 * phase))


def frames(
    people: Sequence[scenes.Person], reduction: float, size: tuple[int, int], count: int, rate: int, seed: int
) -> Iterator[tuple[Image, npt.NDArray[np.float64]]]:
    """Frames, uint8 (H, W, 3), and the points of each face in them, (N, 5, 2)."""
    scene, rng = ground(size, seed), np.random.default_rng(seed)
    for number in range(count):
        image = scene.copy()
        marks = []
        for which, person in enumerate(people):
            height, width = person.image.shape[:2]
            x, y, turn = path(which, len(people), number / rate, size)
            middle = np.array([width - 1, height - 1]) / 2
            matrix = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), turn, 1 / reduction)
            matrix[:, 2] += np.array([x, y]) - middle
            marks.append(person.points @ matrix[:, :2].T + matrix[:, 2])
            # Only what is around the person is made.
            side = int(np.ceil(1.5 * max(height, width) / reduction))
            corner = np.clip(np.array([x, y]).astype(int) - side // 2, 0, np.array(size) - side)
            matrix[:, 2] -= corner
            mask = warp(_soft(height, width), matrix, (side, side)).astype(np.float32) / 255
            under = image[corner[1] : corner[1] + side, corner[0] : corner[0] + side]
            laid = warp(person.image, matrix, (side, side)).astype(np.float32)
            under[...] = np.rint(under + mask * (laid - under))
        blurred = cv2.GaussianBlur(image, (0, 0), scenes.BLUR).astype(np.float32)
        noisy = blurred + rng.standard_normal(image.shape, np.float32) * np.float32(scenes.NOISE)
        yield np.rint(noisy.clip(0, 255)).astype(np.uint8), np.stack(marks)


def _soft(height: int, width: int) -> Image:
    """An oval that fades at its edge: uint8 (H, W, 3)."""
    down, across = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    share = np.clip((1 - np.hypot(down, across)) / 0.2, 0, 1)
    return np.repeat(np.rint(255 * share).astype(np.uint8)[..., None], 3, axis=2)


def write_clip(file: Path, images: Iterator[Image], size: tuple[int, int], rate: int, seconds: float) -> None:
    """Writes frames with H.264 and a tone with AAC; frames are taken one at a time."""
    with av.open(str(file), 'w') as output:
        video = output.add_stream('libx264', rate=rate)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = *size, 'yuv420p'
        video.options = {'crf': '20', 'preset': 'veryfast'}
        sound = output.add_stream('aac', rate=SAMPLES)
        assert isinstance(sound, AudioStream)
        sound.layout = 'mono'
        for number, image in enumerate(images):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format='rgb24')
            frame.pts, frame.time_base = number, Fraction(1, rate)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        times = np.arange(round(SAMPLES * seconds)) / SAMPLES
        wave = (0.2 * np.sin(2 * np.pi * TONE * times)).astype(np.float32)
        for start in range(0, len(wave), 1024):
            part = AudioFrame.from_ndarray(wave[None, start : start + 1024], format='fltp', layout='mono')
            part.sample_rate, part.pts, part.time_base = SAMPLES, start, Fraction(1, SAMPLES)
            output.mux(sound.encode(part))
        output.mux(sound.encode(None))


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='CLIP', help='the file, .mp4 or .mkv')
    parser.add_argument('--images', type=Path, metavar='ZIP', help='images, a folder a person; default: built-in')
    parser.add_argument('--size', type=positive, nargs=2, default=[1280, 720], metavar=('W', 'H'))
    parser.add_argument('--seconds', type=float, default=10.0, metavar='S')
    parser.add_argument('--rate', type=positive, default=25, metavar='N', help='frames a second')
    parser.add_argument('--count', type=positive, default=3, metavar='N', help='people')
    parser.add_argument('--pixels', type=float, default=28.0, metavar='N', help='between mouth and eyes, three times')
    parser.add_argument('--points', type=Path, metavar='FILE', help='also write where the points lie')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(arguments)
    size = (args.size[0], args.size[1])
    _check(size, args.pixels, args.seconds * args.rate)

    people = (
        portraits(args.count)
        if args.images is None
        else scenes.read_people(args.images, args.count, open_detector('mtcnn'))
    )
    if len(people) < args.count:
        raise UserError(f'{args.images} has faces of {len(people)} people only: lower --count.')
    reduction = float(np.median([_face(person.points) for person in people])) / args.pixels
    largest = 1.5 * max(max(person.image.shape[:2]) for person in people) / reduction
    if largest > min(size):
        raise UserError(f'--pixels {args.pixels:g}: people of {largest:.0f} pixels do not fit into the frame.')
    count = round(args.seconds * args.rate)
    marks: list[Floats] = []

    def kept() -> Iterator[Image]:
        for image, points in frames(people, reduction, size, count, args.rate, args.seed):
            marks.append(points.astype(np.float32))
            yield image

    write_clip(args.out, kept(), size, args.rate, args.seconds)
    if args.points is not None:
        args.points.write_text(json.dumps([points.round(3).tolist() for points in marks]) + '\n')
    print(f'{args.out}: {count} frames of {size[0]}x{size[1]}, {many(len(people), "face")}')


def _check(size: tuple[int, int], pixels: float, frames: float) -> None:
    """H.264 takes even sides."""
    if any(side < 16 or side % 2 for side in size):
        raise UserError(f'--size {size[0]} {size[1]}: both have to be even, and at least 16.')
    if frames < 1 or pixels <= 0:
        raise UserError('--pixels has to be more than 0, and --seconds times --rate at least 1.')


def _face(points: Floats) -> float:
    """Height of a face's box, about: three times the distance between the middles of eyes and mouth."""
    return float(3 * np.linalg.norm(points[:2].mean(axis=0) - points[3:].mean(axis=0)))


if __name__ == '__main__':
    sys.exit(main())
