"""Light: shadows cast over a height field, soft skin, anisotropic hair, plain cloth."""

from __future__ import annotations

import math

import cv2
import numpy as np

from fsr_plugins.portraits.frame import Array
from fsr_plugins.portraits.people import Colour
from fsr_plugins.portraits.scenes import Scene

Normals = tuple[Array, Array, Array]


def cast_shadow(height: Array, scene: Scene, unit: float) -> Array:
    """How much of the key light reaches each point of a height field (side, side) in face units: 1 lit, 0 in shadow.

    Walks from every point towards the light at once: a point is dark where the field rises above the ray, with a
    soft edge.
    """
    side = height.shape[0]
    small = side // 2
    field = cv2.resize(height, (small, small), interpolation=cv2.INTER_AREA)
    lx, ly, lz = scene.light
    flat = math.hypot(lx, ly)
    if flat < 0.05:
        return np.ones_like(height)
    rise = max(lz, 0.03) / flat
    cover = np.zeros_like(field)
    distance = 0.022
    for _ in range(9):
        shift = distance * unit * 0.5
        matrix = np.array([[1, 0, lx / flat * shift], [0, 1, ly / flat * shift]], np.float32)
        moved = cv2.warpAffine(
            field,
            matrix,
            (small, small),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=-1.5,
        )
        above = (moved - field - (distance * rise + 0.006)) * (1 / (0.012 + 0.10 * distance))
        np.maximum(cover, above, out=cover)
        distance *= 1.42
    lit = 1 - np.minimum(cover, 1)
    lit = cv2.GaussianBlur(lit, (0, 0), 0.009 * unit)
    return cv2.resize(lit, (side, side), interpolation=cv2.INTER_LINEAR)


def occlusion(height: Array, unit: float) -> Array:
    """Ambient occlusion of a height field (rows, columns): below 1 in its hollows (a point lower than the mean of
    its surroundings)."""
    rows, columns = height.shape
    field = cv2.resize(height, (columns // 4, rows // 4), interpolation=cv2.INTER_AREA)
    near = cv2.GaussianBlur(field, (0, 0), 0.016 * unit) - field
    far = cv2.GaussianBlur(field, (0, 0), 0.04 * unit) - field
    dark = np.clip(9 * np.maximum(near, 0) + 5 * np.maximum(far, 0), 0, 0.75)
    return cv2.resize(1 - dark, (columns, rows), interpolation=cv2.INTER_LINEAR)


def _half(light: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = light[0], light[1], light[2] + 1
    norm = math.sqrt(x * x + y * y + z * z) or 1.0
    return x / norm, y / norm, z / norm


def _power(value: Array, squarings: int) -> Array:
    out = np.maximum(value, 0)
    for _ in range(squarings):
        out = out * out
    return out


def _ambient(normal: Normals, scene: Scene) -> Array:
    """Sky above, fill from the side away from the key light."""
    nx, ny, _ = normal
    fill = scene.fill * (0.5 - 0.5 * math.copysign(1.0, scene.light[0]) * nx)
    return scene.ambient * (0.82 - 0.24 * ny) + fill


def shade_skin(colour: Array, normal: Normals, gloss: Array, lit: Array, open_: Array, scene: Scene) -> Array:
    """Radiance (3, side, side) of skin: light that wraps round further in red than in blue, and two lobes of gloss.

    Args:
        colour: (3, side, side) linear reflectance.
        gloss: strength of the highlights; lit: share of key light that arrives; open_: ambient occlusion factor.
    """
    nx, ny, nz = normal
    lx, ly, lz = scene.light
    facing = nx * lx + ny * ly + nz * lz
    hx, hy, hz = _half(scene.light)
    shine = nx * hx + ny * hy + nz * hz
    lobe = _power(shine, 4)
    spec = (0.11 * lobe + 0.30 * lobe * lobe * lobe) * gloss * lit * scene.key
    ambient = _ambient(normal, scene) * open_
    soft_lit = 1 - scene.shadow * (1 - lit)
    rim = 0.0 if scene.rim <= 0 else scene.rim * _power(1 - nz, 2) * open_
    out = np.empty_like(colour)
    for channel, wrap in enumerate((0.30, 0.14, 0.09) if not scene.grey else (0.06, 0.06, 0.06)):
        direct = np.maximum((facing + wrap) * (scene.key / (1 + wrap)), 0)
        bleed = soft_lit if channel else np.sqrt(np.maximum(soft_lit, 0.0)) * 0.35 + soft_lit * 0.65
        light = direct * bleed * scene.key_colour[channel] + (ambient + rim) * scene.ambient_colour[channel]
        out[channel] = colour[channel] * light + spec * scene.key_colour[channel]
    return out


def shade_matt(colour: Array, normal: Normals, lit: Array | float, open_: Array | float, scene: Scene) -> Array:
    """Radiance (3, side, side) of a surface without gloss (cloth)."""
    nx, ny, nz = normal
    lx, ly, lz = scene.light
    direct = np.maximum(nx * lx + ny * ly + nz * lz, 0) * scene.key * (1 - scene.shadow * (1 - lit))
    ambient = _ambient(normal, scene) * open_
    out = np.empty_like(colour)
    for channel in range(3):
        out[channel] = colour[channel] * (direct * scene.key_colour[channel] + ambient * scene.ambient_colour[channel])
    return out


def shade_hair(
    colour: Colour, strands: tuple[Array, Array], flow: tuple[Array, Array], normal: Normals, open_: Array, scene: Scene
) -> Array:
    """Radiance (3, side, side) of hair with the highlight of thin cylinders (Kajiya and Kay, 1989).

    Args:
        strands: brightness of single hairs and of locks, in [0, 1].
        flow: direction of the hairs in the picture, (x, y), unit length.
    """
    fine, locks = strands
    nx, ny, nz = normal
    lx, ly, lz = scene.light
    tx, ty = flow
    tz = -(tx * nx + ty * ny) / np.maximum(nz, 0.3)
    norm = 1 / np.sqrt(1 + tz * tz)
    hx, hy, hz = _half(scene.light)
    shift = 0.5 * (locks - 0.5) + 0.3 * (fine - 0.5)
    th = (tx * hx + ty * hy + tz * hz) * norm + shift
    sheen = _power(1 - np.minimum(th * th, 1), 4)
    facing = np.maximum((nx * lx + ny * ly + nz * lz + 0.25) * (scene.key / 1.25), 0)
    tone = (0.22 + 1.0 * fine * fine + 0.75 * locks * locks) * open_
    ambient = _ambient(normal, scene)
    spec = sheen * facing * open_ * (0.25 + 0.9 * fine) * 0.10
    tint = sheen * 0.9
    out = np.empty((3, *fine.shape), np.float32)
    for channel in range(3):
        light = facing * scene.key_colour[channel] + ambient * scene.ambient_colour[channel]
        out[channel] = (colour[channel] * (tone + tint * fine) + 0.006) * light + spec * scene.key_colour[channel]
    return out
