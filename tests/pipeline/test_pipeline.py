"""Whole runs: stages handed on, skipped, resumed bit for bit, on two processes, refused when changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

import fsr_plugins
from fsr_plugins import config, pipeline
from fsr_plugins.engine import report
from fsr_plugins.errors import UserError

TRAIN = str(Path(fsr_plugins.__file__).parent / 'train.py')


def command(file: Path, *extra: str) -> list[str]:
    return [sys.executable, TRAIN, '-opt', str(file), *extra]


def environment() -> dict[str, str]:
    return {**os.environ, 'OMP_NUM_THREADS': '1'}


def run_to_end(file: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(file, *extra), capture_output=True, text=True, env=environment(), timeout=300)


def newest_state(folder: Path) -> dict[str, Any]:
    file = max((folder / 'training_states').glob('*.state'), key=lambda path: int(path.stem))
    return torch.load(file, weights_only=True)


def assert_equal(one: Any, other: Any, where: str = 'state') -> None:
    """Bit for bit, nested dicts and lists included; the time a run took and the names of things are left out."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if key not in ('seconds', 'inputs'):
                assert_equal(one[key], other[key], f'{where}.{key}')
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f'{where}[{index}]')
    else:
        assert one == other, where


def test_a_run_leaves_what_it_promises_and_is_skipped_when_done(experiment_file: Path) -> None:
    summary = pipeline.run(config.load(experiment_file))
    folder = experiment_file.parent / 'experiments/small'
    assert json.loads((folder / 'summary.json').read_text()) == summary
    assert list(summary['stages']) == ['first', 'second']
    assert summary['stages']['second']['iterations'] == 8
    assert set(summary['validation']['held_out']) == {'bicubic', 'result', 'first', 'second'}
    assert set(summary['validation']['held_out']['result']) == {'psnr', 'ssim'}
    listed = (folder / 'second/images/gt.txt').read_text().splitlines()
    assert listed == sorted(path.stem for path in (folder.parents[1] / 'data/train').iterdir())
    picture = cv2.imread(str(folder / 'comparison.png'))
    assert picture.shape[0] == 4 * (128 + report.GAP)
    handed_on = torch.load(summary['stages']['first']['checkpoint'], weights_only=True)['params']
    stage_two = newest_state(folder / 'second')
    assert stage_two['iter'] == 8
    assert not torch.equal(handed_on['conv_first.weight'], stage_two['model']['nets']['net_g']['conv_first.weight'])
    written = {path: path.stat().st_mtime_ns for path in folder.glob('*/models/*.pth')}
    assert pipeline.run(config.load(experiment_file)) == summary
    assert written == {path: path.stat().st_mtime_ns for path in folder.glob('*/models/*.pth')}


def test_a_checkpoint_alone_gives_the_network(experiment_file: Path) -> None:
    summary = pipeline.run(config.load(experiment_file, ['train.total_iter=2']))
    net = fsr_plugins.load(summary['stages']['second']['checkpoint'])
    content = torch.load(summary['stages']['second']['checkpoint'], weights_only=True)
    assert torch.equal(net.conv_first.weight, content['params_ema']['conv_first.weight'])
    assert net(torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)
    assert net.meta['scale'] == 2
    said = {
        name: [(facts['kind'], facts['count']) for facts in stores] for name, stores in net.meta['manifests'].items()
    }
    assert said == {'train': [('folder', 10)], 'val': [('folder', 5)]}


def test_killed_at_any_moment_it_ends_in_the_same_weights(experiment_file: Path, tmp_path: Path) -> None:
    whole = run_to_end(experiment_file, '--set', 'name=whole')
    assert whole.returncode == 0, whole.stderr
    killed = 0
    for _ in range(4):
        process = subprocess.Popen(command(experiment_file, '--set', 'name=killed'), stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, env=environment())  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if killed < 3 and f'{("first 6", "second 3", "second 6")[killed]}/' in line:
                process.kill()
                killed += 1
                break
        process.stdout.read()
        if process.wait() == 0:
            break
    assert killed == 3
    for stage in ('first', 'second'):
        one, other = (tmp_path / 'experiments' / name / stage for name in ('whole', 'killed'))
        assert_equal(newest_state(one), newest_state(other))
        assert (one / 'metrics.jsonl').read_text() == (other / 'metrics.jsonl').read_text()
    summaries = [
        json.loads((tmp_path / f'experiments/{name}/summary.json').read_text()) for name in ('whole', 'killed')
    ]
    assert summaries[0]['validation'] == summaries[1]['validation']


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_asked_to_stop_it_saves_and_says_how_to_go_on(experiment_file: Path, number: signal.Signals) -> None:
    keys = ('train.total_iter', 'val.val_freq', 'logger.save_checkpoint_freq')
    endless = [word for key in keys for word in ('--set', f'{key}=100000')]
    arguments = command(experiment_file, *endless)
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    for line in process.stdout:
        if '30/' in line:
            process.send_signal(number)
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert 'Give the same command again to go on' in errors
    assert 'Traceback' not in errors
    assert newest_state(experiment_file.parent / 'experiments/small/first')['iter'] >= 30


