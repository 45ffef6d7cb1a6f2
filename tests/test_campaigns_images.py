"""A few cases of the campaigns on images and archives; ``make campaign`` runs many."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

CAMPAIGNS = Path(__file__).parent / 'campaigns'


def campaign(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f'campaign_{name}', CAMPAIGNS / f'{name}.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(('name', 'seed'), [('images', 5), ('archives', 5)])
def test_nothing_breaks_the_rules(name: str, seed: int) -> None:
    module = campaign(name)
    found = module.run(seed, 10**6, 4)
    assert found.total() > 3
    assert module.common.broken(found) == {}
