"""An eye: white, iris, pupil, lights, lids and lashes."""

from __future__ import annotations

import cv2
import numpy as np

from fsr_plugins.portraits.frame import Array, Frame, smooth, step
from fsr_plugins.portraits.people import Person
from fsr_plugins.portraits.scenes import Scene
from fsr_plugins.portraits.skin import EYE_L, EYE_R, Surface, eye_axes

_IRIS = 0.43


def _ball(
    s: Surface,
    box: tuple[slice, slice],
    axes: tuple[Array, Array],
    alpha: Array,
    below: Array,
    look: tuple[Person, Scene, int, float],
) -> None:
    """Paints white, iris and pupil where ``alpha``; ``below`` is the depth under the upper lid."""
    person, scene, side, unit = look
    ex, ey = axes
    lid = 1 - 0.62 * np.exp(-((below / 0.13) ** 2))
    round_ = (1 - 0.38 * ex * ex) * lid * 0.70
    pink = np.clip(np.abs(ex + 0.05) - 0.45, 0, 1)
    s.tint(box, alpha, (round_, round_ * (0.93 - 0.30 * pink), round_ * (0.88 - 0.32 * pink)))
    gx, gy = scene.gaze[0] * side - 0.03, scene.gaze[1] - 0.12
    radius, angle = cv2.cartToPolar(np.ascontiguousarray(ex - gx), np.ascontiguousarray(ey - gy))
    r = radius / _IRIS
    rays = (
        0.5
        + 0.22 * np.sin(23 * angle + person.texture[0])
        + 0.18 * np.sin(41 * angle + 6 * r + person.texture[1])
        + 0.1 * np.sin(67 * angle)
    )
    tone = (
        (0.45 + 0.95 * rays)
        * (1.15 - 0.75 * smooth(r, 0.70, 1.0))
        * (1 + 0.55 * np.clip((ey - gy) / _IRIS, -0.6, 1))
        * lid
    )
    amber = 0.35 * np.exp(-(((r - 0.5) / 0.14) ** 2))
    colour = [tone * c * (1 + amber * warm) + 0.004 for c, warm in zip(person.iris, (1.2, 0.6, 0.0), strict=True)]
    pixel = 0.5 / (person.eye_w * unit)
    disc = alpha * np.clip((_IRIS - radius) / (3 * pixel) + 0.5, 0, 1)
    s.tint(box, disc, colour)
    pupil = alpha * np.clip((0.40 * _IRIS - radius) / (2 * pixel) + 0.5, 0, 1)
    s.tint(box, pupil, (0.004, 0.003, 0.003))
    lx, ly = scene.light[0], scene.light[1]
    hx, hy = gx + 0.16 * lx * side, gy + 0.20 * ly - 0.06
    spot = np.exp(-(((ex - hx) / 0.075) ** 2) - ((ey - hy) / 0.085) ** 2)
    second = 0.25 * np.exp(-(((ex - gx + 0.16 * lx * side) / 0.08) ** 2) - ((ey - gy - 0.17) / 0.06) ** 2)
    s.glow[box] += alpha * (np.clip(1.6 * spot, 0, 1) * 0.9 * scene.key + second * scene.ambient)
    s.gloss[box] *= 1 - 0.9 * alpha


def eye(s: Surface, frame: Frame, person: Person, scene: Scene, side: int) -> None:
    """Paints one eye with its lids; ``side`` is -1 for the image's left."""
    w = person.eye_w
    box = frame.box(side * person.eye_x, -0.01, 1.5 * w, 1.25 * w)
    ex, ey = eye_axes(frame, person, side, box)
    # Heights of the upper and the lower lid's edge, in half widths of the eye.
    q = np.clip(1 - ex * ex, 0, 1)
    up = -person.eye_open * scene.lids * np.sqrt(q) * (0.55 + 0.45 * q) * (1 - 0.16 * ex)
    low = (0.20 + 0.04 * person.feminine) * q * (1 + 0.22 * ex) * (1 - 0.25 * max(scene.smile, 0.0))
    below, above = ey - up, low - ey
    within = np.abs(ex) < 1
    alpha = np.where(within, step(np.minimum(below, above) * (w * frame.unit)), 0)
    near = np.exp(-np.clip(np.abs(ex) - 0.9, 0, 9) * 6)
    _around(s, box, (ex, ey, up, low), near, person)
    _ball(s, box, (ex, ey), alpha, below, (person, scene, side, frame.unit))
    inner = alpha * np.exp(-(((ex + 0.93) / 0.10) ** 2))
    s.tint(box, 0.8 * inner, (0.42, 0.17, 0.15))
    dark = tuple(0.16 * c + 0.004 for c in person.hair)
    thick = 0.050 + 0.035 * person.feminine + 0.045 * np.clip(ex + 0.3, 0, 1.3) * person.feminine
    line = np.exp(-(((below + 0.4 * thick) / thick) ** 2)) * near
    s.tint(box, np.clip(1.25 * line, 0, 0.94), dark)
    strokes = np.clip(np.sin((ex * 1.0 + (0.5 * ex + 0.1) * (below)) * 30) * 1.6 - 0.4, 0, 1)
    reach = 0.14 + 0.16 * person.feminine + 0.10 * person.makeup
    fringe = strokes * np.clip(1 + below / reach, 0, 1) * (below < 0) * smooth(ex, -0.75, 0.2) * near
    s.tint(box, 0.75 * fringe, dark)
    s.tint(box, (0.25 + 0.25 * person.makeup) * np.exp(-((above / 0.05) ** 2)) * near * within, dark)
    s.label[box][within & (below >= 0) & (above >= 0)] = EYE_R if side < 0 else EYE_L


def _around(
    s: Surface, box: tuple[slice, slice], lines: tuple[Array, Array, Array, Array], near: Array, person: Person
) -> None:
    """Crease above the lid, shade and colour of the lid, ring under the eye."""
    ex, ey, up, low = lines
    crease = np.exp(-(((ey - (1.10 * up - 0.12 - 0.12 * person.fold)) / 0.055) ** 2)) * smooth(
        1.15 - np.abs(ex), 0, 0.35
    )
    s.scale(box, (0.25 + 0.6 * person.fold) * crease, (0.50, 0.38, 0.34))
    lid = np.exp(-(((ey - up + 0.18) / 0.22) ** 2)) * near
    s.scale(box, 0.25 * lid, (0.80, 0.66, 0.66))
    if person.makeup > 0:
        hue = person.texture[0] % 1.0
        s.scale(box, 0.8 * person.makeup * lid * (ey < low), (0.62 + 0.2 * hue, 0.48, 0.50 + 0.25 * (1 - hue)))
    ring = np.exp(-(((ey - low - 0.33) / 0.16) ** 2)) * smooth(1.2 - np.abs(ex), 0, 0.5)
    s.scale(box, (0.12 + 0.35 * person.age) * ring, (0.74, 0.66, 0.70))
    s.grain[box] -= 0.0045 * np.exp(-(((ey - low - 0.10) / 0.05) ** 2)) * near
