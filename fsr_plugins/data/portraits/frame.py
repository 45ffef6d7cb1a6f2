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

    The depth is smooth, so the coordinates are solved for at half the resolution and enlarged; ``coarse`` is that smaller frame,
    on which everything without fine detail is drawn.

    Attributes:
        x, y: (side, side) float32 face coordinates, x right, y down.
        u, v: the same without the turn of the head, for body and background.
        unit: pixels in a face unit.
    """

    def __init__(self, side: int, person: Person, scene: Scene, fine: bool = True) -> None:
        self.side = side
        self.unit = scene.zoom * side / 2
        self._scene = scene
        self._nose = (0.02 + 0.8 * person.nose_len, 0.62 * person.nose_h)
        self._turn = (math.cos(scene.yaw), math.sin(scene.yaw), math.cos(scene.pitch), math.sin(scene.pitch))
        self._roll = (math.cos(scene.roll), math.sin(scene.roll))
        if fine:
            self._coarse: Frame | None = Frame(side // 2, person, scene, fine=False)
            self.x, self.y, self.u, self.v = (self.up(a, cv2.INTER_LINEAR) for a in self._coarse.planes())
        else:
            self._coarse = None
            self._solve()

    @property
    def coarse(self) -> Frame:
        """The frame of half the resolution (a coarse frame's is itself)."""
        return self._coarse or self

    def planes(self) -> tuple[Array, Array, Array, Array]:
        """x, y, u, v."""
        return self.x, self.y, self.u, self.v

    def up(self, coarse: Array, how: int = cv2.INTER_CUBIC) -> Array:
        """Enlarges a plane of the coarse frame to this frame."""
        return cv2.resize(coarse, (self.side, self.side), interpolation=how)

    def _solve(self) -> None:
        gu, gv = _grid(self.side)
        scene = self._scene
        self.u, self.v = (gu - scene.shift[0]) / scene.zoom, (gv - scene.shift[1]) / scene.zoom
        cos, sin = self._roll
        cy, sy, cp, sp = self._turn
        qx, qy = self.u * cos + self.v * sin, self.v * cos - self.u * sin
        self.x, self.y = qx / cy, qy / cp
        for _ in range(5):
            z = self.dome(self.x, self.y)
            self.x = (qx - z * sy) / cy
            self.y = (qy + z * sp) / cp

    def dome(self, x: Array, y: Array) -> Array:
        """Depth by which the turn of the head moves the point (x, y)."""
        ny, nh = self._nose
        return 0.36 * bump(x, y, 0.0, 0.05, 0.31, 0.45) + nh * bump(x, y, 0.0, ny, 0.07, 0.10)

    def _point(self, x: float, y: float) -> tuple[float, float]:
        """Pixel position of a point, by scalars: boxes are many and small."""
        ny, nh = self._nose
        z = 0.36 * math.exp(-0.5 * ((x / 0.31) ** 2 + ((y - 0.05) / 0.45) ** 2))
        z += nh * math.exp(-0.5 * ((x / 0.07) ** 2 + ((y - ny) / 0.10) ** 2))
        cy, sy, cp, sp = self._turn
        cos, sin = self._roll
        qx, qy = x * cy + z * sy, y * cp - z * sp
        zoom, shift, half = self._scene.zoom, self._scene.shift, self.side / 2
        return ((qx * cos - qy * sin) * zoom + shift[0] + 1) * half - 0.5, ((qx * sin + qy * cos) * zoom + shift[1] + 1) * half - 0.5

    def project(self, points: Sequence[tuple[float, float]]) -> Array:
        """Pixel positions (n, 2) float32 (x, y; pixel centres at whole numbers) of points in face coordinates."""
        return np.array([self._point(x, y) for x, y in points], dtype=np.float32)

    def box(self, cx: float, cy: float, rx: float, ry: float) -> Box:
        """Slices of the raster that contain the face rectangle of centre (cx, cy) and half sides (rx, ry), with some margin."""
        points = [self._point(cx + a * rx, cy + b * ry) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
        last = self.side - 1
        left, right = min(p[0] for p in points), max(p[0] for p in points)
        top, bottom = min(p[1] for p in points), max(p[1] for p in points)
        x0, y0 = min(max(int(left) - 2, 0), last), min(max(int(top) - 2, 0), last)
        x1, y1 = min(max(int(right) + 4, x0 + 1), self.side), min(max(int(bottom) + 4, y0 + 1), self.side)
        return slice(y0, y1), slice(x0, x1)
