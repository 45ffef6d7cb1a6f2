"""``scripts/benchmark_neighbours.py`` and ``scripts/benchmark_infer.py`` run to their tables."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    folder = Path(__file__).parents[1] / 'scripts'
    monkeypatch.syspath_prepend(folder)
    spec = importlib.util.spec_from_file_location(name, folder / f'{name}.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.long
def test_a_training_beside_a_neighbour_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    neighbours, out = script('benchmark_neighbours', monkeypatch), tmp_path / 'found.json'
    small = ['--runs', '1', '--warm', '0.1', '--seconds', '0.5', '--features', '4', '--neighbours', '0', '1']
    assert neighbours.main([*small, '--settings', 'as it comes', 'threads: auto', '--json', str(out)]) == 0
    rates = json.loads(out.read_text())['iterations_per_second']
    assert set(rates) == {'as it comes', 'threads: auto'}
    assert all(rate > 0 for row in rates.values() for rate in row.values())


def test_a_share_is_fair(monkeypatch: pytest.MonkeyPatch) -> None:
    neighbours = script('benchmark_neighbours', monkeypatch)
    assert neighbours.fair_share(2, 2, 0) == 1.0
    assert neighbours.fair_share(2, 2, 2) == 0.5
    assert neighbours.fair_share(1, 8, 2) == 1.0


def test_a_setting_of_the_caller_is_in_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    neighbours = script('benchmark_neighbours', monkeypatch)
    seen: list[dict[str, str]] = []

    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        seen.append(env)
        return subprocess.CompletedProcess(command, len(seen) - 1, '2.5\n', 'no memory')

    monkeypatch.setattr(neighbours.subprocess, 'run', run)
    for name in ('OMP_NUM_THREADS', 'OMP_WAIT_POLICY', 'BENCHMARK_THREADS'):
        monkeypatch.setenv(name, '7')
    options = neighbours.parse([])
    assert neighbours.rate({'OMP_WAIT_POLICY': 'PASSIVE'}, 0, options) == 2.5
    assert seen[0]['OMP_WAIT_POLICY'] == 'PASSIVE'
    assert not {'OMP_NUM_THREADS', 'BENCHMARK_THREADS'} & set(seen[0])
    with pytest.raises(neighbours.RunError, match='no memory'):
        neighbours.rate({}, 0, options)


@pytest.mark.long
def test_a_folder_is_enlarged_in_each_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    infer, out = script('benchmark_infer', monkeypatch), tmp_path / 'found.json'
    ways = ['as it comes', 'fp32, PyTorch']
    assert infer.main(['-c', 'face_x8', '--faces', '3', '--runs', '1', '--ways', *ways, '--json', str(out)]) == 0
    rates = json.loads(out.read_text())['faces_per_second']
    assert set(rates) == set(ways)
    assert all(row['restoring'] >= row['command'] > 0 for row in rates.values())


def test_a_stage_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    infer = script('benchmark_infer', monkeypatch)
    options = Path(__file__).parents[1] / 'options' / 'pkdn.yml'
    assert infer.main(['-opt', str(options), '--stage', 'nobody']) == 2
    assert 'teacher, alone, student' in capsys.readouterr().err
