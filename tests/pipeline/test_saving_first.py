"""Saving comes before validation: what goes wrong there costs nothing, and a resumed run validates first."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from test_pipeline import assert_equal, newest_state

from fsr_plugins import config, pipeline
from fsr_plugins.engine.trainer import Trainer
from fsr_plugins.errors import Interrupted, UserError


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize('moment', [0, 1, 2, 3])
@pytest.mark.parametrize('after', [False, True])
def test_ended_in_a_validation_it_goes_on_to_the_same_end(
    experiment_file: Path, monkeypatch: pytest.MonkeyPatch, moment: int, after: bool
) -> None:
    whole = pipeline.run(config.load(experiment_file, ['name=whole']))
    validations = iter(range(100))
    validate = Trainer._validate

    def end(self: Trainer) -> None:
        if after:
            validate(self)
        if next(validations) == moment:
            raise Killed
        if not after:
            validate(self)

    monkeypatch.setattr(Trainer, '_validate', end)
    experiment = config.load(experiment_file, ['name=ended'])
    with pytest.raises(Killed):
        pipeline.run(experiment)
    stage = experiment.folder / ('first', 'first', 'second', 'second')[moment]
    state = newest_state(stage)
    assert (state['iter'], state['validation_due']) == ((6, 12, 6, 8)[moment], True)
    monkeypatch.setattr(Trainer, '_validate', validate)
    ended = pipeline.run(experiment)
    assert ended['validation'] == whole['validation']
    for name in ('first', 'second'):
        one, other = experiment.folder / name, experiment.folder.parent / 'whole' / name
        assert_equal(newest_state(one), newest_state(other))
        assert (one / 'metrics.jsonl').read_text() == (other / 'metrics.jsonl').read_text()


def test_what_fails_in_validation_costs_nothing(experiment_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise UserError('this metric cannot be taken')

    experiment = config.load(experiment_file, ['logger.save_checkpoint_freq=1000'])
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, '_validate', fail)
        with pytest.raises(UserError, match='cannot be taken'):
            pipeline.run(experiment)
    assert newest_state(experiment.folder / 'first')['iter'] == 6
    # A state without the networks' own files: those come as often as the options say.
    assert not list((experiment.folder / 'first/models').glob('*.pth'))
    pipeline.run(experiment)
    lines = (experiment.folder / 'first/metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['iter'] for line in lines if 'validation' in line] == [6, 12]


@pytest.mark.parametrize('iteration', [6, 12])
def test_asked_to_stop_in_a_validation_it_stops_after_it(
    experiment_file: Path, monkeypatch: pytest.MonkeyPatch, iteration: int
) -> None:
    whole = pipeline.run(config.load(experiment_file, ['name=whole']))
    validate = Trainer._validate

    def ask(self: Trainer) -> None:
        validate(self)
        if self.iteration == iteration:
            signal.raise_signal(signal.SIGTERM)

    experiment = config.load(experiment_file)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, '_validate', ask)
        with pytest.raises(Interrupted) as caught:
            pipeline.run(experiment)
    assert caught.value.status == 128 + signal.SIGTERM
    assert not (experiment.folder / 'second').exists()
    shutil.rmtree(experiment.folder / 'first/models')
    assert pipeline.run(experiment)['validation'] == whole['validation']


def test_asked_to_stop_before_a_validation_it_stops_at_once(
    experiment_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = config.load(experiment_file)
    report = Trainer._report

    def ask(self: Trainer) -> None:
        report(self)
        if self.iteration == 6:
            signal.raise_signal(signal.SIGHUP)

    monkeypatch.setattr(Trainer, '_report', ask)
    with pytest.raises(Interrupted) as caught:
        pipeline.run(experiment)
    assert caught.value.status == 128 + signal.SIGHUP
    state = newest_state(experiment.folder / 'first')
    assert (state['iter'], state['validation_due'], state['validation']) == (6, True, {})


def test_a_signal_that_is_ignored_stays_so(experiment_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    report = Trainer._report

    def hang_up(self: Trainer) -> None:
        report(self)
        signal.raise_signal(signal.SIGHUP)

    monkeypatch.setattr(Trainer, '_report', hang_up)
    try:
        summary = pipeline.run(config.load(experiment_file))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert summary['stages']['second']['iterations'] == 8
