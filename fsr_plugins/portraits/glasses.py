"""Glasses: frames with thickness and shine, a faint reflection in the lenses, the shadow below."""

from __future__ import annotations

import numpy as np

from fsr_plugins.portraits.frame import Array, Frame, power, step
from fsr_plugins.portraits.people import Person
from fsr_plugins.portraits.scenes import Scene


def _lens(frame: Frame, person: Person, side: int, box: tuple[slice, slice]) -> Array:
    """Distance from the rim of one lens in face units (inside positive). Kinds: 1 round, 2 rectangular, 3 wide at
    the top."""
    dx = (frame.x[box] - side * (person.eye_x + 0.006)) * side
    dy = frame.y[box] - 0.018
    half_w, half_h, n = {1: (0.112, 0.104, 2.0), 2: (0.138, 0.086, 4.5), 3: (0.138, 0.098, 2.8)}[person.glasses]
    if person.glasses == 3:
        dx = dx * (1 + 0.9 * np.clip(dy, -0.1, 0.2)) - 0.15 * np.clip(-dy, 0, 0.1)
    radius = power(power(np.abs(dx) / half_w, n) + power(np.abs(dy) / half_h, n), 1 / n)
    return (1 - radius) * half_h


def glasses(image: Array, label: Array, frame: Frame, person: Person, scene: Scene, mark: int) -> None:
    """Draws glasses over ``image`` (3, side, side) and ``label`` in place; only the frame is labelled, lenses are
    clear."""
    box = frame.box(0.0, 0.02, 0.50, 0.16)
    x, y = frame.x[box], frame.y[box]
    thick, unit = person.glasses_w, frame.unit
    inner = np.maximum(_lens(frame, person, -1, box), _lens(frame, person, 1, box))
    rim = thick - np.abs(inner)
    bridge = np.where(np.abs(x) < person.eye_x, 0.8 * thick - np.abs(y + 0.010 - 0.12 * x * x), -1.0)
    bridge = np.minimum(bridge, -inner + thick)
    reach = person.eye_x + 0.12
    temple = np.where(np.abs(x) > reach, 0.8 * thick - np.abs(y + 0.020 - 0.02 * (np.abs(x) - reach)), -1.0)
    temple = np.minimum(temple, person.width + 0.02 - np.abs(x))
    metal = np.maximum(np.maximum(rim, bridge), temple)
    cover = step(metal * unit)
    drop = int(round(0.022 * unit))
    shadow = np.roll(np.clip((metal + 0.006) * unit * 0.4, 0, 1), drop, axis=0) * (inner < 0.5)
    shadow[:drop] = 0
    streak = np.clip(np.sin((x + 0.5 * y) * 16 + 6 * scene.light[0]) * 4 - 3, 0, 1) * step(inner * unit)
    body = np.clip(metal / thick, 0, 1)
    bevel = np.roll(body, 1, axis=0) - np.roll(body, -1, axis=0)
    shine = 0.25 * scene.key * np.clip(-bevel * scene.light[1] * 1.5 + 0.25, 0, 1) ** 2
    for channel in range(3):
        part = image[channel][box]
        part *= 1 - 0.35 * shadow
        part += 0.05 * streak * scene.key
        part += cover * (person.frame[channel] * (0.35 + 0.65 * scene.key * (0.4 + 0.6 * body)) * 0.8 + shine - part)
    label[box][metal > 0] = mark
