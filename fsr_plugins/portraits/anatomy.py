"""Outline, features' positions and the relief (height field) of a head."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from fsr_plugins.portraits.frame import Array, Frame, bump, power, smooth
from fsr_plugins.portraits.people import Person
from fsr_plugins.portraits.scenes import Scene

#: Height (y) of the widest part of the head.
WAIST = -0.02


def outline(x: Array, y: Array, person: Person, jaw: float) -> Array:
    """1 on the outline of the head, 0 in its middle, growing outwards."""
    dy = y - WAIST
    low = np.clip(dy * (1 / jaw), 0, 1.3)
    half = person.width * (1 - person.taper * low * low) + person.cheek * np.exp(-(((y - 0.16) * 6) ** 2))
    n = person.square
    height = np.maximum(dy * (1 / jaw), dy * (-1 / (person.top + WAIST)))
    return power(power(np.abs(x) / half, n) + power(height, n), 1 / n)


@dataclass(frozen=True)
class Mouth:
    """The lips' edges over t in [-1, 1] (corner to corner), in face units."""

    person: Person
    scene: Scene

    @property
    def half(self) -> float:
        return self.person.mouth_w * (1 + 0.22 * max(self.scene.smile, 0.0) - 0.06 * self.scene.open)

    @property
    def corner_y(self) -> float:
        return self.person.mouth_y - 0.016 - 0.035 * self.scene.smile

    @property
    def gap(self) -> float:
        return 0.075 * self.scene.open

    def edges(self, t: Array) -> tuple[Array, Array, Array, Array]:
        """Upper lip's outer and inner edge, lower lip's inner and outer edge: y at t."""
        p = self.person
        q = np.clip(1 - t * t, 0, 1)
        line = p.mouth_y - (0.016 + 0.035 * self.scene.smile) * t * t + 0.005 * np.exp(-((t * 5) ** 2))
        thin = 1 - 0.25 * max(self.scene.smile, 0.0)
        root = np.sqrt(q)
        inner_up = line - 0.35 * self.gap * root
        inner_low = line + 0.65 * self.gap * root
        up = inner_up - p.lip_up * thin * (0.25 * root + 0.75 * q) * (1 - 0.5 * p.bow * np.exp(-((t * 7) ** 2)))
        low = inner_low + p.lip_low * thin * (0.45 * root + 0.55 * q)
        return up, inner_up, inner_low, low


def jaw_length(person: Person, scene: Scene) -> float:
    """Length from the widest part to the chin, longer with an open mouth."""
    return person.jaw + 0.05 * scene.open


def landmarks(person: Person, scene: Scene) -> list[tuple[float, float]]:
    """Eyes, nose tip and mouth corners in face coordinates, image-left first."""
    mouth = Mouth(person, scene)
    return [
        (-person.eye_x, 0.0),
        (person.eye_x, 0.0),
        (0.0, person.nose_len),
        (-mouth.half, mouth.corner_y),
        (mouth.half, mouth.corner_y),
    ]


def _add(height: Array, frame: Frame, amount: float, cx: float, cy: float, sx: float, sy: float) -> None:
    box = frame.box(cx, cy, 2.8 * sx, 2.8 * sy)
    height[box] += amount * bump(frame.x[box], frame.y[box], cx, cy, sx, sy)


def _nose(height: Array, frame: Frame, person: Person) -> None:
    tip, wide, high = person.nose_len, person.nose_w, person.nose_h
    box = frame.box(0.0, 0.5 * tip, 0.24, 0.5 * tip + 0.14)
    x, y = frame.x[box], frame.y[box]
    t = np.clip((y + 0.03) / (tip + 0.03), 0, 1)
    sigma = 0.034 + 0.44 * wide * t * t
    rise = (0.25 + 0.75 * t) * smooth(y, -0.16, 0.10) * (1 - smooth(y, tip - 0.02, tip + 0.085))
    height[box] += high * rise * np.exp(-0.5 * (x / sigma) ** 2) * 0.66
    _add(height, frame, 0.26 * high, 0.0, tip - 0.010, 0.46 * wide, 0.036)
    for side in (-1, 1):
        _add(height, frame, 0.026, side * 0.74 * wide, tip + 0.012, 0.27 * wide, 0.026)


