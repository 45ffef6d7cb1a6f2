"""Reading MATLAB files of version 5 to 7 that may be damaged.

``scipy.io.loadmat`` can read beyond its own memory and end the process where a damaged file lies about its sizes. A
file that an option file names must not do that, so this is a reader of what protocols consist of: numeric arrays,
strings, and cell arrays of these. Source of the layout: "MAT-File Format" (The MathWorks).
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

HEADER = 128
#: Codes of a numeric element's type, and what it is in numpy.
TYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8', 13: 'u8'}
MATRIX, COMPRESSED = 14, 15
TEXTS = {2: 'utf-8', 4: 'utf-16', 16: 'utf-8', 17: 'utf-16', 18: 'utf-32'}
CELL, CHAR, NUMBERS = 1, 4, range(6, 16)
COMPLEX = 0x0800
#: Bytes of one variable unpacked; a BLUFR protocol has 4 MB in all.
LARGEST = 256 << 20
#: Cells within cells that are looked into.
DEEPEST = 4


class MatFile:
    """The bytes of a file, and their order."""

    def __init__(self, content: bytes) -> None:
        """
        Raises:
            ValueError: this is no MATLAB file of version 5 to 7.
        """
        order = {b'IM': '<', b'MI': '>'}.get(content[126:128])
        if order is None or struct.unpack(order + 'H', content[124:126])[0] != 0x0100:
            raise ValueError('not a MATLAB file of version 5 to 7')
        self.order = order
        self.content = content[HEADER:]

    def variables(self, names: Collection[str]) -> dict[str, Array]:
        """Those of the named variables that the file has; others are not looked into.

        Raises:
            ValueError: the file is damaged, or one of them is neither numbers, text nor a cell array.
        """
        found: dict[str, Array] = {}
        for kind, data in self._elements(self.content):
            if kind == COMPRESSED:
                unpacker = zlib.decompressobj()
                try:
                    content = unpacker.decompress(data, LARGEST)
                except zlib.error as error:
                    raise ValueError(f'a compressed variable is damaged: {error}') from error
                if not unpacker.eof:
                    raise ValueError(f'a compressed variable is cut off, or larger than {LARGEST >> 20} MiB')
                kind, data = next(self._elements(content), (0, b''))
            if kind != MATRIX:
                raise ValueError(f'it has an element of type {kind} where a variable should be')
            name, array = self._matrix(data, names)
            if array is not None:
                found[name] = array
        return found

    def _elements(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Type and bytes of one element after another."""
        place = 0
        while place < len(data):
            if place + 8 > len(data):
                raise ValueError('it ends within a tag')
            kind, size = struct.unpack_from(self.order + 'II', data, place)
            # A small element has its size and up to four bytes of data within the tag.
            start = place + (4 if kind >> 16 else 8)
            kind, size = (kind & 0xFFFF, kind >> 16) if kind >> 16 else (kind, size)
            if start + size > len(data) or (start == place + 4 and size > 4):
                raise ValueError('an element is longer than what holds it')
            yield kind, data[start : start + size]
            # Elements are filled up to multiples of eight bytes, compressed ones are not.
            place = start + size if kind == COMPRESSED else place + 8 * -(-(start - place + size) // 8)

    def _matrix(self, data: bytes, names: Collection[str], depth: int = 0) -> tuple[str, Array | None]:
        """Name and content of a variable, or of a cell at ``depth`` > 0; no content of what is not among ``names``."""
        if not data:  # an empty cell
            return '', np.empty(0)
        parts = self._elements(data)
        flags, shape, name = (self._whole(*_next(parts)) for _ in range(3))
        label = name.astype(np.uint8).tobytes().decode('ascii')
        if not depth and label not in names:
            return label, None
        if not len(flags) or not len(shape) or min(shape) < 0:
            raise ValueError('a variable has no class or no size')
        size = tuple(int(length) for length in shape)
        return label, self._values(int(flags[0]), size, parts, depth)

    def _values(self, kind: int, shape: tuple[int, ...], parts: Iterator[tuple[int, bytes]], depth: int) -> Array:
        if kind & 0xFF == CELL and depth < DEEPEST:
            cells = [self._matrix(part, (), depth + 1)[1] for code, part in parts if code == MATRIX]
            values = np.fromiter(cells, object, len(cells))
        elif kind & 0xFF == CHAR:
            code, text = _next(parts)
            if code not in TEXTS:
                raise ValueError(f'text of an unknown type {code}')
            suffix = '' if TEXTS[code] == 'utf-8' else {'<': '-le', '>': '-be'}[self.order]
            values, shape = np.array([text.decode(TEXTS[code] + suffix)]), (1,)
        elif kind & 0xFF in NUMBERS and not kind & COMPLEX:
            values = self._numbers(*_next(parts))
        else:
            raise ValueError(f'a variable is of class {kind & 0xFF}, neither real numbers nor text nor cells of these')
        if len(values) != math.prod(shape):
            raise ValueError(f'a variable of size {shape} has {len(values)} values')
        return values.reshape(shape, order='F')

    def _numbers(self, kind: int, data: bytes) -> Array:
        if kind not in TYPES:
            raise ValueError(f'numbers of an unknown type {kind}')
        return np.frombuffer(data, np.dtype(self.order + TYPES[kind]))

    def _whole(self, kind: int, data: bytes) -> Array:
        if kind not in TYPES or 'f' in TYPES[kind]:
            raise ValueError(f'a variable describes itself by elements of type {kind}')
        return self._numbers(kind, data)


def read_mat(path: Path, names: Collection[str]) -> dict[str, Array]:
    """The named variables of a MATLAB file of version 5 to 7, those it has.

    A string becomes an array (1,) of str, a cell array an array of objects that are arrays themselves.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file, or damaged.
    """
    return MatFile(path.read_bytes()).variables(names)


def _next(parts: Iterator[tuple[int, bytes]]) -> tuple[int, bytes]:
    found = next(parts, None)
    if found is None:
        raise ValueError('a variable is incomplete')
    return found
