"""Colour, gloss and labels of the bare face: complexion, eyes, brows, nose and mouth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fsr_plugins.portraits.anatomy import WAIST, Mouth, jaw_length
from fsr_plugins.portraits.frame import Array, Frame, bump, smooth, step
from fsr_plugins.portraits.noise import positive, signed, skin_tile, strand_tile
from fsr_plugins.portraits.people import Colour, Person
from fsr_plugins.portraits.scenes import Scene

SKIN, BROW_L, BROW_R, EYE_L, EYE_R, GLASSES, EAR_L, EAR_R, EARRING = 1, 2, 3, 4, 5, 6, 7, 8, 9
NOSE, INNER_MOUTH, LIP_UP, LIP_LOW, NECK, NECKLACE, CLOTH, HAIR, HAT = 10, 11, 12, 13, 14, 15, 16, 17, 18


@dataclass
class Surface:
    """What the shader needs of a layer, (side, side) each: linear colour, gloss, light added after shading, fine
    relief, labels."""

    colour: Array
    gloss: Array
    glow: Array
    grain: Array
    label: Array

    @classmethod
    def plain(cls, shape: tuple[int, int], colour: Colour, gloss: float, label: int) -> Surface:
        planes = np.empty((3, *shape), np.float32)
        for plane, value in zip(planes, colour, strict=True):
            plane[:] = value
        zeros = np.zeros(shape, np.float32)
        return cls(planes, np.full(shape, gloss, np.float32), zeros, zeros.copy(), np.full(shape, label, np.uint8))

    def tint(self, box: tuple[slice, slice], alpha: Array, colour: Sequence[float] | Sequence[Array]) -> None:
        """Blends ``colour`` (three numbers or three planes) over a part, with coverage ``alpha``."""
        for channel in range(3):
            part = self.colour[channel][box]
            part += alpha * (colour[channel] - part)

    def scale(self, box: tuple[slice, slice], amount: Array, factors: Colour) -> None:
        """Multiplies the colour by ``factors`` where ``amount`` is 1, by less where it is less."""
        for channel in range(3):
            self.colour[channel][box] *= 1 + amount * (factors[channel] - 1)


def complexion(frame: Frame, person: Person, scene: Scene) -> Surface:
    """Skin with blotches, pores, freckles, moles, blush, beard shadow."""
    s = Surface.plain(frame.shape, person.skin, 0.5, SKIN)
    tx, ty = person.texture
    blotch, pores, fine = signed(skin_tile(), frame.x * 230 + tx, frame.y * 230 + ty)
    rough = 0.6 + 0.7 * person.age
    shade = 1 + 0.035 * blotch + 0.028 * rough * pores
    red = 1 - 0.03 * blotch
    s.colour[0] *= shade
    s.colour[1] *= shade * red
    s.colour[2] *= shade * red
    s.grain = pores * np.float32(0.00055 * rough) + blotch * np.float32(0.0006)
    s.gloss *= 1 + 0.12 * pores
    everywhere = (slice(None), slice(None))
    x, y = frame.x, frame.y
    for cx, cy, sx, sy, amount in (
        (-0.25, 0.19, 0.10, 0.08, 1.0),
        (0.25, 0.19, 0.10, 0.08, 1.0),
        (0.0, person.nose_len, 0.07, 0.06, 0.8),
    ):
        box = frame.box(cx, cy, 2.5 * sx, 2.5 * sy)
        s.scale(box, (0.25 + 0.6 * person.blush) * amount * bump(x[box], y[box], cx, cy, sx, sy), (1.02, 0.80, 0.80))
    if person.freckles > 0:
        place = bump(x, y, 0.0, 0.13, 0.26, 0.13)
        s.scale(
            everywhere, np.clip((fine - 1.25 + 0.3 * blotch) * 2.2, 0, 1) * place * person.freckles, (0.66, 0.50, 0.42)
        )
    for mx, my, radius in person.moles:
        box = frame.box(mx, my, 4 * radius, 4 * radius)
        s.scale(box, bump(x[box], y[box], mx, my, radius, radius), (0.35, 0.25, 0.22))
    if person.stubble + person.beard > 0.15:
        _beard(s, frame, person, scene, fine, pores)
    return s


def _beard(s: Surface, frame: Frame, person: Person, scene: Scene, fine: Array, pores: Array) -> None:
    """A shadow of shaven hair, or a full beard of strands, over jaw, chin and upper lip."""
    x, y = frame.x, frame.y
    chin = WAIST + jaw_length(person, scene)
    mouth = Mouth(person, scene)
    ax = np.abs(x)
    edge = 0.26 + 0.19 * np.exp(-((ax / 0.17) ** 2)) - 0.55 * np.clip(ax - 0.30, 0, 1)
    area = smooth(y, -0.03, 0.10) * smooth(y - edge + 0.012 * fine, -0.11, 0.06)
    lip = bump(x, y, 0.0, 0.5 * (person.nose_len + mouth.corner_y) + 0.02, 0.115, 0.026)
    bare = bump(x, y, 0.0, mouth.corner_y + 0.015, 0.5 * mouth.half, 0.03)
    area = np.clip(np.maximum(area, 1.2 * lip) - 0.9 * bare, 0, 1)
    everywhere = (slice(None), slice(None))
    s.scale(everywhere, area * (0.5 * person.stubble) * np.clip(0.7 + 0.3 * fine, 0, 1), (0.66, 0.70, 0.76))
    if person.beard > 0:
        strands, _ = positive(strand_tile(), x * 420 + 60 * np.sin(9 * y) + 13, y * 160 + 0.4 * frame.x * 200)
        mask = smooth(area * (0.55 + 0.9 * strands), 0.25, 0.80) * (0.35 + 0.65 * person.beard)
        hair = [c * (0.35 + 1.1 * strands) for c in person.hair]
        s.tint(everywhere, mask * smooth(chin + 0.1 - y, 0.0, 0.05), hair)
        s.gloss *= 1 - 0.8 * mask
        s.grain += 0.004 * mask * strands


def brow(s: Surface, frame: Frame, person: Person, scene: Scene, side: int) -> None:
    """Paints one brow of single hairs; ``side`` is -1 for the image's left."""
    cx = side * (person.eye_x + 0.004)
    cy = person.brow_y - 0.028 * scene.brow_raise
    box = frame.box(cx, cy, 0.17, 0.09)
    ex = (frame.x[box] - cx) * (side / 0.125)
    ey = (frame.y[box] - cy) / 0.125
    tilt = person.brow_tilt + 0.10 * scene.brow_raise * 0.3
    middle = -person.brow_arch / 0.125 * (1 - (ex - 0.30) ** 2 * 1.1) - tilt * 0.4 * ex + 0.10
    inner, outer = smooth(ex, -1.12, -0.80), 1 - smooth(ex, 0.45, 1.12)
    thick = person.brow_thick / 0.125 * (0.25 + 0.75 * outer) + 1e-3
    d = np.abs(ey - middle) / thick
    lean = ex * 52 + (ey - middle) * np.where(ex < -0.4, np.float32(8), np.float32(46))
    hairs, _ = positive(strand_tile(), lean * 1.9 + (300 + 40 * side), ey * 10 + ex * 6)
    body = np.clip(1.35 - d, 0, 1) * inner * smooth(1.12 - ex, 0.0, 0.2)
    alpha = np.clip(body * (0.25 + 1.25 * hairs), 0, 1)
    dark = tuple(0.55 * c + 0.003 for c in person.hair)
    s.tint(box, 0.93 * alpha, dark)
    s.gloss[box] *= 1 - 0.7 * alpha
    s.grain[box] += 0.002 * alpha * hairs
    s.label[box][body > 0.30] = BROW_R if side < 0 else BROW_L


