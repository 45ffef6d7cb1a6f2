"""What changes from picture to picture of the same person: pose, expression, light, background, clothes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fsr_plugins.portraits.people import Colour, linear

_CLOTH = (
    np.array(
        [
            [40, 46, 60],
            [180, 178, 172],
            [120, 30, 34],
            [36, 74, 62],
            [64, 92, 140],
            [196, 160, 92],
            [88, 84, 92],
            [150, 110, 140],
            [220, 214, 204],
            [30, 30, 32],
            [70, 100, 70],
            [200, 110, 90],
        ]
    )
    / 255.0
)


@dataclass(frozen=True)
class Scene:
    """Angles in radians, positions in face units, colours linear RGB. ``light`` is a unit vector: x right, y down, z
    to the viewer."""

    yaw: float
    pitch: float
    roll: float
    zoom: float
    shift: tuple[float, float]
    smile: float
    open: float
    brow_raise: float
    lids: float
    gaze: tuple[float, float]
    light: tuple[float, float, float]
    key: float
    key_colour: Colour
    ambient: float
    ambient_colour: Colour
    fill: float
    rim: float
    shadow: float
    background: int
    backdrop: tuple[Colour, Colour]
    cloth: Colour
    cloth2: Colour
    cloth_kind: int
    neckline: float
    grey: bool
    azimuth: float
    elevation: float
    texture_seed: int


def light_vector(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """Direction to the light (x right, y down, z to the viewer) from degrees, as Extended Yale B names them.

    Positive azimuth lights from the image's right, positive elevation from above.
    """
    a, e = math.radians(azimuth), math.radians(elevation)
    return math.sin(a) * math.cos(e), -math.sin(e), math.cos(a) * math.cos(e)


def _tint(rng: np.random.Generator, spread: float) -> Colour:
    warm = float(rng.normal(0, spread))
    return 1 + warm, 1.0, 1 - warm


def draw_scene(seed: int, stream: int, index: int, harsh: bool, light: tuple[int, int] | None = None) -> Scene:
    """The scene of picture ``index`` of a stream; a pure function of its arguments. ``harsh``: grey and under one
    hard light, from ``light`` (azimuth and elevation in degrees) if it is given."""
    rng = np.random.default_rng([seed, stream, 2, index])
    u = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    n = lambda sigma, limit: float(np.clip(rng.normal(0, sigma), -limit, limit))  # noqa: E731
    calm = 0.35 if harsh else 1.0
    smile = u(0.3, 1.0) if rng.random() < 0.6 else u(-0.1, 0.25)
    gap = u(0.25, 1.0) if rng.random() < (0.6 if smile > 0.45 else 0.2) else 0.0
    azimuth, elevation = n(35, 70), u(0, 50)
    if harsh:
        drawn = 5.0 * round(u(-19, 19)), 5.0 * round(u(-5, 12))
        azimuth, elevation = drawn if light is None else map(float, light)
        smile, gap = 0.2 * smile, 0.0
    backdrop = rng.beta(1.2, 1.6, (2, 3)) * 0.45 + rng.beta(1.1, 1.3) * 0.5
    backdrop = 0.45 * backdrop + 0.55 * backdrop.mean(axis=1, keepdims=True)
    cloth = _CLOTH[rng.integers(0, len(_CLOTH), 2)] * rng.uniform(0.8, 1.1, (2, 1))
    key = u(0.75, 1.05)
    return Scene(
        yaw=n(0.20, 0.42) * calm,
        pitch=n(0.09, 0.2) * calm,
        roll=n(0.06, 0.16) * calm,
        zoom=u(1.22, 1.34) if harsh else u(1.10, 1.25),
        shift=(n(0.02, 0.05), 0.03 + n(0.02, 0.05)),
        smile=smile,
        open=gap,
        brow_raise=n(0.5, 1.0) * calm,
        lids=u(0.78, 1.1) - 0.18 * max(smile, 0.0),
        gaze=(n(0.12, 0.3), n(0.06, 0.12)),
        light=light_vector(azimuth, elevation),
        key=1.25 if harsh else key,
        key_colour=(1.0, 1.0, 1.0) if harsh else _tint(rng, 0.06),
        ambient=u(0.015, 0.05) if harsh else u(0.2, 0.42),
        ambient_colour=_tint(rng, 0.08),
        fill=0.0 if harsh else u(0.0, 0.25),
        rim=0.0 if harsh else max(u(-0.5, 0.5), 0.0),
        shadow=1.0 if harsh else u(0.35, 0.9),
        background=0 if harsh else int(rng.integers(0, 4)),
        backdrop=(linear(backdrop[0]), linear(backdrop[1])),
        cloth=linear(cloth[0]),
        cloth2=linear(cloth[1]),
        cloth_kind=int(rng.integers(0, 5)),
        neckline=u(0.0, 1.0),
        grey=harsh,
        azimuth=azimuth,
        elevation=elevation,
        texture_seed=int(rng.integers(0, 2**31)),
    )
