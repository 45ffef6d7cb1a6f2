"""Who is on a portrait: the parameters of a face that stay the same from picture to picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

#: sRGB skin tones from light to dark, interpolated between.
_SKIN = (
    np.array(
        [
            [244, 210, 188],
            [235, 192, 165],
            [222, 172, 140],
            [205, 150, 115],
            [176, 120, 86],
            [141, 92, 64],
            [104, 66, 47],
            [78, 50, 38],
        ]
    )
    / 255.0
)
_HAIR = (
    np.array(
        [
            [26, 20, 18],
            [44, 30, 22],
            [74, 48, 30],
            [106, 72, 42],
            [150, 112, 66],
            [198, 164, 106],
            [132, 62, 30],
            [164, 160, 156],
        ]
    )
    / 255.0
)
_IRIS = (
    np.array([[74, 44, 24], [96, 62, 32], [120, 92, 48], [92, 112, 74], [84, 122, 146], [112, 140, 158], [58, 36, 24]])
    / 255.0
)
_FRAME = np.array([[20, 18, 20], [62, 36, 24], [120, 96, 60], [150, 152, 158], [96, 24, 28], [28, 44, 84]]) / 255.0

#: Shape of the face in the order in which it is drawn: least and most of a uniform draw, and what a feminine face adds.
_SHAPE = {
    'width': (0.41, 0.465, -0.02),
    'top': (0.60, 0.68, 0.0),
    'jaw': (0.56, 0.66, -0.02),
    'taper': (0.10, 0.27, 0.08),
    'square': (2.05, 2.7, -0.2),
    'cheek': (-0.01, 0.025, 0.0),
    'eye_x': (0.170, 0.196, 0.0),
    'eye_w': (0.084, 0.100, 0.006),
    'eye_open': (0.34, 0.52, 0.07),
    'eye_tilt': (-0.06, 0.16, 0.0),
    'fold': (0.0, 1.0, 0.0),
    'brow_y': (-0.17, -0.125, -0.015),
    'brow_thick': (0.020, 0.036, -0.010),
    'brow_arch': (0.012, 0.045, 0.0),
    'brow_tilt': (-0.10, 0.14, 0.0),
    'nose_len': (0.225, 0.285, 0.0),
    'nose_w': (0.072, 0.108, 0.0),
    'nose_h': (0.10, 0.155, 0.0),
    'mouth_y': (0.385, 0.43, 0.0),
    'mouth_w': (0.135, 0.172, 0.0),
    'lip_up': (0.022, 0.040, 0.010),
    'lip_low': (0.042, 0.066, 0.010),
    'bow': (0.15, 0.55, 0.0),
    'ear': (0.85, 1.2, 0.0),
}

HAIR_STYLES = ('crop', 'sweep', 'brushed', 'fringe', 'long', 'curtain', 'wavy', 'bob', 'curly', 'afro', 'tied', 'bald')
_FEMININE = np.array([0.3, 0.3, 0.2, 1.3, 2.2, 2.0, 2.2, 1.6, 1.0, 0.6, 1.6, 0.03])
_MASCULINE = np.array([2.2, 2.2, 2.0, 0.8, 0.3, 0.5, 0.3, 0.1, 1.1, 0.6, 0.3, 1.0])


@dataclass(frozen=True)
class Person:
    """Lengths are in face units (half the picture's side at zoom 1; the head is about 0.46 wide each way), colours
    linear RGB."""

    skin: Colour
    hair: Colour
    iris: Colour
    lip: Colour
    frame: Colour
    age: float
    feminine: float
    width: float
    top: float
    jaw: float
    taper: float
    square: float
    cheek: float
    eye_x: float
    eye_w: float
    eye_open: float
    eye_tilt: float
    fold: float
    brow_y: float
    brow_thick: float
    brow_arch: float
    brow_tilt: float
    nose_len: float
    nose_w: float
    nose_h: float
    mouth_y: float
    mouth_w: float
    lip_up: float
    lip_low: float
    bow: float
    ear: float
    freckles: float
    blush: float
    makeup: float
    stubble: float
    beard: float
    moles: tuple[tuple[float, float, float], ...]
    style: str
    hair_volume: float
    hair_part: float
    hair_line: float
    hair_length: float
    hair_wave: float
    glasses: int
    glasses_w: float
    texture: tuple[float, float]


def linear(srgb: np.ndarray) -> Colour:
    """Gamma-2 display colour to the linear colour that the shader works in."""
    return float(srgb[0]) ** 2, float(srgb[1]) ** 2, float(srgb[2]) ** 2


def _hair_colour(rng: np.random.Generator, darkness: float, age: float) -> np.ndarray:
    weights = np.array([2.0, 2.0, 1.6, 1.2, 0.9, 0.9, 0.6, 0.1])
    if darkness > 0.5:
        weights = np.array([4.0, 2.0, 0.6, 0.1, 0.03, 0.03, 0.05, 0.1])
    if age > 0.7:
        weights[7] += 4
    colour = _HAIR[rng.choice(len(_HAIR), p=weights / weights.sum())]
    return np.clip(colour * rng.uniform(0.85, 1.2), 0, 1)


def draw_person(seed: int, stream: int, number: int) -> Person:
    """The person ``number`` of a stream (one stream a domain and split); a pure function of its arguments."""
    rng = np.random.default_rng([seed, stream, 1, number])
    u = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    feminine = float(rng.random() < 0.5) * 0.7 + u(0, 0.3)
    age = float(rng.beta(1.3, 2.0))
    place = float(rng.beta(1.1, 1.5)) * (len(_SKIN) - 1)
    lower = min(int(place), len(_SKIN) - 2)
    tone = _SKIN[lower] + (place - lower) * (_SKIN[lower + 1] - _SKIN[lower])
    skin = np.clip(tone * (1 + rng.uniform(-1, 1, 3) * np.array([0.02, 0.035, 0.06])), 0, 1)
    darkness = 1 - float(skin.mean())
    weights = feminine * _FEMININE + (1 - feminine) * _MASCULINE
    style = HAIR_STYLES[rng.choice(len(HAIR_STYLES), p=weights / weights.sum())]
    if style == 'afro' and darkness < 0.35:
        style = 'curly'
    masculine = feminine < 0.4
    beard = u(0.5, 1.0) if masculine and age > 0.2 and rng.random() < 0.32 else 0.0
    lip = skin * np.array([0.94, 0.66, 0.66]) + np.array([0.02, 0.0, 0.01])
    makeup = u(0.2, 1.0) if feminine > 0.6 and rng.random() < 0.6 else 0.0
    lip = (1 - 0.6 * makeup) * lip + 0.6 * makeup * np.array([u(0.6, 0.8), u(0.16, 0.34), u(0.22, 0.36)]) * (
        1.1 - 0.4 * darkness
    )
    iris = _IRIS[rng.integers(0, 7)] if darkness < 0.4 else _IRIS[rng.choice([0, 1, 6])]
    moles = tuple((u(-0.36, 0.36), u(-0.1, 0.5), u(0.006, 0.012)) for _ in range(int(rng.integers(0, 4))))
    hair = _hair_colour(rng, darkness, age)
    frame = _FRAME[rng.integers(0, len(_FRAME))]
    shape = {name: u(low, high) + more * feminine for name, (low, high, more) in _SHAPE.items()}
    shape['nose_w'] += 0.012 * darkness
    return Person(
        **shape,
        skin=linear(skin),
        hair=linear(hair),
        iris=linear(iris),
        lip=linear(np.clip(lip, 0, 1)),
        frame=linear(frame),
        age=age,
        feminine=feminine,
        freckles=u(0.3, 1.0) if darkness < 0.3 and rng.random() < 0.4 else 0.0,
        blush=u(0.1, 0.8),
        makeup=makeup,
        stubble=u(0.1, 0.9) if masculine else 0.0,
        beard=beard,
        moles=moles,
        style=style,
        hair_volume=u(0.7, 1.4),
        hair_part=u(-0.2, 0.2),
        hair_line=u(-0.40, -0.32),
        hair_length=u(0.0, 1.0),
        hair_wave=u(0.3, 1.0),
        glasses=int(rng.integers(1, 4)) if rng.random() < 0.24 else 0,
        glasses_w=u(0.007, 0.017),
        texture=(u(0, 512), u(0, 512)),
    )
