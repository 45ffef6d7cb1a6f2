"""A suite measures only what its entries have left, whole; what it remembers may be lost."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fsr_plugins.cli import main
from fsr_plugins.engine.lock import only_writer

ENTRY = 'experiments/small_suite/two'


@pytest.fixture
def done(finished: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a working directory after ``fsr bench``."""
    folder = tmp_path / 'copy'
    shutil.copytree(finished[0], folder)
    monkeypatch.chdir(folder)
    return folder


def remove(file: Path) -> None:
    file.unlink()


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize('damage', [remove, flip_a_bit])
@pytest.mark.parametrize('stage', ['first', 'second'])
@pytest.mark.parametrize('only', [[], ['--evaluate-only']])
def test_an_entry_whose_result_is_gone_or_damaged_is_refused(
    done: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], stage: str, only: list[str]
) -> None:
    before = (done / 'experiments/small_suite/results.json').read_bytes()
    file = done / ENTRY / stage / 'models/net_g_latest.pth'
    damage(file)
    capsys.readouterr()
    assert main(['bench', '-opt', 'suite.yml', *only]) == 2
    message = capsys.readouterr().err
    assert f"entry 'two': Stage '{stage}' is finished, but its result '{file}'" in message
    assert (done / 'experiments/small_suite/results.json').read_bytes() == before


def test_an_entry_that_another_process_trains_is_named(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with only_writer(done / ENTRY):
        assert main(['bench', '-opt', 'suite.yml']) == 0  # it is trained: nobody else is in the way
        (done / ENTRY / 'second/done.json').unlink()
        (done / 'experiments/small_suite/one/first/done.json').unlink()
        capsys.readouterr()
        assert main(['bench', '-opt', 'suite.yml']) == 2
        assert f"{ENTRY}' is in use" in capsys.readouterr().err
        assert not (done / 'experiments/small_suite/one/first/done.json').exists()
    assert main(['bench', '-opt', 'suite.yml']) == 0


@pytest.mark.parametrize('content', ['', '{"key": {"net', '[]', '{}', '\x00'])
def test_figures_remembered_that_are_cut_short_are_taken_again(
    done: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    results = json.loads((done / 'experiments/small_suite/results.json').read_text())
    figures = sorted((done / 'experiments/small_suite/cache').glob('figures_*.json'))
    for file in figures:
        file.write_text(content)
    capsys.readouterr()
    assert main(['bench', '-opt', 'suite.yml']) == 0
    assert capsys.readouterr().out.count('is damaged: it is measured again') == len(figures)
    again = json.loads((done / 'experiments/small_suite/results.json').read_text())
    for name, entry in results['entries'].items():
        assert again['entries'][name]['figures'] == entry['figures']


def test_figures_of_a_version_that_knew_no_people_are_taken_again(done: Path) -> None:
    folder = done / 'experiments/small_suite'
    results = json.loads((folder / 'results.json').read_text())
    files = sorted((folder / 'cache').glob('figures_*.json'))
    for file in files:
        kept = json.loads(file.read_text())
        kept['key']['code']['package'] = '0' * 64
        del kept['found']['pair_keys']
        kept['found']['images'] = {name: [0.0] * len(values) for name, values in kept['found']['images'].items()}
        digest = hashlib.sha256(json.dumps(kept['key'], sort_keys=True).encode()).hexdigest()[:24]
        file.with_name(f'figures_{digest}.json').write_text(json.dumps(kept))
        file.unlink()
    del results['test']['people']
    (folder / 'results.json').write_text(json.dumps(results))
    assert main(['bench', '-opt', 'suite.yml']) == 0
    again = json.loads((folder / 'results.json').read_text())
    assert again['test']['people']['count'] == 5 and all(file.exists() for file in files)
    for name, entry in results['entries'].items():
        assert again['entries'][name]['figures'] == entry['figures']


def test_figures_that_are_no_numbers_are_taken_again(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = done / 'experiments/small_suite'
    results = json.loads((folder / 'results.json').read_text())
    files = sorted((folder / 'cache').glob('*.json'))
    for file in files:
        file.write_text(re.sub(r'(?<=: )\d+\.\d+', 'NaN', file.read_text()))
    assert any('NaN' in file.read_text() for file in files)
    assert main(['bench', '-opt', 'suite.yml']) == 0
    assert 'holds NaN: it is measured again' in capsys.readouterr().out
    again = json.loads((folder / 'results.json').read_text())
    assert {name: entry['figures'] for name, entry in again['entries'].items()} == {
        name: entry['figures'] for name, entry in results['entries'].items()
    }


def test_a_cache_that_is_a_file_is_called_so(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = done / 'experiments/small_suite/cache'
    shutil.rmtree(cache)
    cache.write_text('mine')
    assert main(['bench', '-opt', 'suite.yml']) == 2
    assert f"'{cache}' is no folder. Move it away" in capsys.readouterr().err
    assert cache.read_text() == 'mine'


def test_a_suite_is_no_experiment_and_an_experiment_no_suite(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ('train', 'test', 'options', 'doctor', 'oneshot'):
        assert main([command, '-opt', 'suite.yml']) == 2
        error = capsys.readouterr().err
        assert error.startswith('fsr: error: suite.yml is a suite') and '`fsr bench -opt suite.yml`' in error
    assert main(['bench', '-opt', 'one.yml']) == 2
    assert '`fsr train -opt one.yml`' in capsys.readouterr().err


def test_learning_curves_pass_over_damaged_lines(done: Path) -> None:
    with open(done / ENTRY / 'second/metrics.jsonl', 'a') as file:
        file.write('{"iter": 4, "valid')
    assert main(['bench', '-opt', 'suite.yml']) == 0
