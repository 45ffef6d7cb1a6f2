"""Whatever a finished stage has promised must be there, wherever it is used; records that are cut short are named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import two_stages

from fsr_plugins import config, pipeline
from fsr_plugins.cli import main
from fsr_plugins.config import finished
from fsr_plugins.errors import UserError

SET = {
    'made': {
        'model_type': 'SuperResolveModel',
        'train': None,
        'val': None,
        'datasets': {'train': {'use_hflip': False}},
        'path': {'pretrain_network_g': 'stage:first/net_g'},
    },
}


@pytest.fixture(scope='module')
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment that was trained to its end, a stage that makes images among it."""
    folder = tmp_path_factory.mktemp('finished')
    stages = {**two_stages.EXPERIMENT['stages'], **SET}
    two_stages.write(folder, {**two_stages.EXPERIMENT, 'stages': stages})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pipeline.run(config.load('small.yml'))
    return folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a copy of it, moved as it were."""
    folder = tmp_path / 'moved'
    shutil.copytree(trained_once, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return folder


def remove(file: Path) -> None:
    file.unlink()


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def refused(command: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    capsys.readouterr()
    assert main([command, '-opt', 'small.yml', *more]) == 2
    printed = capsys.readouterr()
    assert 'Traceback' not in printed.err
    return printed.out + printed.err


@pytest.mark.parametrize('damage', [remove, flip_a_bit])
@pytest.mark.parametrize('command', ['train', 'test', 'doctor'])
def test_a_result_that_is_gone_or_damaged_is_refused(
    trained: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], command: str
) -> None:
    file = trained / 'experiments/small/second/models/net_g_latest.pth'
    damage(file)
    message = refused(command, capsys)
    assert "Stage 'second' is finished" in message and str(file) in message
    assert f'restore the file, or remove {trained}/experiments/small/second' in message
    assert 'psnr' not in message


def test_a_result_is_looked_at_before_a_later_stage_takes_it(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(trained / 'experiments/small/second')
    checked = pipeline.check

    def check_and_damage(*arguments: Any) -> Any:
        found = checked(*arguments)
        flip_a_bit(trained / 'experiments/small/first/models/net_g_latest.pth')
        return found

    monkeypatch.setattr(pipeline, 'check', check_and_damage)
    assert "Stage 'first' is finished" in refused('train', capsys)
    assert not (trained / 'experiments/small/second').exists()


@pytest.mark.parametrize('name', ['data.mdb', 'manifest.json', ''])
def test_a_set_that_is_gone_or_damaged_is_refused(trained: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    made = trained / 'experiments/small/made/images.lmdb'
    if name == 'data.mdb':
        images = np.memmap(made / name, np.uint8, 'r+')
        images[len(images) // 2 :] ^= 1
        images.flush()
    elif name:
        (made / name).write_text((made / name).read_text()[:40])
    else:
        shutil.rmtree(made)
    message = refused('train', capsys)
    assert "Stage 'made' is finished" in message and str(made) in message


def test_weights_that_are_no_numbers_are_refused_however_whole(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained / 'experiments/small/second/models/net_g_latest.pth'
    content = torch.load(file, weights_only=True)
    content['params_ema']['conv_last.bias'][0] = float('nan')
    torch.save(content, file)
    done = trained / 'experiments/small/second/done.json'
    record = json.loads(done.read_text())
    record['sha256'] = record['networks']['net_g']['sha256'] = finished.file_sha256(file)
    done.write_text(json.dumps(record))
    assert 'holds weights that are NaN or Inf' in refused('test', capsys)


def test_after_a_move_the_summary_names_what_is_there(trained: Path) -> None:
    old = json.loads((trained / 'experiments/small/summary.json').read_text())
    new = pipeline.run(config.load('small.yml'))
    assert new == json.loads((trained / 'experiments/small/summary.json').read_text())
    assert new['validation'] == old['validation']
    for stage in new['stages'].values():
        assert Path(stage['checkpoint']).exists() and Path(stage['checkpoint']).is_relative_to(trained)


@pytest.mark.parametrize('content', ['', '{"iterations": 8, "sec', '[]', '{}', '{"iterations": "8"}', '\x00' * 300])
def test_a_record_cut_short_is_named_and_made_again(trained: Path, content: str) -> None:
    stage = trained / 'experiments/small/second'
    before, log = json.loads((stage / 'done.json').read_text()), (stage / 'metrics.jsonl').read_text()
    (stage / 'done.json').write_text(content)
    with pytest.raises(UserError, match="Stage 'second' is not trained yet"):
        pipeline.evaluate(config.load('small.yml'))
    pipeline.run(config.load('small.yml'))
    after = json.loads((stage / 'done.json').read_text())
    for key in ('iterations', 'sha256', 'validation', 'options'):
        assert after[key] == before[key]
    assert (stage / 'metrics.jsonl').read_text() == log


def test_the_warning_names_the_record(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / 'experiments/small/second/done.json').write_text('{')
    assert main(['train', '-opt', 'small.yml']) == 0
    assert "second/done.json' is damaged (is no JSON)" in capsys.readouterr().out


@pytest.mark.parametrize('cut', ['', '{"iter": 3, "ep', '\x00\x00\n', '[1]\n{"iter": "x"}\n', '\xff\xfe\n'])
def test_lines_of_figures_that_are_damaged_are_left_out(
    trained: Path, capsys: pytest.CaptureFixture[str], cut: str
) -> None:
    stage = trained / 'experiments/small/second'
    (stage / 'done.json').unlink()
    records = stage / 'metrics.jsonl'
    lines = records.read_text()
    records.write_bytes(lines.encode() + cut.encode('latin-1'))
    assert main(['train', '-opt', 'small.yml']) == 0
    assert records.read_text() == lines
    assert ('cannot be read and are left out' in capsys.readouterr().out) is bool(cut)


@pytest.mark.parametrize('keep', [0, 1, 100])
def test_states_cut_short_are_named_and_the_stage_is_begun_anew(
    trained: Path, capsys: pytest.CaptureFixture[str], keep: int
) -> None:
    stage = trained / 'experiments/small/second'
    before = json.loads((stage / 'done.json').read_text())
    (stage / 'done.json').unlink()
    for state in (stage / 'training_states').glob('*.state'):
        state.write_bytes(state.read_bytes()[:keep])
        if keep == 1:
            state.with_suffix('.state.sha256').unlink()
    assert main(['train', '-opt', 'small.yml']) == 0
    printed = capsys.readouterr().out
    assert '8.state' in printed and 'the stage begins anew' in printed
    assert json.loads((stage / 'done.json').read_text())['sha256'] == before['sha256']


def test_a_file_that_is_no_state_is_passed_over(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = trained / 'experiments/small/second'
    (stage / 'done.json').unlink()
    torch.save({'iter': 9}, stage / 'training_states/9.state')
    assert main(['train', '-opt', 'small.yml']) == 0
    printed = capsys.readouterr().out
    assert '9.state is no training state of this toolkit' in printed and 'resumed at iteration 8' in printed
