"""Which built-in faces: ``portraits://<domain>/<split>?number=2000&size=64&seed=0``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from fsr_plugins.errors import UserError
from fsr_plugins.portraits.domains import DOMAINS, RENDERER_VERSION, SPLITS
from fsr_plugins.registry import near
from fsr_plugins.stores.once import built_folder

#: What specs of built-in faces begin with, before ``://``.
SCHEME = 'portraits'

#: Keys of a spec and the least and most that each may be; the last two are for the domain ``harsh``, together.
_KEYS: dict[str, tuple[int, int | None]] = {
    'number': (1, None),
    'size': (4, None),
    'seed': (0, None),
    'azimuth': (-95, 95),
    'elevation': (-25, 60),
}


@dataclass(frozen=True)
class PortraitSpec:
    """Which built-in faces: ``number`` of ``size`` x ``size`` pixels of a domain's split, drawn from ``seed``.

    Those of ``harsh`` may all be under one light, from ``azimuth`` and ``elevation`` in degrees.
    """

    domain: str
    split: str = 'train'
    number: int = 2000
    size: int = 128
    seed: int = 0
    azimuth: int | None = None
    elevation: int | None = None

    @property
    def light(self) -> tuple[int, int] | None:
        """Azimuth and elevation, if they are given."""
        return None if self.azimuth is None or self.elevation is None else (self.azimuth, self.elevation)

    def text(self) -> str:
        """What :func:`parse_spec` reads as this."""
        values = {key: getattr(self, key) for key in _KEYS}
        query = urlencode({key: value for key, value in values.items() if value is not None})
        return f'{SCHEME}://{self.domain}/{self.split}?{query}'

    def path(self) -> Path:
        """Where they are kept: ``$FSR_DATASETS/portraits`` or ``datasets/portraits`` of the working directory."""
        light = '' if self.light is None else '_A{:+04d}E{:+03d}'.format(*self.light)
        what = f'{self.domain}_{self.split}_n{self.number}_s{self.size}_seed{self.seed}{light}_v{RENDERER_VERSION}'
        return built_folder('portraits') / f'{what}.lmdb'


def parse_spec(text: str) -> PortraitSpec:
    """Reads a ``portraits://`` spec.

    Raises:
        UserError: naming what is unknown and the nearest right word.
    """
    parts = urlsplit(text)
    domain, split = parts.netloc, parts.path.strip('/') or 'train'
    if domain not in DOMAINS:
        raise UserError(f"'{text}' has no domain '{domain}'.{near(domain, DOMAINS)} Known: {', '.join(DOMAINS)}.")
    if split not in SPLITS:
        raise UserError(f"'{text}' has no split '{split}'.{near(split, SPLITS)} Known: {', '.join(SPLITS)}.")
    values: dict[str, int] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key not in _KEYS:
            raise UserError(f"'{text}' has an unknown key '{key}'.{near(key, _KEYS)} Known: {', '.join(_KEYS)}.")
        if key in values:
            raise UserError(f"'{text}' says '{key}' twice: leave one of them.")
        least, most = _KEYS[key]
        if not re.fullmatch(r'-?[0-9]{1,9}', value) or int(value) < least or (most is not None and int(value) > most):
            bounds = f'of at least {least}' if most is None else f'from {least} to {most}'
            raise UserError(f"'{text}': '{key}' is '{value}'; it must be a whole number {bounds}.")
        values[key] = int(value)
    light = values.keys() & {'azimuth', 'elevation'}
    if light and (len(light) < 2 or domain != 'harsh'):
        raise UserError(f"'{text}': 'azimuth' and 'elevation' are for the domain 'harsh', both together.")
    return PortraitSpec(domain, split, **values)
