"""What is around the face: background, neck, clothes, ears, earrings."""

from __future__ import annotations

import math

import cv2
import numpy as np

from fsr_plugins.data.portraits.anatomy import normals
from fsr_plugins.data.portraits.frame import Array, Frame, bump, smooth, step
from fsr_plugins.data.portraits.noise import sample, skin_tile
from fsr_plugins.data.portraits.people import Person
from fsr_plugins.data.portraits.scenes import Scene
from fsr_plugins.data.portraits.shading import shade_matt


def background(frame: Frame, scene: Scene) -> Array:
    """Radiance (3, side, side): a lit wall, a gradient, blurred lights or blurred shelves; dark under a single hard light."""
    side = frame.side
    rng = np.random.default_rng(scene.texture_seed)
    if scene.grey:
        base = np.full((3, side, side), 0.012, np.float32)
        return base * (1 + 0.5 * cv2.resize(rng.random((6, 6), dtype=np.float32), (side, side), interpolation=cv2.INTER_CUBIC))
    cells = 5 if scene.background < 2 else 11
    mix = rng.random((cells, cells), dtype=np.float32)
    if scene.background == 2:
        mix = np.where(mix > 0.80, 2.2 * mix, 0.35 * mix).astype(np.float32)
    if scene.background == 3:
        mix = np.repeat(rng.random((3, cells), dtype=np.float32), 4, axis=0)[: cells]
        mix = np.where(mix > 0.5, mix, 0.5 * mix)
    blend = cv2.resize(mix, (side, side), interpolation=cv2.INTER_CUBIC if scene.background != 3 else cv2.INTER_LINEAR)
    spot = np.exp(-((frame.u + 0.5 * scene.light[0]) ** 2 + (frame.v + 0.2) ** 2) * 0.9)
    light = (0.55 + 0.55 * spot) * (0.7 + 0.5 * scene.ambient)
    grain = sample(skin_tile(), frame.u * 300 + scene.texture_seed % 512, frame.v * 300)
    if scene.background == 0:
        light = light * (1 + 0.06 * grain[..., 0] + 0.05 * grain[..., 1])
        blend = 0.35 * blend
    out = np.empty((3, side, side), np.float32)
    for channel in range(3):
        low, high = scene.backdrop[0][channel], scene.backdrop[1][channel]
        out[channel] = np.maximum((low + (high - low) * blend) * light, 0.002)
    return out


def neck(frame: Frame, person: Person, chin: float) -> tuple[Array, Array]:
    """Coverage and height of the neck with the shoulders' slope."""
    x = 0.75 * frame.u + 0.25 * frame.x
    y = frame.v
    half = 0.245 + 0.05 * (1 - person.feminine) + 0.10 * smooth(y, chin - 0.05, chin + 0.35) ** 2
    cover = step(np.minimum((half - np.abs(x)) * frame.unit, (y - 0.25) * frame.unit))
    round_ = np.sqrt(np.maximum(1.02 - (x / (half + 0.02)) ** 2, 0.03))
    cord = 0.012 * (np.exp(-(((np.abs(x) - 0.13 + 0.16 * (y - chin)) / 0.03) ** 2)))
    return cover, (0.22 * round_ - 0.18 + cord * smooth(y, chin - 0.05, chin + 0.1)).astype(np.float32)


def cloth(frame: Frame, person: Person, scene: Scene, chin: float, lit: Array) -> tuple[Array, Array]:
    """Coverage and radiance of the clothes: round neck, V neck or collar; plain, knitted, striped, checked or speckled."""
    u, v = frame.u, frame.v
    au = np.abs(u)
    wide = 0.9 + 0.25 * (1 - person.feminine)
    shoulder = chin + 0.17 + 0.30 * (au / wide) ** 2 + 0.10 * smooth(au, 0.6, 1.2)
    cut = chin + 0.12 + (0.24 + 0.12 * scene.neckline) * np.sqrt(np.clip(1 - (au / 0.32) ** 2, 0, 1))
    if scene.neckline > 0.6:
        cut = chin + 0.50 - 1.15 * au
    edge = np.where(au < 0.32, np.maximum(cut, shoulder - 0.10 + 0.3 * au), shoulder - 0.02)
    deep = (v - edge) * frame.unit
    cover = step(deep)
    noise = sample(skin_tile(), u * 110 + scene.texture_seed % 509, v * 70)
    folds = noise[..., 0] * 0.022 + 0.020 * np.sin(3 * u + 5 * v + 2 * noise[..., 0])
    height = -0.30 + 0.15 * np.sqrt(np.maximum(1.2 - (u / 1.5) ** 2, 0.1)) + folds + 0.012 * np.exp(-((deep / (0.02 * frame.unit)) - 1) ** 2)
    colour = _fabric(frame, scene, noise)
    seam = np.exp(-(((deep / frame.unit) - 0.045) / 0.006) ** 2)
    colour *= 1 - 0.3 * seam
    normal = normals(height.astype(np.float32), frame, scene, turned=False)
    fade = 0.6 + 0.4 * np.clip(deep / (0.05 * frame.unit), 0, 1)
    return cover, shade_matt(colour, normal, lit, fade, scene)


def _fabric(frame: Frame, scene: Scene, noise: Array) -> Array:
    u, v = frame.u, frame.v
    main = np.asarray(scene.cloth, np.float32)[:, None, None]
    second = np.asarray(scene.cloth2, np.float32)[:, None, None]
    tone = 1 + 0.08 * noise[..., 1]
    if scene.cloth_kind == 1:
        knit = np.sin(u * 150) * np.sin(v * 120 + 1.5 * np.sign(np.sin(u * 75)))
        return main * (tone * (0.85 + 0.22 * knit))
    if scene.cloth_kind == 2:
        mix = smooth(np.sin(v * 62 + 3 * u * u), -0.15, 0.15)
    elif scene.cloth_kind == 3:
        mix = 0.5 * smooth(np.sin(v * 40), 0.2, 0.5) + 0.5 * smooth(np.sin(u * 40), 0.2, 0.5)
    elif scene.cloth_kind == 4:
        mix = smooth(noise[..., 2], 0.9, 1.3)
    else:
        return main * tone
    return (main + mix * (second - main)) * tone


def ear(frame: Frame, person: Person, scene: Scene, side: int, height: Array, colour: Array) -> tuple[tuple[slice, slice], Array]:
    """Adds one ear's relief and colour in place; returns the part of the raster and its coverage. ``side`` -1: image-left."""
    size = person.ear
    cx = side * (person.width * 0.985 + 0.022 + 0.05 * side * math.sin(-scene.yaw))
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
    part = height[box]
    part += cover * (shape - part)
    for channel, (dark, red) in enumerate(((0.72, 1.02), (0.60, 0.86), (0.58, 0.86))):
        colour[channel][box] *= 1 - cover * (1 - red * (1 - (1 - dark) * bowl) * (1 - 0.25 * np.exp(-(((r - 0.62) / 0.10) ** 2))))
    return box, cover
