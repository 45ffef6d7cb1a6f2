"""``auto`` of precision, layout and compilation: what is fastest is measured once, obeyed, kept and said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch

from fsr_plugins.atomic import cache_folder
from fsr_plugins.checkpoints import META, PARAMS, load_state
from fsr_plugins.cli import main
from fsr_plugins.config.settings import MEASURED
from fsr_plugins.engine import tuning
from fsr_plugins.engine.tuning import candidates, fastest

CPU = torch.device('cpu')
ALL_AUTO = dict.fromkeys(MEASURED, 'auto')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with faces; nothing is known of this machine yet, which has instructions for bf16."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(tuning, 'computes_bf16', lambda device: True)
    tiny.write_faces(tmp_path / 'faces')
    return tmp_path


def measures(monkeypatch: pytest.MonkeyPatch, fastest_way: dict[str, object]) -> list[dict[str, object]]:
    """Has a measurement find this way the fastest; gives the ways that are tried."""
    tried: list[dict[str, object]] = []

    def seconds(opt: dict[str, object], batch: object) -> float:
        tried.append({key: opt[key] for key in MEASURED if key in opt})
        return 0.5 if fastest_way.items() <= opt.items() else 1.0

    monkeypatch.setattr(tuning, '_seconds_a_step', seconds)
    return tried


def train(folder: Path, **options: object) -> tuple[int, Path]:
    file = tiny.write_options(folder / 'tiny.yml', tiny.options() | options)
    return main(['train', '-opt', str(file)]), folder / 'experiments' / 'tiny' / 'train'


def test_a_plainer_way_is_left_only_for_a_clear_gain() -> None:
    assert fastest([1.0, 0.97, 0.96]) == 0
    assert fastest([1.0, 0.9, 0.88]) == 1
    assert fastest([1.0, 0.9, 0.5, float('inf')]) == 2
    assert fastest([float('inf'), 2.0]) == 1


def test_without_fast_bf16_none_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, 'computes_bf16', lambda device: False)
    assert candidates(['precision'], CPU) == [{'precision': 'fp32'}]
    assert [way['channels_last'] for way in candidates(list(MEASURED), CPU)] == [False, True]
    assert all(way['precision'] == 'fp32' and way['compile'] is False for way in candidates(list(MEASURED), CPU))


def test_the_fastest_is_obeyed_said_and_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    way = {'precision': 'bf16', 'channels_last': True, 'compile': False}
    tried = measures(monkeypatch, way)
    status, stage = train(folder, **ALL_AUTO)
    said = capsys.readouterr().out
    assert status == 0 and len(tried) == 4
    assert 'Taken: precision bf16, channels_last true, compile false' in said and 'on cpu in bf16' in said
    assert load_state(stage / 'models' / 'net_g_latest.pth')[META]['computed'] == way
    assert load_state(next((stage / 'training_states').glob('*.state')))['way'] == way
    assert list(json.loads((cache_folder() / 'training.json').read_bytes()).values()) == [way]


def test_it_is_measured_once_a_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = measures(monkeypatch, {'channels_last': True})
    for name in ('one', 'two'):
        assert train(folder, name=name, channels_last='auto')[0] == 0
    assert len(tried) == 2
    assert train(folder, name='three', channels_last='auto', network_g={**tiny.EDSR, 'num_feat': 5})[0] == 0
    assert len(tried) == 4
    # What this version cannot train in some way, the next may.
    monkeypatch.setattr(tuning, '__version__', '9.9')
    assert train(folder, name='four', channels_last='auto')[0] == 0
    assert len(tried) == 6


def test_a_resumed_training_keeps_what_it_began_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measures(monkeypatch, {'precision': 'bf16'})
    assert train(folder, precision='auto')[0] == 0
    (cache_folder() / 'training.json').unlink()
    tried = measures(monkeypatch, {'precision': 'fp32'})
    longer = tiny.options()['train'] | {'total_iter': 6}
    status, stage = train(folder, precision='auto', train=longer)
    assert status == 0 and not tried
    found = load_state(stage / 'models' / 'net_g_latest.pth')[META]
    assert found['computed']['precision'] == 'bf16' and found['iteration'] == 6


def test_what_was_measured_and_what_is_named_train_alike(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, 'computes_bf16', lambda device: False)
    weights = []
    # Measured in earnest: neither layout is faster by much, and the faces are drawn anew by each step.
    status, stage = train(folder, name='measured', channels_last='auto', precision='auto')
    found = load_state(folder / 'experiments' / 'measured' / 'train' / 'models' / 'net_g_latest.pth')
    computed = found[META]['computed']
    assert status == 0 and computed['precision'] == 'fp32' and computed['channels_last'] in (False, True)
    weights.append(found[PARAMS])
    assert train(folder, name='named', channels_last=computed['channels_last'])[0] == 0
    weights.append(load_state(folder / 'experiments' / 'named' / 'train' / 'models' / 'net_g_latest.pth')[PARAMS])
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_way_that_trains_no_step_is_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    endless = tiny.options()['train'] | {'pixel_opt': {'type': 'L1Loss', 'loss_weight': float('inf')}}
    ways = [{'channels_last': False}, {'channels_last': True, 'train': endless}]
    monkeypatch.setattr(tuning, 'candidates', lambda keys, device: ways)
    status, _ = train(folder, channels_last='auto')
    assert status == 0 and 'Not taken, channels_last true' in capsys.readouterr().out
