"""Which training states are kept, and which are refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import two_stages

from fsr_plugins import config, pipeline
from fsr_plugins.checkpoints import load_state, write_tensors
from fsr_plugins.engine.states import TrainingStates, read_state
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.psnr_ssim import PSNR


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of states 4 and 8 of a training that was stopped before its end."""
    monkeypatch.chdir(tmp_path)
    values = two_stages.EXPERIMENT | {'stages': {'only': {'train': {'total_iter': 8}, 'val': None}}}
    file = two_stages.write(tmp_path, values)
    experiment = config.load(file)
    pipeline.run(experiment)
    return experiment.folder / 'only/training_states'


def test_a_damaged_newer_state_displaces_none_of_those_that_are_written(states: Path) -> None:
    (states / '8.state').write_bytes(b'cut short')
    kept = TrainingStates(states, keep=1)
    state = kept.newest()
    assert state is not None and state['iter'] == 4
    kept.save(6, {**state, 'iter': 6})
    newest = TrainingStates(states, keep=1).newest()
    assert newest is not None and newest['iter'] == 6
    assert not (states / '4.state').exists()


def test_killed_behind_a_state_that_replaces_another_it_goes_on_from_the_new_one(
    states: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = load_state(states / '8.state')

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('fsr_plugins.engine.states.write_text', killed)
        with pytest.raises(KeyboardInterrupt):
            TrainingStates(states).save(8, state | {'seconds': 1e6})
    newest = TrainingStates(states).newest()
    assert newest is not None and (newest['iter'], newest['seconds']) == (8, 1e6)


def test_a_state_that_no_reader_takes_is_said_when_it_is_saved(
    states: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger('fsr_plugins'), 'propagate', True)
    state = load_state(states / '8.state')
    TrainingStates(tmp_path / 'good').save(8, state)
    assert not caplog.messages
    TrainingStates(tmp_path / 'bad').save(8, state | {'own': [{'mean': np.float64(3)}]})
    assert caplog.messages[0].startswith(f"'{tmp_path / 'bad/8.state'}' is no checkpoint of tensors and plain values")
    assert caplog.messages[0].endswith('if it is ended, it is lost.')


@pytest.mark.parametrize('kind', [np.float32, np.float64, torch.tensor])
def test_figures_of_any_kind_are_numbers_of_a_state(
    kind: Callable[[float], Any], experiment_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PSNR, 'compute', lambda self: {'psnr': kind(20.5)})
    experiment = config.load(experiment_file, ['val.val_freq=4'])
    assert pipeline.run(experiment)['validation']['held_out']['result']['psnr'] == 20.5
    state = TrainingStates(experiment.folder / 'first/training_states').newest()
    assert state is not None and state['iter'] == 12
    assert type(state['validation']['held_out']['result']['psnr']) is float


@pytest.mark.parametrize('position', [-1, 625, 2**30])
def test_random_numbers_of_a_place_that_is_none_are_refused(states: Path, position: int) -> None:
    file = states / '8.state'
    content = load_state(file)
    name, keys, _, *rest = content['random'][0]['numpy']
    content['random'][0]['numpy'] = (name, keys, position, *rest)
    write_tensors(file, content)
    with pytest.raises(UserError, match=r"is no training state of this toolkit: 'random\.0\.numpy\.2' is wrong"):
        read_state(file)
