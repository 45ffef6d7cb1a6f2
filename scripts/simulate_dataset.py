#!/usr/bin/env python
"""Writes a set of as many small images as a real one has, in minutes, to measure how the data path grows.

    python scripts/simulate_dataset.py sets/casia --images 500000 --layout folder
    python scripts/simulate_dataset.py sets/casia.lmdb --images 500000 --layout lmdb
    python scripts/simulate_dataset.py sets/casia_people --images 500000 --layout people --people 10575

Some hundreds of different images are encoded once. Each copy has a comment of its own, so that no two files are alike.
``folder`` and ``lmdb`` are as `fsr prepare` writes them, with a manifest and the people's numbers; the LMDB holds PNGs
and BasicSR's ``meta_info.txt``. ``people`` is as CASIA-WebFace comes: a folder of JPEGs for each person, no manifest.
"""

from __future__ import annotations

import argparse
import struct
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from messages import positive, says_what_is_wrong

from fsr_plugins.errors import UserError
from fsr_plugins.stores.encoding import EncodedFace
from fsr_plugins.stores.folder_writer import write_encoded_folder
from fsr_plugins.stores.images import Image, encode_png
from fsr_plugins.stores.lmdb_writer import LmdbWriter
from fsr_plugins.stores.partial import partial_folder

LAYOUTS = ('folder', 'lmdb', 'people')
#: How many images are different in their pixels.
DIFFERENT = 256
#: The bytes of a PNG's last chunk.
_END = 12


def different_images(size: int, seed: int, number: int = DIFFERENT) -> list[Image]:
    """Smooth uint8 RGB images of ``size`` × ``size`` pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (number, 6, 6, 3), dtype=np.uint8)
    return [cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC) for image in coarse]


def png_with_comment(png: bytes, comment: str) -> bytes:
    """The PNG with a text chunk before its end; its pixels stay as they are."""
    body = b'tEXtComment\0' + comment.encode()
    chunk = struct.pack('>I', len(body) - 4) + body + struct.pack('>I', zlib.crc32(body))
    return png[:-_END] + chunk + png[-_END:]


def jpeg_with_comment(jpeg: bytes, comment: str) -> bytes:
    """The JPEG with a comment segment behind its first marker; its pixels stay as they are."""
    text = comment.encode()
    return jpeg[:2] + b'\xff\xfe' + struct.pack('>H', len(text) + 2) + text + jpeg[2:]


def encoded_faces(count: int, size: int, people: int, seed: int) -> Iterator[EncodedFace]:
    """``count`` PNGs with keys ``0000000`` and on, dealt to ``people`` persons in runs of equal length."""
    pngs = [encode_png(image) for image in different_images(size, seed)]
    for number in range(count):
        key = f'{number:07d}'
        png = png_with_comment(pngs[number % len(pngs)], key)
        yield EncodedFace(key, size, size, png, number * people // count)


def write_people(path: Path, count: int, size: int, people: int, seed: int) -> None:
    """A folder of JPEGs for each person, which appears as a whole.

    Raises:
        UserError: ``path`` exists already or cannot be made.
        DiskError: the disk is full; nothing is left.
    """
    if path.exists():
        raise UserError(f"'{path}' exists already; remove it or choose another place.")
    jpegs = []
    for image in different_images(size, seed):
        jpegs.append(cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
    with partial_folder(path) as partial:
        last = -1
        for number in range(count):
            person = number * people // count
            folder = partial / f'{person:07d}'
            if person != last:
                folder.mkdir()
                last = person
            (folder / f'{number:07d}.jpg').write_bytes(jpeg_with_comment(jpegs[number % len(jpegs)], f'{number:07d}'))
        partial.rename(path)


def simulate(path: Path, layout: str, count: int, size: int, people: int, seed: int = 0) -> None:
    """Writes the set.

    Raises:
        UserError: ``path`` exists already, or there are fewer images than people, or none.
        DiskError: the disk is full; nothing is left.
    """
    if not 1 <= people <= count:
        raise UserError(f'{count} images of {people} people cannot be made: give each person one image at least.')
    if layout == 'people':
        write_people(path, count, size, people, seed)
    elif layout == 'lmdb':
        with LmdbWriter(path, 'png') as writer:
            for face in encoded_faces(count, size, people, seed):
                writer.add_encoded(face)
    else:
        write_encoded_folder(path, encoded_faces(count, size, people, seed))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('path', type=Path, help='what is written; of an LMDB its name ends in .lmdb')
    parser.add_argument('--layout', choices=LAYOUTS, default='folder', help='default: folder')
    parser.add_argument('--images', type=positive, default=70_000, help='default: 70000, as FFHQ has')
    parser.add_argument('--people', type=positive, default=1, help='default: 1; CASIA-WebFace has 10575')
    parser.add_argument('--size', type=positive, default=32, help='side in pixels (default: 32)')
    parser.add_argument('--seed', type=int, default=0, help='of the pixels (default: 0)')
    return parser.parse_args(arguments)


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the set and says how long it took."""
    options = parse(arguments)
    started = time.perf_counter()
    simulate(options.path, options.layout, options.images, options.size, options.people, options.seed)
    print(f'{options.path}: {options.images} images in {time.perf_counter() - started:.1f} s')
    return 0


if __name__ == '__main__':
    sys.exit(main())
