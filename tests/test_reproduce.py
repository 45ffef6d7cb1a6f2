"""The script that does a list of trainings in calls of some minutes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tiny import options, write_faces, write_options

SCRIPTS = Path(__file__).parents[1] / 'scripts'


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import reproduce

    monkeypatch.setattr(reproduce, 'GRACE', 5.0)
    return reproduce


def written(folder: Path, **runs: dict[str, str]) -> Path:
    """A list of trainings, each with the tiny experiment of its name."""
    for name in runs:
        write_options(folder / f'{name}.yml', {**options(folder / 'faces'), 'name': name})
    file = folder / 'runs.yml'
    file.write_text(yaml.safe_dump({'runs': {name: {'opt': f'{name}.yml', **run} for name, run in runs.items()}}))
    return file


def call(script, monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    folders = ['--root', str(folder), '--out', str(folder / 'out'), '--runs', str(folder / 'runs.yml')]
    monkeypatch.setattr(sys, 'argv', ['reproduce.py', *folders, *arguments])
    return script.main()


def test_a_training_that_ends_leaves_a_small_file_and_is_not_done_again(
    script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / 'faces', 4)
    written(tmp_path, one={'result': 'train/net_g'})
    assert call(script, monkeypatch, tmp_path, '--minutes', '5') == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'all done'
    content = torch.load(tmp_path / 'out/one.pth', weights_only=True)
    trained = torch.load(tmp_path / 'experiments/one/train/models/net_g_latest.pth', weights_only=True)['params']
    assert {key: value.dtype for key, value in content['params'].items()} == dict.fromkeys(trained, torch.float16)
    assert all(torch.equal(value, trained[key].half()) for key, value in content['params'].items())
    said = json.loads((tmp_path / 'out/one.json').read_text())
    assert said['training'] == 'one' and said['minutes'] > 0 and said['summary']
    monkeypatch.setattr(script, 'train', lambda *_: pytest.fail('trained again'))
    assert call(script, monkeypatch, tmp_path) == 0


@pytest.mark.long
def test_a_training_without_end_is_stopped_in_time_and_keeps_its_state(
    script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / 'faces', 4)
    written(tmp_path, one={'result': 'train/net_g'})
    endless = ('--set', 'train.total_iter=10000000', '--set', 'val.val_freq=10000000')
    assert call(script, monkeypatch, tmp_path, '--minutes', '0.9', *endless, '--set', 'logger.print_freq=100000') == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'left: one'
    assert list((tmp_path / 'experiments/one').rglob('*.state')) and not (tmp_path / 'out/one.pth').exists()
    assert json.loads((tmp_path / 'out/minutes.json').read_text())['one'] > 0.3


def test_claims_choose_what_they_need(script, tmp_path: Path) -> None:
    file = written(
        tmp_path,
        base={'result': 'train/net_g'},
        other={'result': 'train/net_g', 'claim': 'pkdn'},
        one={'result': 'train/net_g', 'claim': 'cface', 'needs': 'base'},
    )
    runs = script.read_runs(file)
    assert [run.name for run in script.chosen(runs, ['cface'])] == ['base', 'one']
    assert len(script.chosen(runs, [])) == 3
    with pytest.raises(script.UserError, match='No training serves tsnet; there are cface, pkdn'):
        script.chosen(runs, ['tsnet'])


@pytest.mark.parametrize(
    ('run', 'message'), [({}, 'needs opt and result'), ({'result': 'a/b', 'needs': 'none'}, "needs 'none'")]
)
def test_a_wrong_list_is_named(script, tmp_path: Path, run: dict[str, str], message: str) -> None:
    with pytest.raises(script.UserError, match=message):
        script.read_runs(written(tmp_path, one=run))


def test_the_list_of_the_project_names_files_and_results_that_are_there(script) -> None:
    from fsr_plugins.config import experiment

    for run in script.read_runs(script.RUNS):
        stages = set(experiment.load(run.opt).stages)
        assert run.result.split('/')[0] in stages, run.name
