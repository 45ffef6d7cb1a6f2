"""What a kept figure is kept for: all code that takes part in it."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsr_plugins.bench import cache
from fsr_plugins.registry import METRIC_REGISTRY

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


def losses_in(file: Path) -> Iterator[str]:
    """The modules of the room of losses that a file imports, near and far, as ``losses/<module>.py``."""
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('fsr_plugins.losses.'):
            name = f'losses/{(node.module or "").split(".")[2]}.py'
            yield name
            yield from losses_in(ROOT / name)


def test_losses_that_metrics_and_networks_are_made_with_take_part() -> None:
    rooms = [file for room in ('metrics', 'archs') for file in (ROOT / room).rglob('*.py')]
    found = {name for file in [*rooms, *(ROOT / 'methods').glob('*/archs.py')] for name in losses_in(file)}
    assert found and found <= set(cache._FILES)


def test_what_costs_are_measured_with_takes_part() -> None:
    assert {'bench/cost.py', 'bench/memory.py'} <= set(cache._FILES)


def test_the_code_of_a_plugin_takes_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / 'plugin_of_this_test'
    package.mkdir()
    (package / '__init__.py').write_text('')
    (package / 'helper.py').write_text('LEVEL = 1\n')
    (package / 'metric.py').write_text('class MetricOfPlugin:\n    pass\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(METRIC_REGISTRY, '_obj_map', dict(METRIC_REGISTRY._obj_map))
    METRIC_REGISTRY.register(importlib.import_module('plugin_of_this_test.metric').MetricOfPlugin)
    before = cache.code_version(None)
    assert cache.code_version(None) == before
    (package / 'helper.py').write_text('LEVEL = 2\n')
    assert cache.code_version(None) != before
    assert not {'basicsr', 'fsr_plugins', 'torch'} & set(cache.plugin_code())
