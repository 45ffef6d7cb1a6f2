"""Hair: where it lies, how it flows, what it looks like."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fsr_plugins.portraits.anatomy import WAIST
from fsr_plugins.portraits.frame import Array, Frame, power, smooth
from fsr_plugins.portraits.noise import curl_tile, positive, strand_tile
from fsr_plugins.portraits.people import Person
from fsr_plugins.portraits.scenes import Scene
from fsr_plugins.portraits.shading import shade_hair


@dataclass(frozen=True)
class Style:
    """Shape of a hair style, in face units.

    Attributes:
        top, side: thickness over the skull. low: y where the hair ends at the sides. flare: widening below the ears.
        line: added to the person's hair line. rise: slope of the hair line away from the parting (negative: it climbs).
        temple: half width of the face between the side hair, as a share of the head's width.
        flow: how strands run: 'fall' from the parting, 'back' over the skull, 'sweep' across the forehead, 'curl'.
        wave: amplitude of waves. rough: raggedness of the edges. thin: how much skin shows through at the sides.
    """

    top: float
    side: float
    low: float
    flare: float
    line: float
    rise: float
    temple: float
    flow: str
    wave: float
    rough: float
    thin: float = 0.0


STYLES = {
    'crop': Style(0.045, 0.018, 0.04, 0.0, 0.02, 0.18, 0.93, 'back', 0.0, 0.035, 0.55),
    'sweep': Style(0.10, 0.030, 0.05, 0.0, 0.03, 0.10, 0.93, 'sweep', 0.02, 0.045, 0.3),
    'brushed': Style(0.11, 0.028, 0.05, 0.0, -0.03, 0.10, 0.94, 'back', 0.03, 0.05, 0.35),
    'fringe': Style(0.08, 0.035, 0.10, 0.0, 0.185, 0.02, 0.92, 'fall', 0.01, 0.05),
    'long': Style(0.07, 0.055, 1.3, 0.05, 0.00, 0.35, 0.86, 'fall', 0.012, 0.035),
    'curtain': Style(0.08, 0.06, 0.75, 0.02, -0.02, 0.75, 0.88, 'fall', 0.02, 0.04),
    'wavy': Style(0.09, 0.085, 1.1, 0.16, 0.00, 0.45, 0.86, 'fall', 0.05, 0.05),
    'bob': Style(0.08, 0.075, 0.44, 0.07, 0.17, 0.03, 0.84, 'fall', 0.012, 0.035),
    'curly': Style(0.12, 0.09, 0.34, 0.12, 0.03, 0.12, 0.90, 'curl', 0.0, 0.10),
    'afro': Style(0.21, 0.17, 0.22, 0.0, 0.00, 0.06, 0.92, 'curl', 0.0, 0.07),
    'tied': Style(0.040, 0.018, 0.06, 0.0, -0.01, 0.14, 0.95, 'back', 0.0, 0.02),
    'bald': Style(-0.02, 0.006, 0.10, 0.0, -0.6, 0.0, 0.985, 'back', 0.0, 0.03, 0.6),
}


@dataclass
class Hair:
    """Coverage of the hair before and behind the head (None: nothing behind), its radiance and its height over the
    face's plane."""

    front: Array
    back: Array | None
    light: Array
    lift: Array


def _flow_field(x: Array, y: Array, person: Person, style: Style) -> tuple[Array, Array, float]:
    """The field that is constant along a hair, the place along it, and texels of the strand texture per unit across."""
    ox = person.texture[0]
    crown = -(person.top - 0.04)
    along = y
    if style.flow == 'sweep':
        across, _ = cv2.cartToPolar(x - 0.55 * np.float32(np.sign(person.hair_part) or 1.0), (y + 0.02) * 0.9)
        along, scale = y + x, 620.0
    elif style.flow == 'back':
        _, angle = cv2.cartToPolar(0.15 - y, np.ascontiguousarray(x - 0.5 * person.hair_part))
        across, scale = np.where(angle > np.pi, angle - np.float32(2 * np.pi), angle) * 0.42, 560.0
    else:
        below = y - crown
        drop = np.sqrt(0.5 * (below + np.sqrt(below * below + 0.02)) + 0.002)
        across, scale = (x - person.hair_part) / (0.30 + 0.62 * np.minimum(drop, 0.75)), 420.0
    if style.wave > 0:
        across = across + style.wave * person.hair_wave * np.sin(
            along * (9 + 5 * person.hair_wave) + 5 * across + ox
        ) * smooth(y, crown, 0.3)
    return across, along, scale


def _strands(frame: Frame, person: Person, style: Style) -> tuple[Array, Array, tuple[Array, Array]]:
    """Brightness of hairs and of locks in [0, 1], and the hairs' direction (x, y) of unit length."""
    coarse = frame.coarse
    ox, oy = person.texture
    across, along, scale = _flow_field(coarse.x, coarse.y, person, style)
    gx, gy = cv2.Sobel(across, cv2.CV_32F, 1, 0), cv2.Sobel(across, cv2.CV_32F, 0, 1)
    norm = 1 / np.maximum(np.sqrt(gx * gx + gy * gy), 1e-6)
    flow = frame.up(-gy * norm, cv2.INTER_LINEAR), frame.up(gx * norm, cv2.INTER_LINEAR)
    if style.flow == 'curl':
        fine, locks = positive(curl_tile(), frame.x * 380 + ox, frame.y * 380 + oy)
    else:
        fine, locks = positive(
            strand_tile(), frame.up(across, cv2.INTER_LINEAR) * scale + ox, frame.up(along, cv2.INTER_LINEAR) * 130 + oy
        )
    return fine, locks, flow


