"""Which other faces of its person a face may be compared with."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class Others(Protocol):
    """The faces that may be drawn for each face of a set, all by their numbers in it.

    Attributes:
        counts: How many there are, int64 (len,); 0 for a person of one face.
    """

    counts: npt.NDArray[np.int64]

    def pick(self, place: int, number: int) -> int:
        """The one with ``number`` in [0, counts[place])."""

    def reached(self) -> npt.NDArray[np.bool_]:
        """Whether a face is among those of any other, bool (len,)."""


class NearestOthers:
    """Those of an index; see :class:`Others`.

    Args:
        neighbours: int64 (len, k), -1 behind the last one.
    """

    def __init__(self, neighbours: npt.NDArray[np.int64]) -> None:
        self._neighbours = neighbours
        self.counts: npt.NDArray[np.int64] = (neighbours >= 0).sum(axis=1)

    def pick(self, place: int, number: int) -> int:
        """See :meth:`Others.pick`."""
        return int(self._neighbours[place, number])

    def reached(self) -> npt.NDArray[np.bool_]:
        """See :meth:`Others.reached`."""
        reached = np.zeros(len(self._neighbours), bool)
        reached[self._neighbours[self._neighbours >= 0]] = True
        return reached


class AllOthers:
    """All others of the same person; see :class:`Others`.

    Args:
        identities: int64 (len,).
    """

    def __init__(self, identities: npt.NDArray[np.int64]) -> None:
        self._order = np.argsort(identities, kind='stable')
        _, starts, inverse, sizes = np.unique(
            identities[self._order], return_index=True, return_inverse=True, return_counts=True
        )
        # By place: where its person begins in the order, where it stands itself, and how many others there are.
        self._starts, self._stands = (np.empty(len(identities), np.int64) for _ in range(2))
        self.counts: npt.NDArray[np.int64] = np.empty(len(identities), np.int64)
        self._starts[self._order] = starts[inverse]
        self._stands[self._order] = np.arange(len(identities))
        self.counts[self._order] = sizes[inverse] - 1

    def pick(self, place: int, number: int) -> int:
        """See :meth:`Others.pick`."""
        position = self._starts[place] + number
        return int(self._order[position + (position >= self._stands[place])])

    def reached(self) -> npt.NDArray[np.bool_]:
        """See :meth:`Others.reached`."""
        return self.counts > 0
