"""What is around the face: background, neck, clothes, ears, earrings."""

from __future__ import annotations

import math

import cv2
import numpy as np

from fsr_plugins.portraits.anatomy import normals
from fsr_plugins.portraits.frame import Array, Box, Frame, bump, smooth, step
from fsr_plugins.portraits.noise import TILE, signed, skin_tile
from fsr_plugins.portraits.people import Person
from fsr_plugins.portraits.scenes import Scene
from fsr_plugins.portraits.shading import shade_matt


def background(frame: Frame, scene: Scene) -> Array:
    """Radiance (3, side, side): a rough wall, a gradient, blurred lights or blurred shelves; dark under a single
    hard light."""
    side, coarse = frame.side, frame.coarse
    rng = np.random.default_rng(scene.texture_seed)
    if scene.grey:
        cloud = cv2.resize(rng.random((6, 6), dtype=np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        return np.stack([0.012 + 0.006 * cloud] * 3)
    # A few cells say how much of the second colour there is.
    cells = 5 if scene.background < 2 else 9
    mix = rng.random((cells, cells), dtype=np.float32)
    if scene.background == 0:
        mix = 0.4 * mix
    elif scene.background == 2:
        mix = np.where(mix > 0.85, 1.6 * mix, 0.4 * mix)
    elif scene.background == 3:
        mix = np.repeat(mix[:3], 3, axis=0)
    blend = cv2.resize(mix, (coarse.side, coarse.side), interpolation=cv2.INTER_CUBIC)
    spot = bump(coarse.u, coarse.v, -0.5 * scene.light[0], -0.2, 0.75, 0.75)
    light = (0.55 + 0.55 * spot) * (0.7 + 0.5 * scene.ambient)
    grain = None
    if scene.background == 0:
        row, column = (int(k) for k in rng.integers(0, TILE // 4, 2))
        part = skin_tile()[row : row + coarse.side, column : column + coarse.side]
        part = cv2.resize(part, (side, side)) if part.shape[:2] != (side, side) else part
        grain = 1 + 0.002 * (part[..., 0].astype(np.float32) - 128) + 0.002 * (part[..., 1].astype(np.float32) - 128)
    out = np.empty((3, side, side), np.float32)
    for channel in range(3):
        low, high = scene.backdrop[0][channel], scene.backdrop[1][channel]
        out[channel] = frame.up(np.maximum((low + (high - low) * blend) * light, 0.002), cv2.INTER_LINEAR)
    return out if grain is None else out * grain


def neck(frame: Frame, person: Person, chin: float) -> tuple[Array, Array]:
    """Distance into the neck in face units (outside negative), and its height, with the shoulders' slope."""
    coarse = frame.coarse
    x, y = 0.75 * coarse.u + 0.25 * coarse.x, coarse.v
    half = 0.225 + 0.05 * (1 - person.feminine) + 0.10 * smooth(y, chin - 0.05, chin + 0.35) ** 2
    inside = frame.up(np.minimum(half - np.abs(x), y - 0.25), cv2.INTER_LINEAR)
    round_ = np.sqrt(np.maximum(1.02 - (x / (half + 0.02)) ** 2, 0.03))
    cord = 0.004 * np.exp(-(((np.abs(x) - 0.13 + 0.16 * (y - chin)) / 0.03) ** 2)) * smooth(y, chin - 0.05, chin + 0.1)
    return inside, frame.up(0.22 * round_ - 0.18 + cord)


def cloth(
    frame: Frame, person: Person, scene: Scene, chin: float, lit: Array, face: Array
) -> tuple[slice, Array, Array]:
    """Clothes: round neck, V neck or collar; plain, knitted, striped, checked or speckled.

    Args:
        chin: its y. lit: share of key light that arrives. face: coverage of the face, which is before them.

    Returns:
        The rows that they lie in, their coverage and their radiance there.
    """
    top = int(((chin + 0.03) * scene.zoom + scene.shift[1] + 1) * frame.side / 2)
    rows = slice(min(max(top, 0), frame.side - 8), frame.side)
    u, v = frame.u[rows], frame.v[rows]
    au = np.abs(u)
    wide = 0.9 + 0.25 * (1 - person.feminine)
    shoulder = chin + 0.12 + 0.30 * (au / wide) ** 2 + 0.10 * smooth(au, 0.6, 1.2)
    cut = chin + 0.06 + (0.10 + 0.12 * scene.neckline) * np.sqrt(np.clip(1 - (au / 0.32) ** 2, 0, 1))
    if scene.neckline > 0.6:
        cut = chin + 0.30 - 1.0 * au
    edge = np.where(au < 0.32, np.maximum(cut, shoulder - 0.10 + 0.3 * au), shoulder - 0.02)
    deep = v - edge
    noise = signed(skin_tile(), u * 110 + scene.texture_seed % 509, v * 70)
    folds = noise[0] * 0.022 + 0.020 * np.sin(3 * u + 5 * v + 2 * noise[0])
    hem = 0.012 * np.exp(-(((deep - 0.02) / 0.02) ** 2))
    height = 0.15 * np.sqrt(np.maximum(1.2 - (u / 1.5) ** 2, 0.1)) + folds + hem - 0.30
    colour = _fabric((u, v), scene, noise) * (1 - 0.3 * np.exp(-(((deep - 0.045) / 0.006) ** 2)))
    normal = normals(height, frame, scene, turned=False)
    fade = 0.6 + 0.4 * np.clip(deep / 0.05, 0, 1)
    return rows, step(deep * frame.unit) * (1 - face[rows]), shade_matt(colour, normal, lit[rows], fade, scene)


def _fabric(place: tuple[Array, Array], scene: Scene, noise: list[Array]) -> Array:
    u, v = place
    main = np.asarray(scene.cloth, np.float32)[:, None, None]
    second = np.asarray(scene.cloth2, np.float32)[:, None, None]
    tone = 1 + 0.08 * noise[1]
    if scene.cloth_kind == 1:
        knit = np.sin(u * 150) * np.sin(v * 120 + 1.5 * np.sign(np.sin(u * 75)))
        return main * (tone * (0.85 + 0.22 * knit))
    if scene.cloth_kind == 2:
        mix = smooth(np.sin(v * 62 + 3 * u * u), -0.15, 0.15)
    elif scene.cloth_kind == 3:
        mix = 0.5 * smooth(np.sin(v * 40), 0.2, 0.5) + 0.5 * smooth(np.sin(u * 40), 0.2, 0.5)
    elif scene.cloth_kind == 4:
        mix = smooth(noise[2], 0.9, 1.3)
    else:
        return main * tone
    return (main + mix * (second - main)) * tone


def ear(frame: Frame, person: Person, scene: Scene, side: int, bare: tuple[Array, Array, Array]) -> tuple[Box, Array]:
    """Adds one ear (``side`` -1: image-left) behind the face.

    Args:
        bare: height and colour of the bare skin, changed in place, and coverage of the face.

    Returns:
        The part of the raster with the ear, and the ear's coverage there.
    """
    height, colour, face = bare
    size = person.ear
    cx = side * (person.width * 0.985 + 0.004 + 0.05 * side * math.sin(-scene.yaw))
    cy = 0.03
    box = frame.box(cx, cy, 0.11 * size, 0.17 * size)
    ex = (frame.x[box] - cx) * side / (0.062 * size)
    ey = (frame.y[box] - cy) / (0.130 * size)
    ex = ex - 0.20 * (1 - ey * ey) + 0.28 * np.clip(ey, 0, 1) + 0.05
    r = np.sqrt(ex * ex + ey * ey)
    cover = step((1 - r) * 0.062 * size * frame.unit)
    ring = np.exp(-(((r - 0.80) / 0.17) ** 2))
    bowl = bump(ex, ey, -0.25, 0.10, 0.28, 0.30)
    inner = np.exp(-(((r - 0.45) / 0.12) ** 2)) * (ey < 0.3)
    shape = 0.10 + 0.034 * ring - 0.040 * bowl + 0.012 * inner - 0.05 * np.clip(ex, -1, 1)
    hidden = cover * (1 - face[box])
    part = height[box]
    part += cover * (shape - part)
    for channel, (dark, red) in enumerate(((0.72, 1.02), (0.60, 0.86), (0.58, 0.86))):
        colour[channel][box] *= 1 - hidden * (
            1 - red * (1 - (1 - dark) * bowl) * (1 - 0.25 * np.exp(-(((r - 0.62) / 0.10) ** 2)))
        )
    return box, cover