def nose(s: Surface, frame: Frame, person: Person) -> None:
    """Nostrils, the shade under the tip, and the nose's label."""
    tip, wide = person.nose_len, person.nose_w
    box = frame.box(0.0, 0.5 * tip, wide + 0.06, 0.5 * tip + 0.11)
    x, y = frame.x[box], frame.y[box]
    t = np.clip((y + 0.06) / (tip + 0.06), 0, 1)
    half = 0.030 + (wide + 0.012 - 0.030) * t * t * t + 0.010 * t
    lower = tip + 0.042 - 0.012 * (x / wide) ** 2
    s.label[box][(np.abs(x) < half) & (y > -0.06) & (y < lower)] = NOSE
    s.scale(box, 0.28 * bump(x, y, 0.0, tip + 0.050, 0.6 * wide, 0.016), (0.62, 0.52, 0.50))
    for side in (-1, 1):
        hole = bump(x + 0.35 * side * (y - tip), y, side * 0.50 * wide, tip + 0.030, 0.17 * wide, 0.0085)
        s.tint(box, np.clip(1.3 * hole, 0, 0.85), (0.035, 0.014, 0.011))
        wing = np.exp(-(((side * x - 1.02 * wide) / 0.009) ** 2)) * bump(x, y, side * wide, tip + 0.006, 0.05, 0.026)
        s.scale(box, 0.75 * wing, (0.66, 0.54, 0.50))


