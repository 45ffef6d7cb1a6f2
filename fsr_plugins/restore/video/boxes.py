"""How many bytes a clip's own structure says that it has: a shorter file is cut off.

FFmpeg reads what is there of such a file, and ends as if that were all.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

#: Boxes of an MP4 that are looked at; a hostile file has any number of them.
_MOST_BOXES = 100_000
_EBML, _SEGMENT = b'\x1aE\xdf\xa3', b'\x18S\x80g'


def promised_bytes(file: BinaryIO, size: int) -> int:
    """The bytes that an MP4, a Matroska file or an AVI says it has; 0 where it does not say it, or is another kind.

    Args:
        file: it is read from the beginning, and is there again afterwards.
        size: the bytes that it really has.
    """
    file.seek(0)
    head = file.read(64)
    if head[4:8] in (b'ftyp', b'moov', b'mdat', b'wide', b'free', b'skip'):
        promised = _boxes(file, size)
    elif head[:4] == _EBML:
        promised = _matroska(head)
    elif head[:4] == b'RIFF' and head[8:12] == b'AVI ':
        promised = struct.unpack_from('<I', head, 4)[0] + 8
    else:
        promised = 0
    file.seek(0)
    return promised


def _boxes(file: BinaryIO, size: int) -> int:
    """Where the last box of an MP4 ends."""
    place = 0
    for _ in range(_MOST_BOXES):
        if place + 8 > size:
            break
        file.seek(place)
        head = file.read(16)
        length = struct.unpack_from('>I', head)[0]
        if length == 1 and len(head) == 16:
            length = struct.unpack_from('>Q', head, 8)[0]
        if length == 0 or not head[4:8].isalnum():  # to the end, or no box: bytes that somebody has appended
            return 0
        if length < 8:
            return 0
        place += length
    return place


def _matroska(head: bytes) -> int:
    """Where the segment after an EBML header ends; 0 where its length is not known, as in a stream."""
    length, width = _variable(head, 4)
    place = 4 + width + length
    if head[place : place + 4] != _SEGMENT:
        return 0
    length, width = _variable(head, place + 4)
    unknown = width == 0 or length == (1 << 7 * width) - 1
    return 0 if unknown else place + 4 + width + length


def _variable(data: bytes, place: int) -> tuple[int, int]:
    """A number of EBML and its width in bytes; 0, 0 where there is none."""
    if place >= len(data) or data[place] == 0:
        return 0, 0
    width = 9 - data[place].bit_length()
    if place + width > len(data):
        return 0, 0
    return int.from_bytes(data[place : place + width], 'big') & ((1 << 7 * width) - 1), width
