"""The measuring of steps and inference: it runs without the option file's data and weights. Nothing here is timed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from same_process import SameProcess

SCRIPTS = Path(__file__).parents[1] / 'scripts'


@pytest.fixture
def option_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stage whose data and weights do not exist."""
    monkeypatch.setenv('FSR_DATASETS', str(tmp_path / 'datasets'))
    monkeypatch.syspath_prepend(str(SCRIPTS))
    options = tiny.options('nowhere')
    options['path'] = {'pretrain_network_g': 'nowhere.pth'}
    file = tmp_path / 'options.yml'
    file.write_text(yaml.safe_dump(options))
    return file


def test_a_stage_is_measured_without_its_files(
    option_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import benchmark_steps
    from benchmark import stage

    monkeypatch.setattr(stage, 'FACES', 4)

    monkeypatch.setattr(benchmark_steps, 'Side', SameProcess)
    found = tmp_path / 'found.json'
    status = benchmark_steps.main(
        ['-opt', str(option_file), '--batch', '3', '--runs', '1', '--infer', '1', '2', '--json', str(found)]
    )
    assert status == 0
    ((name, figures),) = json.loads(found.read_text())['figures'].items()
    assert name == 'train' and figures['batch'] == 3
    assert all(figures[key] > 0 for key in ('step_ms', 'data_ms', 'data_again_ms', 'memory_gib'))
    assert set(figures['images_per_second']['result']) == {'1', '2'}


def test_variants_are_measured_each_by_itself(
    option_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import benchmark_steps
    from benchmark import stage

    monkeypatch.setattr(stage, 'FACES', 4)
    made = []

    class Seen(SameProcess):
        def __init__(self, factory: Any, *arguments: Any, wait: bool = True) -> None:
            super().__init__(factory, *arguments, wait=wait)
            made.append(self.served.model.precision.name)

    monkeypatch.setattr(benchmark_steps, 'Side', Seen)
    found = tmp_path / 'found.json'
    arguments = ['-opt', str(option_file), '--batch', '2', '--runs', '1', '--variants', 'fp32', 'bf16']
    assert benchmark_steps.main([*arguments, '--json', str(found)]) == 0
    assert list(json.loads(found.read_text())['figures']) == ['train, fp32', 'train, bf16']
    assert made == ['fp32', 'bf16']


def test_an_unknown_stage_is_named(option_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import benchmark_steps

    assert benchmark_steps.main(['-opt', str(option_file), '--stage', 'joint']) == 2
    assert "no stage 'joint'" in capsys.readouterr().err
