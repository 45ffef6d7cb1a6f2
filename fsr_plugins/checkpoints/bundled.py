"""The trained networks that come with the package: files of ``zoo/``, known by name and by digest.

``zoo/SHA256SUMS`` names them, as ``sha256sum`` writes it. Beside each file lies its card, ``NAME.md``.
"""

from __future__ import annotations

import functools
from pathlib import Path

FOLDER = Path(__file__).parent.parent / 'zoo'
SUMS = 'SHA256SUMS'


@functools.cache
def bundled() -> dict[str, str]:
    """The SHA-256 of each bundled file, by the network's name."""
    found = FOLDER / SUMS
    if not found.is_file():
        return {}
    lines = (line.split() for line in found.read_text(encoding='utf-8').splitlines())
    return {Path(file).stem: digest for digest, file in lines}


def bundled_file(name: str) -> Path:
    """The file of a bundled network."""
    return FOLDER / f'{name}.pth'


def summary(name: str) -> str:
    """What a network is for: the first line of its card that is no heading."""
    lines = (FOLDER / f'{name}.md').read_text(encoding='utf-8').splitlines()
    return next(line for line in lines if line and not line.startswith('#'))


def resolved(path: str | Path) -> tuple[Path, str | None]:
    """What a checkpoint's path or name stands for: a file, and its SHA-256 where that is known.

    A file or folder that exists is meant before a bundled network of the same name.
    """
    name = str(path)
    if name in bundled() and not Path(path).exists():
        return bundled_file(name), bundled()[name]
    return Path(path), None
