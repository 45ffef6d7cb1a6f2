"""Where a face lies in the picture: warped coordinates of every pixel, and the way back for landmarks."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from fsr_plugins.portraits.people import Person
from fsr_plugins.portraits.scenes import Scene

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

    The depth is smooth, so the coordinates are solved for at half the resolution and enlarged; ``coarse`` is that
    smaller frame,
    on which everything without fine detail is drawn.

    Attributes:
        x, y: (side, side) float32 face coordinates, x right, y down.
        u, v: the same without the turn of the head, for body and background.
        unit: pixels in a face unit.
        shape: of the planes; (side, side) but for a cropped frame.
    """

    def __init__(self, side: int, person: Person, scene: Scene, fine: bool = True) -> None:
        self.side = side
        self.shape = (side, side)
        self._origin = (0, 0)
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
            gu, gv = _grid(side)
            self.u, self.v = (gu - scene.shift[0]) / scene.zoom, (gv - scene.shift[1]) / scene.zoom
            cos, sin = self._roll
            cy, sy, cp, sp = self._turn
            qx, qy = self.u * cos + self.v * sin, self.v * cos - self.u * sin
            self.x, self.y = qx / cy, qy / cp
            # The depth is that of the point itself, so it is solved for step by step.
            for _ in range(5):
                z = self.dome(self.x, self.y)
                self.x = (qx - z * sy) / cy
                self.y = (qy + z * sp) / cp

    @property
    def coarse(self) -> Frame:
        """The frame of half the resolution (a coarse frame's is itself)."""
        return self._coarse or self

    def planes(self) -> tuple[Array, Array, Array, Array]:
        """x, y, u, v."""
        return self.x, self.y, self.u, self.v

    def up(self, coarse: Array, how: int = cv2.INTER_CUBIC) -> Array:
        """Enlarges a plane of the coarse frame to this frame."""
        return cv2.resize(coarse, self.shape[::-1], interpolation=how)

    def crop(self, box: Box) -> Frame:
        """The frame of a part of the raster, widened to even edges; :meth:`part` says which."""
        part = copy.copy(self)
        part._origin = (box[0].start & ~1, box[1].start & ~1)
        part.shape = (((box[0].stop + 1) & ~1) - part._origin[0], ((box[1].stop + 1) & ~1) - part._origin[1])
        part.x, part.y, part.u, part.v = (plane[part.part()] for plane in self.planes())
        small = copy.copy(self.coarse)
        small._origin, small.shape = (
            (part._origin[0] // 2, part._origin[1] // 2),
            (part.shape[0] // 2, part.shape[1] // 2),
        )
        small.x, small.y, small.u, small.v = (
            np.ascontiguousarray(plane[small.part()]) for plane in self.coarse.planes()
        )
        part._coarse = small
        return part

    def part(self) -> Box:
        """The rows and columns of the whole raster that the frame covers."""
        (row, column), (height, width) = self._origin, self.shape
        return slice(row, row + height), slice(column, column + width)

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
        return ((qx * cos - qy * sin) * zoom + shift[0] + 1) * half - 0.5, (
            (qx * sin + qy * cos) * zoom + shift[1] + 1
        ) * half - 0.5

    def project(self, points: Sequence[tuple[float, float]]) -> Array:
        """Positions (n, 2) float32 in the whole raster (x, y; pixel centres at whole numbers) of points in face
        coordinates."""
        return np.array([self._point(x, y) for x, y in points], dtype=np.float32)

    def box(self, cx: float, cy: float, rx: float, ry: float) -> Box:
        """Slices of the planes that contain the face rectangle of centre (cx, cy) and half sides (rx, ry), with some
        margin."""
        points = [self._point(cx + a * rx, cy + b * ry) for a in (-1, 1) for b in (-1, 1)]
        left, right = min(p[0] for p in points), max(p[0] for p in points)
        top, bottom = min(p[1] for p in points), max(p[1] for p in points)
        (row, column), (height, width) = self._origin, self.shape
        x0, y0 = min(max(int(left) - 2 - column, 0), width - 1), min(max(int(top) - 2 - row, 0), height - 1)
        x1, y1 = min(max(int(right) + 4 - column, x0 + 1), width), min(max(int(bottom) + 4 - row, y0 + 1), height)
        return slice(y0, y1), slice(x0, x1)
