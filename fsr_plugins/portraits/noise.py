"""Noise textures, computed once a process and sampled by every portrait through warped coordinates."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

Array = np.ndarray

#: Step between two values of a tile of noise with unit deviation: tiles are bytes, which OpenCV samples several
#: times faster.
_STEP = 1 / 28

#: Side of a tile in texels. Tiles wrap around.
TILE = 512


def _blur(field: Array, sigma_x: float, sigma_y: float) -> Array:
    """Gaussian blur that wraps around, by the Fourier transform, normalised to unit deviation."""
    fy = np.fft.fftfreq(TILE)[:, None]
    fx = np.fft.fftfreq(TILE)[None, :]
    gain = np.exp(-2 * np.pi**2 * ((fx * sigma_x) ** 2 + (fy * sigma_y) ** 2))
    out = np.fft.ifft2(np.fft.fft2(field) * gain).real
    return (out - out.mean()) / out.std()


def _white(stream: int) -> Array:
    return np.random.default_rng([20240, stream]).standard_normal((TILE, TILE))


@lru_cache(maxsize=1)
def skin_tile() -> Array:
    """(TILE, TILE, 3) bytes for :func:`signed`: blotches (slow), pores (fine), freckle field (medium), each of unit
    deviation."""
    blotch = _blur(_white(1), 28, 28) + 0.5 * _blur(_white(2), 12, 12) + 0.25 * _blur(_white(3), 5, 5)
    pores = _blur(_white(4), 0.9, 0.9) + 0.8 * _blur(_white(5), 2.2, 1.8)
    freckles = _blur(_white(6), 2.6, 2.6)
    tile = np.stack([blotch / blotch.std(), pores / pores.std(), freckles], axis=-1)
    return np.clip(np.rint(tile / _STEP) + 128, 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def strand_tile() -> Array:
    """(TILE, TILE, 2) bytes for :func:`positive`, long along rows' index (y): fine strands, and locks several
    strands wide."""
    fine = 0.6 * _blur(_white(11), 0.8, 40) + 0.9 * _blur(_white(12), 2.0, 70)
    locks = _blur(_white(13), 7, 90) + 0.5 * _blur(_white(14), 3.5, 60)
    tile = np.stack([fine / fine.std(), locks / locks.std()], axis=-1)
    return _bytes(0.5 + 0.22 * tile)


@lru_cache(maxsize=1)
def curl_tile() -> Array:
    """(TILE, TILE, 2) bytes for :func:`positive`: ridged, swirling noise for curly hair, and its slow component."""
    a, b = _blur(_white(21), 7, 7), _blur(_white(22), 9, 9)
    ridges = 0.5 + 0.5 * np.sin(5.0 * a + 6.0 * b)
    tufts = _blur(_white(23), 10, 10)
    tile = np.stack([ridges * 0.75 + 0.25 * np.clip(0.5 + 0.25 * tufts, 0, 1), np.clip(0.5 + 0.25 * a, 0, 1)], axis=-1)
    return _bytes(tile)


def _bytes(tile: Array) -> Array:
    return np.rint(np.clip(tile, 0, 1) * 255).astype(np.uint8)


def _sample(tile: Array, x: Array, y: Array) -> list[Array]:
    return list(cv2.split(cv2.remap(tile, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)))


def positive(tile: Array, x: Array, y: Array) -> list[Array]:
    """Bilinear samples of a wrapping tile at texel coordinates (H, W) float32: one (H, W) float32 plane in [0, 1] a
    channel."""
    return [plane.astype(np.float32) * np.float32(1 / 255) for plane in _sample(tile, x, y)]


def signed(tile: Array, x: Array, y: Array) -> list[Array]:
    """As :func:`positive`, for noise of zero mean and unit deviation."""
    return [(plane.astype(np.float32) - 128) * np.float32(_STEP) for plane in _sample(tile, x, y)]
