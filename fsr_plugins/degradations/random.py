"""Random numbers that are a pure function of (seed, stream, position), computed on tensors.

A degradation draws each image's parameters and noise from that image's own seed. So the result does not depend on the
batch the image sits in, on the rank, or on how often a generator was called before, and a resumed run repeats it.

The generator is SplitMix64's finaliser (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA
2014, with the constants of Stafford's variant 13) used as a hash of a counter. Everything is int64 arithmetic that
wraps around, so the integers, and the uniform numbers made of their upper 24 bits, are the same on every device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """The int64 with the lowest 64 bits of ``value``."""
    return ((value + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_STREAM = _signed(0xD1B54A32D192ED03)
_MULTIPLY_1 = _signed(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = _signed(0x94D049BB133111EB)


def _shift(x: Tensor, bits: int) -> Tensor:
    # torch shifts int64 arithmetically; the mask makes it the logical shift of the algorithm.
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _finalise(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MULTIPLY_1
    x = (x ^ _shift(x, 27)) * _MULTIPLY_2
    return x ^ _shift(x, 31)


def mix(seeds: Tensor, salt: int | Tensor) -> Tensor:
    """New seeds from ``seeds`` and a ``salt``; different salts give unrelated seeds.

    Args:
        seeds: int64, any shape.
        salt: a number, or an int64 tensor that broadcasts against ``seeds``.

    Returns:
        int64, the broadcast shape.
    """
    # A Python integer does not wrap around by itself.
    offset = _signed((salt + 1) * _STREAM) if isinstance(salt, int) else (salt + 1) * _STREAM
    return _finalise(_finalise(seeds + _GOLDEN) ^ offset)


def fresh_seeds(count: int, device: torch.device | str | None = None) -> Tensor:
    """``count`` seeds (int64) from torch's global generator of the device, for callers that have none of their own."""
    return torch.randint(-(1 << 62), 1 << 62, (count,), dtype=torch.int64, device=device)


def bits(seeds: Tensor, n: int, stream: int) -> Tensor:
    """64 random bits for each of ``n`` positions.

    Args:
        seeds: int64 (N,).
        n: positions a seed.
        stream: which of the seed's independent sequences.

    Returns:
        int64 (N, n).
    """
    counter = torch.arange(1, n + 1, dtype=torch.int64, device=seeds.device) * _GOLDEN
    return _finalise(mix(seeds, stream)[:, None] + counter)


def uniform(seeds: Tensor, n: int, stream: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform numbers on a grid of 2^24 steps in [low, high).

    Args:
        seeds: int64 (N,).
        n: numbers a seed.
        stream: which of the seed's independent sequences.
        low: smallest value.
        high: bound (reached only by rounding, when ``low`` and ``high`` are not 0 and 1).

    Returns:
        float32 (N, n).
    """
    unit = _shift(bits(seeds, n, stream), 40).float() * 2.0**-24
    return unit if (low, high) == (0.0, 1.0) else low + (high - low) * unit


def integers(seeds: Tensor, n: int, stream: int, low: int, high: int) -> Tensor:
    """Integers in [low, high), by multiplying 32 random bits with the span.

    Args:
        seeds: int64 (N,).
        n: numbers a seed.
        stream: which of the seed's independent sequences.
        low: smallest value.
        high: bound, not reached; ``high - low`` below 2^31.

    Returns:
        int64 (N, n).

    Raises:
        ValueError: an empty or too large span.
    """
    if not 0 < high - low < 1 << 31:
        raise ValueError(f'The span [{low}, {high}) is empty or has more than 2^31 - 1 values.')
    return low + ((_shift(bits(seeds, n, stream), 32) * (high - low)) >> 32)


def normal(seeds: Tensor, shape: Sequence[int], stream: int) -> Tensor:
    """Standard normal numbers (Box and Muller, 1958); the tails end at 5.77, sqrt(-2 ln 2^-24).

    Args:
        seeds: int64 (N,).
        shape: shape of the numbers of a seed.
        stream: which of the seed's independent sequences.

    Returns:
        float32 (N, *shape).
    """
    count = math.prod(shape)
    both = bits(seeds, (count + 1) // 2, stream)
    # 1 - u lies in (0, 1], where the logarithm is finite; the angle takes the lower 24 bits of the same word.
    radius = (1.0 - _shift(both, 40).float() * 2.0**-24).log_().mul_(-2.0).sqrt_()
    angle = (both & 0xFFFFFF).float() * (2.0**-24 * 2.0 * math.pi)
    pair = torch.cat((radius * angle.cos(), radius * angle.sin()), dim=1)
    return pair[:, :count].reshape(seeds.shape[0], *shape)
