"""A few cases of the campaigns on images and archives, and what must be noticed; ``make campaign`` runs many."""

from __future__ import annotations

import importlib.util
import mmap
import os
import sys
import time
from collections.abc import Callable
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


def raises() -> int:
    raise KeyError('x')


def says_nothing() -> int:
    return 2


def writes(name: str) -> int:
    Path(name).write_text('')
    return 0


def ends_by_a_signal() -> int:
    os.kill(os.getpid(), 9)
    return 0


def takes_memory() -> int:
    # Of the system: what this process has freed before would be used again.
    memory = mmap.mmap(-1, 1 << 29)
    memory[:: mmap.PAGESIZE] = bytes(len(memory) // mmap.PAGESIZE)
    return 0


@pytest.mark.parametrize(
    ('function', 'said'),
    [
        (raises, 'Traceback'),
        (says_nothing, 'without a word'),
        (lambda: writes('elsewhere'), 'elsewhere'),
        (lambda: writes('out.part'), 'temporary files'),
        (ends_by_a_signal, 'status -9'),
        (takes_memory, 'MiB'),
        (lambda: time.sleep(60) or 0, 'longer than'),
    ],
)
def test_what_is_against_the_rules_is_noticed(
    function: Callable[[], int], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = campaign('images')
    # Less than a case may take; what ends well is not run here.
    monkeypatch.setattr(sys.modules['forked'].wait, '__defaults__', (5.0,))
    monkeypatch.setattr(sys.modules['forked'], 'MEMORY', 200)

    def play(draw: object, folder: Path) -> str:
        return f'status {module.judged(function, folder, ("out",))[0]}'

    found = module.common.run_cases([('kind', play)], seed=7, number=1, seconds=20)
    assert module.common.broken(found) == found
    assert all('kind --seed 7 --only 0' in what and said in what for what in found)
