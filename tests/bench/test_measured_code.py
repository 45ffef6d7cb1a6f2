"""What a kept figure is kept for: all code that takes part in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from fsr_plugins.bench import cache

ROOT = Path(cache.__file__).parents[1]
#: What figures are made with and do not depend on: paths, messages, locks, names, and weights, whose bytes are counted.
WITHOUT_EFFECT = {
    'arguments', 'atomic', 'compiling', 'errors', 'positioned', 'registry', 'threads', 'values', 'version', 'weights',
    'wording',
}  # fmt: skip


def imported(file: Path) -> Iterator[str]:
    """The modules of this package's root that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split('.')[0] == 'fsr_plugins':
            below = node.module.split('.')[1:]
            yield from below[:1] or [alias.name for alias in node.names]


def test_modules_of_the_root_take_part_or_have_no_effect() -> None:
    files = [file for room in cache._ROOMS for file in (ROOT / room).rglob('*.py')]
    files += [ROOT / name for name in cache._FILES]
    at_root = {file.stem for file in ROOT.glob('*.py')}
    found = {name for file in files for name in imported(file)} & at_root
    assert found == {Path(name).stem for name in cache._ROOT} | WITHOUT_EFFECT
