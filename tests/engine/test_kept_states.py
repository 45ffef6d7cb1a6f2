"""Which training states are kept, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import two_stages

from fsr_plugins import config, pipeline
from fsr_plugins.checkpoints import load_state, write_tensors
from fsr_plugins.engine.states import TrainingStates, read_state
from fsr_plugins.errors import UserError


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


@pytest.mark.parametrize('position', [-1, 625, 2**30])
def test_random_numbers_of_a_place_that_is_none_are_refused(states: Path, position: int) -> None:
    file = states / '8.state'
    content = load_state(file)
    name, keys, _, *rest = content['random'][0]['numpy']
    content['random'][0]['numpy'] = (name, keys, position, *rest)
    write_tensors(file, content)
    with pytest.raises(UserError, match=r"is no training state of this toolkit: 'random\.0\.numpy\.2' is wrong"):
        read_state(file)
