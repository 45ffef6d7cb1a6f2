"""Random numbers as pure functions of integers, so that order and augmentation can resume at any place of a run.

The mixer is splitmix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). Its
constants are public. Unlike numpy's generators, it cannot change with a library's version.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def splitmix64(state: int) -> int:
    """One output of splitmix64 from ``state``: an integer in [0, 2^64)."""
    state = (state + _GAMMA) & _MASK
    state = ((state ^ (state >> 30)) * _FIRST) & _MASK
    state = ((state ^ (state >> 27)) * _SECOND) & _MASK
    return state ^ (state >> 31)


def mix(*values: int) -> int:
    """Hashes integers, in their order, into one in [0, 2^63): it fits a torch int64 and may serve as a seed."""
    state = 0
    for value in values:
        state = splitmix64(state ^ (value & _MASK))
    return state >> 1


def key_number(key: str) -> int:
    """A key's number in [0, 2^64), the same on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], 'big')


@lru_cache(maxsize=8)
def permutation(seed: int, epoch: int, n: int) -> npt.NDArray[np.int64]:
    """The order of ``n`` things in an epoch: int64 (n,), read-only, the same on every machine and numpy version.

    The numbers 0 … n-1 are ordered by their splitmix64 hash, which is uniform over orders up to the hash's quality.
    """
    with np.errstate(over='ignore'):
        state = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(_GAMMA) + np.uint64(mix(seed, epoch))
        state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND)
        state = state ^ (state >> np.uint64(31))
    order = np.argsort(state, kind='stable')
    order.setflags(write=False)
    return order
