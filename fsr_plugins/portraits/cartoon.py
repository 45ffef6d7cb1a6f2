"""Cartoon faces: avatars of DiceBear's styles, drawn by resvg. Authors and licences: NOTICE.md beside this file.

A person's seed fixes head, hair, clothes and colours; mouth, eyes, brows, place, size and background change from
picture to picture.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files

import cv2
import numpy as np
import resvg_py
from dicebear import Avatar, Style

#: Style, its parts that change with the expression, and the variants of them that are everyday faces (None: all).
_PARTS: dict[str, dict[str, tuple[str, ...] | None]] = {
    'avataaars': {
        'mouth': ('concerned', 'default', 'disbelief', 'grimace', 'sad', 'serious', 'smile', 'tongue', 'twinkle'),
        'eyes': ('closed', 'default', 'eyeRoll', 'happy', 'side', 'squint', 'surprised', 'wink'),
        'eyebrows': None,
    },
    'lorelei': {'mouth': None, 'eyebrows': None},
    'notionists': {'mouth': None, 'eyebrows': None},
    'open-peeps': {
        'expression': (
            'awe',
            'blank',
            'calm',
            'cheeky',
            'concerned',
            'cute',
            'driven',
            'explaining',
            'serious',
            'smile',
            'smileBig',
            'solemn',
            'tired',
        ),
    },
}
STYLES = tuple(_PARTS)

_INKS = ('b6e3f4', 'c0aede', 'd1d4f9', 'ffd5dc', 'ffdfbf', 'cfe8c6', 'f4efe2', '9fb8ad', 'e8b07a', '7d8fb3')


@lru_cache(maxsize=len(STYLES))
def _style(name: str) -> tuple[Style, dict[str, tuple[str, ...]]]:
    """A style, and the variants of its changing parts.

    Checking a definition takes a second, so only those needed are loaded.
    """
    definition = json.loads(files('dicebear_styles').joinpath(f'{name}.json').read_text('utf-8'))
    components = definition['components']
    variants = {part: chosen or tuple(components[part]['variants']) for part, chosen in _PARTS[name].items()}
    return Style(definition), variants


def draw_cartoon(seed: int, stream: int, person: int, index: int, size: int) -> tuple[np.ndarray, str]:
    """The cartoon ``index`` of a person, (size, size, 3) uint8 RGB, and its style; a pure function of its arguments."""
    who = np.random.default_rng([seed, stream, 1, person])
    now = np.random.default_rng([seed, stream, 2, index])
    name = STYLES[int(who.integers(0, len(STYLES)))]
    options: dict[str, str | list[str]] = {
        'seed': f'{seed}-{stream}-{person}',
        'backgroundColor': [_INKS[int(now.integers(0, len(_INKS)))]],
    }
    style, parts = _style(name)
    for part, variants in parts.items():
        options[f'{part}Variant'] = [variants[int(now.integers(0, len(variants)))]]
    svg = Avatar(style, options).to_string()
    # resvg antialiases itself: a quarter more than the picture is what enlarging in place needs.
    fine = max(size + size // 4, 96)
    png = resvg_py.svg_to_bytes(svg_string=svg, width=fine, height=fine, skip_system_fonts=True)
    image = cv2.imdecode(np.frombuffer(bytes(png), np.uint8), cv2.IMREAD_COLOR)
    return _place(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), now, size), name


def _place(image: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """Turns, moves and enlarges an avatar a little, mirrors half of them, and reduces it to ``size``."""
    side = image.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(-8, 8)), float(rng.uniform(1.0, 1.25)))
    matrix[:, 2] += rng.uniform(-0.03, 0.03, 2) * side
    moved = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.5:
        moved = moved[:, ::-1]
    return cv2.resize(np.ascontiguousarray(moved), (size, size), interpolation=cv2.INTER_AREA)