def _extent(frame: Frame, person: Person, style: Style) -> tuple[Array, Array]:
    """Signed distance into the hair's outer shape, and the share of the head's shape used for its normals."""
    x, y = frame.x, frame.y
    volume = person.hair_volume
    wide = person.width + style.side * volume
    high = person.top + WAIST + style.top * volume
    dy = y - WAIST
    n = max(person.square, 2.25)
    upper = power(power(np.abs(x) / wide, n) + power(np.maximum(-dy, 0) / high, n), 1 / n)
    low = style.low * (1 + 0.35 * (person.hair_length - 0.5)) if style.low > 0.3 else style.low
    down = np.maximum(dy, 0)
    if style.low <= 0.3:
        half = wide - 0.10 * down
    else:
        half = wide + style.flare * smooth(down, 0.05, 0.6) - 0.25 * np.maximum(down - 0.8 * low, 0)
    inside = np.where(dy < 0, (1 - upper) * wide, half - np.abs(x))
    return np.minimum(inside, low - y), np.minimum(upper, 1.2)


def _opening(frame: Frame, person: Person, style: Style) -> Array:
    """Signed distance into the part of the head that the hair leaves free."""
    x, y = frame.x, frame.y
    ax = np.abs(x - person.hair_part * (1.0 if style.rise > 0.3 else 0.3))
    recede = 0.10 * person.age * (1 - person.feminine) if style.line < 0.1 else 0.0
    line = max(person.hair_line, -person.top + 0.14) + style.line - recede
    edge = (
        line + style.rise * ax * ax * 2.2 + 0.5 * style.rise * ax - 0.35 * recede * np.exp(-(((ax - 0.2) / 0.08) ** 2))
    )
    temple = style.temple * person.width
    sides = temple - np.abs(x)
    if style.low <= 0.3:
        sides = sides + 0.35 * np.maximum(y - 0.4 * style.low, 0)
        sides = np.maximum(sides, y - style.low)
    else:
        sides = sides - 0.10 * smooth(y, 0.12, 0.50)
    corner = 0.15
    a, b = np.minimum(y - edge, corner), np.minimum(sides, corner)
    rounded = corner - np.sqrt((corner - a) ** 2 + (corner - b) ** 2)
    return rounded


def hair(frame: Frame, person: Person, scene: Scene) -> Hair:
    """Draws a person's hair."""
    style = STYLES[person.style]
    unit = frame.unit
    fine, locks, flow = _strands(frame, person, style)
    jag = (0.8 * fine + 0.45 * locks - 0.62) * style.rough
    extent, upper = _extent(frame.coarse, person, style)
    free = frame.up(_opening(frame.coarse, person, style), cv2.INTER_LINEAR)
    inner = -free + jag * (1.4 if style.flow != 'curl' else 0.7)
    soft = 0.45 * unit
    whole = np.clip((frame.up(extent, cv2.INTER_LINEAR) + jag) * soft + 0.5, 0, 1)
    front = np.minimum(whole, np.clip(inner * soft * (0.4 if style.thin else 0.8) + 0.5, 0, 1))
    if style.thin:
        sparse = style.thin * smooth(frame.y, -0.34, -0.02)
        front = front * (1 - sparse * np.clip(1.25 - 1.1 * fine, 0, 1))
    if style.top < 0:
        front = front * smooth(frame.y, -0.22, -0.02)
    normal, lift = _form(frame, person, upper, fine, locks)
    depth = 0.45 + 0.55 * np.clip(free * -9, 0, 1)
    light = shade_hair(person.hair, (fine, locks), flow, normal, depth, scene)
    return Hair(front, whole if style.low > 0.3 else None, light, lift)


def _form(
    frame: Frame, person: Person, upper: Array, fine: Array, locks: Array
) -> tuple[tuple[Array, Array, Array], Array]:
    """Normals of the head of hair with its strands, and its height."""
    x, y = frame.coarse.x, frame.coarse.y
    nx = np.clip(x * (0.95 / (person.width + 0.05)), -1.2, 1.2)
    ny = np.clip((y - WAIST) * (0.9 / person.top), -1.2, 0.15)
    nz = np.sqrt(np.maximum(1.15 - upper * upper, 0.10))
    lift = 0.44 * np.sqrt(np.maximum(1.1 - upper * upper, 0.05)) + 0.07
    nx, ny, nz, lift = (frame.up(a, cv2.INTER_LINEAR) for a in (nx, ny, nz, lift))
    nx = nx + cv2.Sobel(0.8 * fine + 1.6 * locks, cv2.CV_32F, 1, 0, scale=0.09)
    norm = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
    return (nx * norm, ny * norm, nz * norm), lift
