"""The example of a command from outside: listed without being imported, run, and ended as our own commands are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from outside import check_small_and_unknown, entry_points, fsr, install, python

pytestmark = pytest.mark.long


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the command, and nothing else, is installed."""
    return install('fsr_score_command', tmp_path_factory.mktemp('outside'))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with references of two sizes, and results that differ from them by known steps."""
    generator = np.random.default_rng(0)
    for folder in ('hr', 'sr'):
        (tmp_path / folder).mkdir()
    for name, size, step in (('a', 16, 2), ('b', 16, 4), ('c', 20, 8)):
        image = generator.integers(0, 200, (size, size, 3), np.uint8)
        cv2.imwrite(str(tmp_path / 'hr' / f'{name}.png'), image)
        cv2.imwrite(str(tmp_path / 'sr' / f'{name}.png'), image + np.uint8(step))
    return tmp_path


def test_it_is_small_and_unknown_to_the_repository() -> None:
    check_small_and_unknown('fsr_score_command')


def test_it_brings_one_entry_point(site: Path) -> None:
    assert entry_points(site) == [('fsr_plugins.commands', 'score', 'fsr_score_command')]


def test_help_lists_it(site: Path, tmp_path: Path) -> None:
    done = fsr(site, tmp_path, '--help')
    assert done.returncode == 0
    shown = ' '.join(done.stdout.split())
    assert ' score measure images that anybody made by the metrics of option files (from fsr_score_command 0.1.0)' in (
        shown
    )


def test_its_help_is_like_that_of_ours_and_waits_for_nothing(site: Path, tmp_path: Path) -> None:
    code = """
import sys
from fsr_plugins.cli import main
print(main(['--help']), 'fsr_score_command' in sys.modules)
print(main(['score', '--help']), 'fsr_score_command' in sys.modules)
print([name for name in ('torch', 'basicsr', 'cv2', 'fsr_plugins.methods') if name in sys.modules])
"""
    shown = python(site, tmp_path, code)
    assert '\n0 False\n' in shown and shown.endswith('\n0 True\n[]\n')
    assert 'usage: fsr score' in shown and '--json FILE' in shown and 'Example: fsr score results/' in shown


def test_right_input(site: Path, place: Path) -> None:
    done = fsr(site, place, 'score', 'sr', 'hr', '--metrics', 'PSNR', '--json', 'found.json')
    assert done.returncode == 0, done.stderr
    expected = np.mean([20 * np.log10(255 / step) for step in (2, 4, 8)])
    assert done.stdout == f'PSNR: {expected:.4f} (RGB, border 0, uint8)\n'
    found = json.loads((place / 'found.json').read_text())
    assert found['images'] == 3
    assert found['figures']['PSNR']['psnr'] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['sr', 'none'], "The data folder 'none' does not exist"),
        (['sr', 'hr', '--metrics', 'PNSR'], "No metric is named 'PNSR'. Did you mean 'PSNR'?"),
    ],
)
def test_wrong_input(site: Path, place: Path, arguments: list[str], said: str) -> None:
    done = fsr(site, place, 'score', *arguments, '--json', 'found.json')
    assert done.returncode == 2
    assert done.stderr.startswith(f'fsr: error: {said}') and done.stderr.count('\n') == 1
    assert json.loads((place / 'found.json').read_text()) == {'error': done.stderr[len('fsr: error: ') : -1]}


def test_wrong_arguments(site: Path, place: Path) -> None:
    done = fsr(site, place, 'score', 'sr')
    assert done.returncode == 2 and 'usage: fsr score' in done.stderr


def test_pairs_that_do_not_fit(site: Path, place: Path) -> None:
    (place / 'hr' / 'b.png').rename(place / 'hr' / 'd.png')
    done = fsr(site, place, 'score', 'sr', 'hr')
    assert done.returncode == 2
    assert done.stderr == "fsr: error: 'b' is in one of 'sr' and 'hr' only: make them equal.\n"
