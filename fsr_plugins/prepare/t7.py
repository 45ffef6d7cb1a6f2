"""Tensors in torch7's binary files (``*.t7``): one tensor, and nothing that could run.

Layout, of a machine with little-endian numbers and longs of eight bytes (torch7 ``File.lua``, ``generic/Tensor.c``,
``generic/Storage.c``): an object is its kind (int, 4 for a class), a number of its own (int), the strings ``V 1`` and
the class's name (each int and bytes), then the class's content. A tensor's is the number of dimensions (int), sizes
and strides (long each), the place of its first element in the storage, from 1 (long), and the storage, an object
again: number of elements (long) and these.
"""

from __future__ import annotations

import math
import struct

import numpy as np
import numpy.typing as npt

_CLASS = 4
_TYPES: dict[str, np.dtype[np.floating]] = {'Float': np.dtype('<f4'), 'Double': np.dtype('<f8')}
#: Dimensions of a tensor that is read.
_MOST = 8


def read_tensor(content: bytes) -> npt.NDArray[np.floating]:
    """The tensor of a file that holds one ``torch.FloatTensor`` or ``torch.DoubleTensor``.

    Raises:
        ValueError: it holds anything else, or is damaged.
    """
    reader = _Reader(content)
    kind = reader.start('Tensor')
    dimensions = reader.numbers('i', 1)[0]
    if not 0 < dimensions <= _MOST:
        raise ValueError(f'it has a tensor of {dimensions} dimensions')
    sizes, strides = reader.numbers('q', dimensions), reader.numbers('q', dimensions)
    first = reader.numbers('q', 1)[0] - 1
    if reader.start('Storage') != kind:
        raise ValueError("the tensor's numbers are of another type than the tensor")
    storage = reader.array(_TYPES[kind])
    last = first + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    # Strides may make more elements than there are numbers: such a tensor would not fit into memory.
    if min(*sizes, *strides) < 1 or first < 0 or last >= len(storage) or math.prod(sizes) > len(storage):
        raise ValueError('the tensor reaches beyond its numbers')
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[first:], sizes, steps, writeable=False).copy()


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.content) - self.place:
            raise ValueError('it is cut short')
        self.place += size
        return self.content[self.place - size : self.place]

    def numbers(self, kind: str, count: int) -> tuple[int, ...]:
        return struct.unpack(f'<{count}{kind}', self.take(count * struct.calcsize(kind)))

    def text(self) -> bytes:
        return self.take(self.numbers('i', 1)[0])

    def start(self, what: str) -> str:
        """The type of numbers, ``Float`` or ``Double``, of an object that must be a ``what``."""
        code, _ = self.numbers('i', 2) if len(self.content) - self.place >= 8 else (0, 0)
        if code != _CLASS or self.text() != b'V 1':
            raise ValueError('it holds no tensor of torch7')
        name = self.text()
        for kind in _TYPES:
            if name == f'torch.{kind}{what}'.encode():
                return kind
        raise ValueError(f'it holds a {name[:40]!r}, no torch.FloatTensor or torch.DoubleTensor')

    def array(self, dtype: np.dtype[np.floating]) -> npt.NDArray[np.floating]:
        return np.frombuffer(self.take(self.numbers('q', 1)[0] * dtype.itemsize), dtype)
