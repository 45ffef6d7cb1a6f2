"""Preparers from outside: an installed package's entry point adds one to ``fsr prepare``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fsr_plugins.cli import main
from fsr_plugins.prepare import PREPARERS
from fsr_plugins.stores.opening import open_store

PLUGIN = '''
"""Squares of one colour, as a dataset of somebody's own."""

from argparse import ArgumentParser, Namespace

import numpy as np

from fsr_plugins.prepare import Prepared, Preparer, register
from fsr_plugins.prepare.base import add_output_arguments
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.plan import Item, PreparationPlan, one_by_one
from fsr_plugins.stores.records import Face


def add_arguments(parser: ArgumentParser) -> None:
    add_output_arguments(parser)
    parser.add_argument('--number', type=int, default=3)


def run(args: Namespace) -> Prepared:
    items = [Item(f'{n}', f'colour {n}', f'person {n}') for n in range(args.number)]
    make = one_by_one(lambda item: Face(item.key, np.full((8, 8, 3), int(item.key), np.uint8)))
    plan = PreparationPlan('colours', {'number': args.number}, items, make)
    return carry_out(plan, args.dst, form=args.format, encoding=args.encoding)


register(Preparer('colours', 'squares of one colour', 'fsr prepare colours out', add_arguments, run))
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a source an installed distribution with an entry point; takes back what it registers."""
    site = tmp_path / 'site'
    info = site / 'fsr_colours-1.0.dist-info'
    info.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(site))
    before = dict(PREPARERS)

    def write(source: str) -> None:
        (site / 'fsr_colours.py').write_text(source)
        (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: fsr-colours\nVersion: 1.0\n')
        (info / 'entry_points.txt').write_text('[fsr_plugins]\ncolours = fsr_colours\n')

    yield write
    sys.modules.pop('fsr_colours', None)
    PREPARERS.clear()
    PREPARERS.update(before)


def test_a_preparer_from_outside_is_listed_and_runs(
    install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['prepare', '--help']) == 0
    assert 'colours' not in capsys.readouterr().out
    install(PLUGIN)
    assert main(['prepare', '--help']) == 0
    assert 'squares of one colour' in capsys.readouterr().out
    assert main(['prepare', 'colours', '--help']) == 0
    assert 'Example: fsr prepare colours out' in capsys.readouterr().out
    assert main(['prepare', 'colours', str(tmp_path / 'out.lmdb'), '--number', '5']) == 0
    assert 'out.lmdb: 5 images of 5 people' in capsys.readouterr().out
    store = open_store(tmp_path / 'out.lmdb')
    assert [int(store.image(key)[0, 0, 0]) for key in store.keys] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ('source', 'said'),
    [
        ('1 / 0', 'ZeroDivisionError'),
        (PLUGIN.replace("Preparer('colours'", "Preparer('lfw'"), "Two preparers are named 'lfw'"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named(
    install, source: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lfw = PREPARERS['lfw']
    install(source)
    assert main(['prepare', 'lfw', '--help']) == 2
    printed = capsys.readouterr().err
    assert "The plugin 'fsr_colours' (from the entry point 'colours') cannot be imported" in printed and said in printed
    assert PREPARERS['lfw'] is lfw
