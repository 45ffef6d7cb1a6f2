"""The measuring of steps on a GPU, run with tiny networks on this machine's CPU. Nothing here is timed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from same_process import SameProcess

SCRIPTS = Path(__file__).parents[1] / 'scripts'


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, whose rows are measured in this process."""
    monkeypatch.setenv('FSR_DATASETS', str(tmp_path / 'datasets'))
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_gpu
    from benchmark import stage

    monkeypatch.setattr(stage, 'FACES', 4)
    monkeypatch.setattr(benchmark_gpu, 'Side', SameProcess)
    return benchmark_gpu


def run(script: Any, file: Path, *more: str) -> tuple[int, dict[str, Any]]:
    status = script.main(['--device', 'cpu', '--tiny', '--runs', '1', '--json', str(file), *more])
    return status, json.loads(file.read_text()) if file.exists() else {}


def test_rows_are_measured_part_by_part(script: Any, tmp_path: Path) -> None:
    status, found = run(script, tmp_path / 'gpu.json', '--variants', 'fp32', 'bf16')
    assert status == 0
    labels = [f'{name}, {size}, {kind}' for name in ('edsr_l', 'rcan') for size in ('paper', 'full')
              for kind in ('fp32', 'bf16')]  # fmt: skip
    assert list(found['rows']) == labels
    assert found['card']['matrix_flops'] > 0 and found['card']['copy_bytes'] > 0
    for label, row in found['rows'].items():
        assert 'failed' not in row, row
        assert row['batch'] == (2 if 'paper' in label else 4)
        assert all(row[key] > 0 for key in ('share', 'step_ms', 'memory_gib', 'forward_ms', 'backward_ms', 'data_ms'))
        assert row['share'] == pytest.approx(row['flops'] / row['step_ms'] * 1e3 / found['card']['matrix_flops'])
    paper, full = (found['rows'][f'edsr_l, {size}, bf16']['flops'] for size in ('paper', 'full'))
    assert full == 2 * paper


def test_a_row_that_fails_says_why_and_the_others_go_on(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, calls = script.measure_row, []

    def failing(row: dict[str, Any], variant: str, *more: Any) -> dict[str, Any]:
        calls.append(variant)
        if variant == 'fp32':
            raise RuntimeError('Traceback\nOutOfMemoryError: CUDA out of memory')
        return measured(row, variant, *more)

    monkeypatch.setattr(script, 'measure_row', failing)
    arguments = ('--only', 'rcan', '--variants', 'fp32', 'bf16')
    _, found = run(script, tmp_path / 'gpu.json', *arguments)
    assert found['rows']['rcan, paper, fp32']['failed'] == 'OutOfMemoryError: CUDA out of memory'
    assert found['rows']['rcan, paper, bf16']['step_ms'] > 0
    assert found['rows']['rcan, paper, bf16']['flops'] is None and 'rcan, full, fp32' not in found['rows']
    calls.clear()
    run(script, tmp_path / 'gpu.json', *arguments)
    assert calls == []
    run(script, tmp_path / 'gpu.json', *arguments, '--again')
    assert calls == ['fp32']


def test_what_the_minutes_cut_off_is_left_for_the_next_call(script: Any, tmp_path: Path) -> None:
    file = tmp_path / 'gpu.json'
    status, found = run(script, file, '--only', 'rcan', '--variants', 'fp32', '--minutes', '0')
    assert (status, found) == (3, {})
    status, found = run(script, file, '--only', 'rcan', '--variants', 'fp32')
    assert status == 0 and set(found['rows']) == {'rcan, paper, fp32', 'rcan, full, fp32'}


@pytest.mark.parametrize(
    ('held', 'said'),
    [
        ('{"rows": {', 'was not written by this script'),
        ('[]', 'was not written by this script'),
        ('{"how": {"device": "cuda", "tiny": false}, "rows": {}}', "has rows of {'device': 'cuda'"),
    ],
)
def test_rows_of_another_kind_are_not_taken_for_those_asked_for(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], held: str, said: str
) -> None:
    file = tmp_path / 'gpu.json'
    file.write_text(held)
    assert script.main(['--device', 'cpu', '--tiny', '--json', str(file)]) == 2
    assert said in capsys.readouterr().out and file.read_text() == held


def test_a_machine_without_a_gpu_is_told_so(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    assert script.main(['--json', str(tmp_path / 'gpu.json')]) == 2
    assert 'no CUDA device' in capsys.readouterr().out


def test_every_row_has_its_stage(script: Any) -> None:
    from fsr_plugins import config

    for name, row in script.read_rows(script.ROWS).items():
        stages = config.load(script.ROWS.parent / row['opt'], row.get('set', [])).stages
        assert row.get('stage', 'train') in stages, (name, list(stages))
