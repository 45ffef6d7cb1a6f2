"""Where a face lies in the picture: warped coordinates of every pixel, and the way back for landmarks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from fsr_plugins.data.portraits.people import Person
from fsr_plugins.data.portraits.scenes import Scene

Array = np.ndarray
Box = tuple[slice, slice]


@lru_cache(maxsize=8)
def _grid(side: int) -> tuple[Array, Array]:
    line = ((np.arange(side, dtype=np.float32) + 0.5) * (2.0 / side) - 1).astype(np.float32)
    u, v = np.meshgrid(line, line)
    u.flags.writeable = v.flags.writeable = False
    return u, v


def step(distance: Array) -> Array:
    """Coverage of a pixel whose signed distance to an edge (inside positive) is ``distance`` pixels."""
    return np.clip(distance + 0.5, 0, 1)


def smooth(value: Array, low: float, high: float) -> Array:
    """Hermite step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((value - low) * (1.0 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:
    """Gaussian hill of height 1 at (cx, cy)."""
    return np.exp(-(((x - cx) * (0.7071 / sx)) ** 2 + ((y - cy) * (0.7071 / sy)) ** 2))


def power(base: Array, exponent: float) -> Array:
    """``base ** exponent`` for a non-negative float32 array (OpenCV's is several times faster than NumPy's)."""
    return cv2.pow(base, exponent)


class Frame:
    """Face coordinates of each pixel of a ``side`` x ``side`` raster.

    A head turned by yaw and pitch is drawn by moving its frontal points by their depth over a dome with a nose on it:
    ``x' = x cos(yaw) + z(x, y) sin(yaw)``, ``y' = y cos(pitch) - z(x, y) sin(pitch)``; roll, zoom and shift follow.

    Attributes:
        x, y: (side, side) float32 face coordinates, x right, y down.
        u, v: the same without the turn of the head, for body and background.
        unit: pixels in a face unit.
    """

    def __init__(self, side: int, person: Person, scene: Scene) -> None:
        self.side = side
        self.unit = scene.zoom * side / 2
        self._scene = scene
        self._nose = (0.02 + 0.8 * person.nose_len, 0.62 * person.nose_h)
        small = max(side // 2, 16)
        gu, gv = _grid(small)
        gu, gv = (gu - scene.shift[0]) / scene.zoom, (gv - scene.shift[1]) / scene.zoom
        cos, sin = math.cos(scene.roll), math.sin(scene.roll)
        qx, qy = gu * cos + gv * sin, gv * cos - gu * sin
        x, y = qx / math.cos(scene.yaw), qy / math.cos(scene.pitch)
        for _ in range(5):
            z = self.dome(x, y)
            x = (qx - z * math.sin(scene.yaw)) / math.cos(scene.yaw)
            y = (qy + z * math.sin(scene.pitch)) / math.cos(scene.pitch)
        self.x, self.y, self.u, self.v = (self._up(a) for a in (x, y, gu, gv))

    def _up(self, small: Array) -> Array:
        if small.shape[0] == self.side:
            return small
        return cv2.resize(small, (self.side, self.side), interpolation=cv2.INTER_LINEAR)

    def dome(self, x: Array, y: Array) -> Array:
        """Depth by which the turn of the head moves the point (x, y)."""
        ny, nh = self._nose
        return 0.36 * bump(x, y, 0.0, 0.05, 0.31, 0.45) + nh * bump(x, y, 0.0, ny, 0.07, 0.10)

    def project(self, points: Sequence[tuple[float, float]]) -> Array:
        """Pixel positions (n, 2) float32 (x, y; pixel centres at whole numbers) of points in face coordinates."""
        scene = self._scene
        p = np.asarray(points, dtype=np.float64)
        z = self.dome(p[:, 0], p[:, 1])
        qx = p[:, 0] * math.cos(scene.yaw) + z * math.sin(scene.yaw)
        qy = p[:, 1] * math.cos(scene.pitch) - z * math.sin(scene.pitch)
        cos, sin = math.cos(scene.roll), math.sin(scene.roll)
        screen = np.stack([qx * cos - qy * sin + 0.0, qx * sin + qy * cos], axis=1) * scene.zoom + np.asarray(scene.shift)
        return ((screen + 1) * (self.side / 2) - 0.5).astype(np.float32)

    def box(self, cx: float, cy: float, rx: float, ry: float) -> Box:
        """Slices of the raster that contain the face rectangle of centre (cx, cy) and half sides (rx, ry), with some margin."""
        corners = [(cx + a * rx, cy + b * ry) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        p = self.project(corners)
        low = np.clip(np.floor(p.min(axis=0) - 3), 0, self.side - 1).astype(int)
        high = np.clip(np.ceil(p.max(axis=0) + 4), 1, self.side).astype(int)
        return slice(int(low[1]), int(max(high[1], low[1] + 1))), slice(int(low[0]), int(max(high[0], low[0] + 1)))
