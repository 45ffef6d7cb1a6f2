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
    listed = {name: {'opt': f'{name}.yml', **run} for name, run in runs.items()}
    file.write_text(yaml.safe_dump({'runs': listed}, sort_keys=False))
    return file


def call(script, monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    folders = ['--root', str(folder), '--out', str(folder / 'out'), '--runs', str(folder / 'runs.yml')]
    monkeypatch.setattr(sys, 'argv', ['reproduce.py', *folders, *arguments])
    return script.main()


@pytest.mark.long
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


def test_a_result_whose_summary_is_not_written_is_not_done(
    script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = script.Run('one', tmp_path / 'one.yml', 'train/net_g')
    (tmp_path / 'summary.json').write_text('{}')
    content = {'params': {'weight': torch.ones(2)}, 'meta': {'format': 1, 'scale': 4}}
    monkeypatch.setattr(script, 'load_state', lambda file: content)

    def killed(file: Path, text: str) -> None:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(script, 'write_text', killed)
        with pytest.raises(InterruptedError):
            script.take_along(run, tmp_path, tmp_path / 'out', 1.0)
    assert not script.is_done(run, tmp_path / 'out')
    script.take_along(run, tmp_path, tmp_path / 'out', 1.0)
    assert script.is_done(run, tmp_path / 'out') and (tmp_path / 'out/one.json').is_file()


@pytest.mark.long
def test_a_training_without_end_is_stopped_in_time_and_keeps_its_state(
    script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / 'faces', 4)
    written(tmp_path, one={'result': 'train/net_g'})
    never = '10000000'  # saving never, too: preflight counts the disk that all checkpoints need
    keys = ('train.total_iter', 'val.val_freq', 'logger.print_freq', 'logger.save_checkpoint_freq')
    endless = [word for key in keys for word in ('--set', f'{key}={never}')]
    assert call(script, monkeypatch, tmp_path, '--minutes', '0.9', *endless) == 0
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
    ('run', 'message'),
    [
        ({}, 'needs opt and result'),
        ({'result': 'a/b', 'needs': 'none'}, "needs 'none'"),
        ({'result': 'net_g'}, 'its result as STAGE/NET'),
        ({'result': 'a/b', 'claim': ['pkdn']}, 'the rest as text'),
    ],
)
def test_a_wrong_list_is_named(script, tmp_path: Path, run: dict[str, str], message: str) -> None:
    with pytest.raises(script.UserError, match=message):
        script.read_runs(written(tmp_path, one=run))


@pytest.mark.parametrize('text', ['', 'runs:\n', 'runs: [a]\n', 'runs: {a: b}\n', 'runs: {a: [\n', '- a\n'])
def test_what_is_no_list_is_named(script, tmp_path: Path, text: str) -> None:
    (tmp_path / 'runs.yml').write_text(text)
    with pytest.raises(script.UserError, match=r'runs\.yml'):
        script.read_runs(tmp_path / 'runs.yml')


def test_what_needs_a_training_that_failed_is_not_trained_however_far_it_is(
    script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / 'faces', 4)
    needed = {name: {'result': 'train/net_g', 'needs': before} for name, before in (('two', 'one'), ('three', 'two'))}
    written(tmp_path, one={'result': 'train/net_g'}, **needed)
    trained = []
    monkeypatch.setattr(script, 'train', lambda run, *_: trained.append(run.name) or 1)
    assert call(script, monkeypatch, tmp_path, '--minutes', '5') == 1
    assert trained == ['one']
    said = capsys.readouterr().out
    assert "two: not trained, for it needs 'one'" in said and "three: not trained, for it needs 'two'" in said


def test_minutes_in_which_nothing_is_trained_are_refused(
    script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, one={'result': 'train/net_g'})
    assert call(script, monkeypatch, tmp_path, '--minutes', '0.1') == 2
    assert '--minutes 0.1: take more than 0.2' in capsys.readouterr().err and not (tmp_path / 'out').exists()


def test_a_call_that_is_ended_leaves_no_training_behind(
    script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    class Training:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def wait(self, seconds: float) -> int:
            if not ended:
                raise SystemExit(143)
            return 143

        def send_signal(self, number: int) -> None:
            ended.append(number)

    monkeypatch.setattr(script.subprocess, 'Popen', Training)
    with pytest.raises(SystemExit):
        script.train(script.Run('one', tmp_path / 'one.yml', 'train/net_g'), tmp_path, 60.0, [])
    assert ended == [script.signal.SIGTERM]


def test_the_trainings_of_the_project_have_their_results_and_are_small_enough(script, tmp_path: Path) -> None:
    runs = script.read_runs(script.RUNS)
    folders = [script.planned(run, tmp_path, []) for run in runs]
    assert len(set(folders)) == len(runs) > 5


def test_a_result_that_is_not_there_or_is_too_large_is_named_before_training(
    script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, 'train', lambda *_: pytest.fail('trained'))
    write_faces(tmp_path / 'faces', 4)
    written(tmp_path, one={'result': 'train/net_x'})
    assert call(script, monkeypatch, tmp_path) == 2
    assert "there is no 'train/net_x', the result of 'one'" in capsys.readouterr().err
    written(tmp_path, one={'result': 'train/net_g'})
    monkeypatch.setattr(script, 'LARGEST', 1000)
    assert call(script, monkeypatch, tmp_path) == 2
    assert "'net_g' has 0 MiB in half precision" in capsys.readouterr().err


def test_a_training_that_fails_keeps_the_others_from_nothing(
    script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / 'faces', 4)
    net = {'result': 'train/net_g'}
    written(tmp_path, bad=net, after={**net, 'needs': 'bad'}, good=net)
    begun: list[str] = []
    train = script.train

    def some(run, *rest):
        begun.append(run.name)
        return 2 if run.name == 'bad' else train(run, *rest)

    monkeypatch.setattr(script, 'train', some)
    assert call(script, monkeypatch, tmp_path, '--minutes', '5') == 1
    assert begun == ['bad', 'good'] and (tmp_path / 'out/good.pth').is_file()
    assert capsys.readouterr().out.splitlines()[-1] == 'left: bad, after'