def mouth(s: Surface, frame: Frame, person: Person, scene: Scene) -> None:
    """Lips with creases and gloss; teeth and tongue between open lips."""
    shape = Mouth(person, scene)
    box = frame.box(0.0, person.mouth_y + 0.01, shape.half + 0.03, 0.15)
    x, y, unit = frame.x[box], frame.y[box], frame.unit
    t = x / shape.half
    up, inner_up, inner_low, low = shape.edges(t)
    within = np.abs(t) < 1
    soft = 0.55 * unit
    lips = np.where(within, np.clip(np.minimum(y - up, low - y) * soft + 0.5, 0, 1), 0)
    crease, _ = positive(strand_tile(), x * 560 + 90, y * 120)
    tone = 0.80 + 0.36 * crease - np.where(y < inner_up, np.float32(0.16), np.float32(0))
    s.tint(box, 0.92 * lips, [c * tone for c in person.lip])
    s.gloss[box] += lips * (0.5 + 0.9 * person.makeup)
    s.grain[box] += 0.0022 * lips * (crease - 0.5)
    s.scale(
        box,
        0.55 * bump(x, y, 0.0, person.mouth_y + person.lip_low + 0.65 * shape.gap + 0.022, 0.4 * shape.half, 0.013),
        (0.72, 0.62, 0.60),
    )
    label = s.label[box]
    label[within & (y >= up) & (y < inner_up)] = LIP_UP
    label[within & (y >= inner_low) & (y <= low)] = LIP_LOW
    middle = 0.5 * (inner_up + inner_low)
    seam = np.exp(-(((y - middle) / (0.0055 + 0.3 * (inner_low - inner_up))) ** 2)) * np.clip(
        1.04 - t * t * t * t, 0, 1
    )
    s.scale(box, np.where(np.abs(t) < 1.06, 0.85 * seam, 0), (0.30, 0.14, 0.13))
    if shape.gap > 0:
        _teeth(s, frame, shape, box, (t, up, inner_up, inner_low))


def _teeth(
    s: Surface, frame: Frame, shape: Mouth, box: tuple[slice, slice], edges: tuple[Array, Array, Array, Array]
) -> None:
    x, y, unit = frame.x[box], frame.y[box], frame.unit
    t, _, inner_up, inner_low = edges
    inside = np.where(np.abs(t) < 0.985, step(np.minimum(y - inner_up, inner_low - y) * unit), 0)
    depth = np.clip((y - inner_up) / np.maximum(inner_low - inner_up, 1e-3), 0, 1)
    s.tint(box, inside, [base + rise * depth * depth for base, rise in ((0.050, 0.16), (0.012, 0.035), (0.012, 0.035))])
    pitch = 0.034 * (1 - 0.25 * np.abs(t))
    phase = np.abs(x / pitch - np.floor(x / pitch) - 0.5)
    length = 0.046 - 0.010 * t * t - 0.010 * np.clip(phase - 0.30, 0, 1) * 4
    tooth = step((inner_up + length - y) * unit) * inside * np.clip(1.25 - 1.1 * t * t, 0, 1)
    ivory = (
        (0.72 - 0.45 * smooth(phase, 0.40, 0.5))
        * (1 - 0.45 * np.exp(-(((y - inner_up) / 0.012) ** 2)))
        * (1 - 0.35 * t * t)
    )
    s.tint(box, tooth, (ivory, ivory * 0.95, ivory * 0.85))
    s.gloss[box] += 0.8 * tooth
    label = s.label[box]
    label[(np.abs(t) < 0.985) & (y >= inner_up) & (y < inner_low)] = INNER_MOUTH


def eye_axes(frame: Frame, person: Person, side: int, box: tuple[slice, slice]) -> tuple[Array, Array]:
    """Coordinates in an eye: -1 at the inner corner, 1 at the outer; down positive; both in half widths of the eye."""
    dx, dy = (frame.x[box] - side * person.eye_x) * side, frame.y[box]
    cos, sin = math.cos(person.eye_tilt), math.sin(person.eye_tilt)
    return (dx * cos - dy * sin) / person.eye_w, (dy * cos + dx * sin) / person.eye_w