def _folds(height: Array, frame: Frame, person: Person, scene: Scene, mouth: Mouth) -> None:
    """Furrows from the nose's wings past the mouth's corners, and on the forehead, with age, smile and raised brows."""
    depth = 0.006 * person.age + 0.010 * max(scene.smile, 0.0) + 0.002
    x0, y0 = person.nose_w + 0.015, person.nose_len - 0.01
    x1, y1 = mouth.half + 0.055, mouth.corner_y + 0.03
    for side in (-1, 1):
        box = frame.box(side * 0.5 * (x0 + x1), 0.5 * (y0 + y1), 0.5 * (x1 - x0) + 0.06, 0.5 * (y1 - y0) + 0.06)
        x, y = side * frame.x[box], frame.y[box]
        t = np.clip((y - y0) / (y1 - y0), -0.2, 1.2)
        curve = x0 + (x1 - x0) * (t + 0.25 * t * (1 - t))
        fade = np.clip(1.15 - t, 0, 1) * smooth(t, -0.15, 0.15)
        height[box] -= depth * fade * np.exp(-(((x - curve) / 0.013) ** 2))
        height[box] += 0.7 * depth * fade * np.exp(-(((x - curve - 0.03) / 0.03) ** 2))
    lines = 0.004 * max(person.age - 0.35, 0.0) + 0.003 * person.age * max(scene.brow_raise, 0.0)
    if lines > 0.0005:
        box = frame.box(0.0, -0.30, 0.26, 0.10)
        x, y = frame.x[box], frame.y[box]
        wave = np.sin((y + 0.06 * x * x + 0.004 * np.sin(23 * x)) * 110)
        height[box] -= lines * np.clip(wave, 0, 1) * bump(x, y, 0, -0.30, 0.13, 0.05)


def add_lips(height: Array, frame: Frame, person: Person, scene: Scene) -> None:
    """Adds the lips' swelling to the relief, in place; they are too fine for a coarse frame."""
    mouth = Mouth(person, scene)
    p = mouth.person
    box = frame.box(0.0, p.mouth_y, mouth.half + 0.02, 0.13)
    x, y = frame.x[box], frame.y[box]
    t = x / mouth.half
    up, inner_up, inner_low, low = mouth.edges(t)
    s = np.clip((y - up) / np.maximum(inner_up - up, 1e-3), 0, 1)
    height[box] += 0.085 * p.lip_up / 0.045 * s * (1 - s) * np.sqrt(np.clip(1 - t * t, 0, 1))
    s = np.clip((y - inner_low) / np.maximum(low - inner_low, 1e-3), 0, 1)
    height[box] += 0.10 * p.lip_low / 0.06 * s * (1 - s) * np.sqrt(np.clip(1 - t * t, 0, 1))


def relief(frame: Frame, face: Array, person: Person, scene: Scene) -> Array:
    """Height of the skin (side, side) float32 in face units, seen from the front, without the lips' swelling.

    Args:
        face: :func:`outline` at each pixel.
    """
    mouth = Mouth(person, scene)
    f2 = face * face
    height = 0.50 * np.sqrt(np.maximum(1.03 - 0.45 * f2 - 0.55 * f2 * f2, 0.02)).astype(np.float32)
    age = 1 + 0.5 * person.age
    for side in (-1, 1):
        ex = side * person.eye_x
        _add(height, frame, 0.022 * (1 - 0.5 * person.feminine), ex, person.brow_y + 0.005, 0.10, 0.032)
        _add(height, frame, -0.052, ex * 0.96, -0.005, 0.078, 0.058)
        _add(height, frame, 0.030, ex, 0.004, 0.056, 0.038)
        _add(height, frame, -0.006 * age, ex, 0.085, 0.06, 0.018)
        _add(height, frame, 0.035 + 0.02 * max(scene.smile, 0), side * 0.255, 0.17 - 0.02 * scene.smile, 0.085, 0.075)
        _add(height, frame, -0.025 * (1 - 0.4 * max(scene.smile, 0)), side * 0.27, 0.36, 0.07, 0.09)
        _add(height, frame, -0.012, side * (mouth.half + 0.01), mouth.corner_y + 0.004, 0.020, 0.020)
    _nose(height, frame, person)
    _add(height, frame, 0.035, 0.0, person.mouth_y, 0.13, 0.075)
    _add(height, frame, -0.010, 0.0, person.mouth_y - 0.085, 0.012, 0.028)
    chin = WAIST + jaw_length(person, scene)
    _add(height, frame, 0.045, 0.0, chin - 0.075, 0.075, 0.048)
    _add(height, frame, -0.020, 0.0, 0.5 * (chin - 0.075 + person.mouth_y + 0.05) - 0.005, 0.085, 0.022)
    _folds(height, frame, person, scene, mouth)
    return height


def normals(height: Array, frame: Frame, scene: Scene, turned: bool = True) -> tuple[Array, Array, Array]:
    """Unit normals (x right, y down, z to the viewer) of a height field in face units, turned with the head."""
    scale = 0.125 * frame.unit
    gx, gy = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=scale), cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=scale)
    if turned:
        gx = gx - math.tan(scene.yaw)
        gy = gy + math.tan(scene.pitch)
    nz = 1 / np.sqrt(gx * gx + gy * gy + 1)
    return -gx * nz, -gy * nz, nz
