"""Images that are none: damaged files, and headers that claim what is not there."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image

SIDE = 8


def picture(rng: random.Random, side: int = SIDE) -> Image.Image:
    pixels = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 4, 32])):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def beginning(data: bytes, rng: random.Random) -> bytes:
    """Bytes of the header, or of what comes first, are anything."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 2, 4])):
        changed[rng.randrange(min(64, len(data)))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return bytes(changed)


def spliced(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + rng.randbytes(rng.choice([1, 100, 5000])) + data[place + rng.choice([0, 1, 50]) :]


def zeroed(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes(len(data) - place)


DAMAGES = {'cut': cut, 'flipped': flipped, 'beginning': beginning, 'spliced': spliced, 'zeroed': zeroed}


def png(width: int, height: int, bits: int = 8, colour: int = 2, data: bytes = b'') -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))

    header = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', data) + chunk(b'IEND', b'')


def lying_header(rng: random.Random) -> tuple[str, bytes]:
    """The name and the content of a file."""
    side = rng.choice([0, 1, 3000, 14_000, 60_000, 65_535])
    other = rng.choice([side, 8])
    return rng.choice(
        [
            (
                'a.png',
                png(side, other, rng.choice([1, 8, 16]), rng.choice([0, 2, 3, 4, 6]), zlib.compress(bytes(1000))),
            ),
            ('a.png', png(2**31 - 1, side)),
            ('a.ppm', f'P6\n{side} {other}\n255\n'.encode() + bytes(300)),
            ('a.pgm', f'P5\n{side} {other}\n{rng.choice([1, 255, 65535, 10**9])}\n'.encode() + bytes(300)),
            ('a.bmp', _with(encoded(picture(rng), 'BMP'), 18, struct.pack('<ii', side, rng.choice([other, -other])))),
            ('a.jpg', _jpeg(rng, side, other)),
            ('a.tif', _tiff(rng, side, other)),
            ('a.webp', _with(encoded(picture(rng), 'WEBP'), 26, struct.pack('<HH', side & 0x3FFF, other & 0x3FFF))),
            ('a.gif', _with(encoded(picture(rng), 'GIF'), 6, struct.pack('<HH', side, other))),
        ]
    )


def _with(data: bytes, place: int, content: bytes) -> bytes:
    return data[:place] + content + data[place + len(content) :]


def _jpeg(rng: random.Random, width: int, height: int) -> bytes:
    data = encoded(picture(rng), 'JPEG')
    return _with(data, data.index(b'\xff\xc0') + 5, struct.pack('>HH', height, width))


def _tiff(rng: random.Random, width: int, height: int) -> bytes:
    data = encoded(picture(rng), 'TIFF')
    for tag, value in ((256, width), (257, height)):
        place = data.find(struct.pack('<HH', tag, 4))
        place = place if place >= 0 else data.index(struct.pack('<HH', tag, 3))
        data = _with(data, place + 2, struct.pack('<HII', 4, 1, value))
    return data