SLOW_LOSS = """
import time
from torch import nn
from fsr_plugins.registry import LOSS_REGISTRY

@LOSS_REGISTRY.register()
class SlowLoss(nn.Module):
    def forward(self, sr, gt):
        time.sleep(1)
        return (sr - gt).abs().mean()
"""


@pytest.mark.long
def test_ctrl_c_again_ends_it_at_once_and_says_so(experiment_file: Path, tmp_path: Path) -> None:
    (tmp_path / 'slow_loss.py').write_text(SLOW_LOSS)
    changes = ['train.total_iter=9', 'train.pixel_opt={type: SlowLoss}', 'plugins=[slow_loss]', 'logger.print_freq=1']
    arguments = command(experiment_file, *(word for change in changes for word in ('--set', change)))
    paths = {**environment(), 'PYTHONPATH': f'{tmp_path}{os.pathsep}{environment().get("PYTHONPATH", "")}'}
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=paths)
    assert process.stdout is not None
    for line in process.stdout:
        if '3/9' in line:
            break
    for _ in range(3):
        time.sleep(0.2)  # an iteration takes a second, and the next one has begun
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert errors.startswith('fsr: error: ended at once by Ctrl-C, without saving') and len(errors.splitlines()) == 1


def test_a_damaged_newest_state_is_reported_and_the_one_before_used(experiment_file: Path) -> None:
    experiment = config.load(experiment_file)
    pipeline.run(experiment)
    folder = experiment.folder / 'second'
    before = newest_state(folder)
    (folder / 'done.json').unlink()
    state = folder / 'training_states/8.state'
    state.write_bytes(state.read_bytes()[:-200])
    pipeline.run(experiment)
    assert '8.state is damaged' in (folder / 'train.log').read_text()
    assert_equal(before, newest_state(folder))


def test_two_processes_give_the_single_process_figures(experiment_file: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', TRAIN]
    arguments = ['-opt', str(experiment_file), '--launcher', 'pytorch', '--set', 'name=two']
    finished = subprocess.run([*torchrun, *arguments], capture_output=True, text=True, env=environment(), timeout=300)
    assert finished.returncode == 0, finished.stderr[-3000:]
    two = json.loads((tmp_path / 'experiments/two/summary.json').read_text())
    experiment = config.load(experiment_file, ['name=two'])
    alone = pipeline.evaluate(experiment)
    # 5 images on 2 ranks: one has 3, the other 2.
    for net, figures in alone['validation']['held_out'].items():
        assert figures == pytest.approx(two['validation']['held_out'][net], abs=1e-6)


def test_changed_options_are_refused_by_name(experiment_file: Path) -> None:
    pipeline.run(config.load(experiment_file))
    with pytest.raises(UserError, match=r"Stage 'first' is finished with other options.*train\.ema_decay"):
        pipeline.run(config.load(experiment_file, ['stages.first.train.ema_decay=0.5']))
    # What does not change the result may change.
    pipeline.run(config.load(experiment_file, ['logger.print_freq=1', 'datasets.train.num_worker_per_gpu=0']))


def test_evaluate_gives_the_last_figures_again(experiment_file: Path) -> None:
    experiment = config.load(experiment_file)
    with pytest.raises(UserError, match='not trained yet'):
        pipeline.evaluate(experiment)
    summary = pipeline.run(experiment)
    again = pipeline.evaluate(experiment)
    assert set(again['validation']['held_out']) == {'bicubic', 'result'}
    for net, figures in again['validation']['held_out'].items():
        assert summary['validation']['held_out'][net] == pytest.approx(figures, abs=1e-6)


def test_a_nan_loss_stops_with_its_name(experiment_file: Path) -> None:
    finished = run_to_end(experiment_file, '--set', 'train.optim.lr=1e38', '--set', 'train.optim.type=SGD')
    assert finished.returncode == 1
    assert 'The loss l_pix is' in finished.stderr and '.png' not in finished.stderr.split('batch:')[0]
    assert 'Traceback' not in finished.stderr
