"""Models that are not this toolkit's in two processes: alike in both, killed, and resumed to the same bits."""

from __future__ import annotations

import copy
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_hosted_models import BLIND, VIDEO, written
from test_processes import WITH_A_FAULT, start

from fsr_plugins.cli import main as fsr

#: At the end each process writes what it has: the weights by module, and its own attributes.
WITH_WEIGHTS = WITH_A_FAULT.replace(
    'sys.exit',
    """
import torch
finish = trainer.Trainer._finish
def leave(self):
    found = finish(self)
    nets = {place: module.state_dict() for place, module in self.model.modules().items()}
    torch.save({'nets': nets, 'own': self.model.own_state()['attributes']}, f'process{rank}.pth')
    return found
trainer.Trainer._finish = leave
sys.exit""",
)
HELD: dict[str, Any] = {
    'name': 'held', 'type': 'PairedImageDataset', 'dataroot_gt': 'held', 'dataroot_lq': 'held_lq',
    'io_backend': {'type': 'disk'},
}  # fmt: skip


def blind_gan(folder: Path) -> Path:
    """Real-ESRGAN's model with its discriminator, its queue and a validation, beside its data."""
    opt: dict[str, Any] = copy.deepcopy(BLIND)
    opt |= {'model_type': 'RealESRGANModel', 'l1_gt_usm': True, 'percep_gt_usm': True, 'gan_gt_usm': False}
    opt['network_d'] = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 4, 'skip_connection': True}
    opt['datasets']['val'] = HELD
    opt['train'] |= {
        'total_iter': 8, 'optim_d': {'type': 'Adam', 'lr': 1e-3}, 'net_d_iters': 1, 'net_d_init_iters': 0,
        'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.1},
    }  # fmt: skip
    opt['val'] = {'val_freq': 4, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}}
    opt['logger'] = {'print_freq': 1, 'save_checkpoint_freq': 4, 'use_tb_logger': False}
    return written(folder, opt, 40)


def buffered(folder: Path) -> Path:
    """A model whose first process alone validates a network that has buffers, by its wrapper: there is no average."""
    opt: dict[str, Any] = copy.deepcopy(BLIND)
    opt['network_g'] = {
        'type': 'SwinIR', 'img_size': 16, 'window_size': 2, 'embed_dim': 8, 'depths': [1], 'num_heads': [2],
        'mlp_ratio': 1, 'upscale': 2, 'upsampler': 'pixelshuffle',
    }  # fmt: skip
    del opt['train']['ema_decay']
    opt['datasets']['val'] = HELD
    opt['val'] = {'val_freq': 1, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}}
    return written(folder, opt, 40)


def video(folder: Path) -> Path:
    """A model whose processes share out the frames of a clip that they validate."""
    opt: dict[str, Any] = copy.deepcopy(VIDEO)
    del opt['train']['ema_decay']
    return written(folder, opt, 16)


def left(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f'process{rank}.pth', weights_only=True) for rank in (0, 1)]


def assert_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for place, tensors in one.items():
        for name, value in tensors.items():
            assert torch.equal(value, other[place][name]), f'{place}.{name}'


def figures_of(folder: Path, name: str, held: str) -> dict[str, float]:
    found = json.loads((folder / f'experiments/{name}/summary.json').read_text(encoding='utf-8'))
    return found['validation'][held]['result']


@pytest.mark.long
def test_killed_and_resumed_in_two_processes_it_ends_bit_for_bit_as_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = blind_gan(tmp_path)
    assert [status for status, _ in start(file, 'none', WITH_WEIGHTS)] == [0, 0]
    whole, figures = left(tmp_path), figures_of(tmp_path, 'blind', 'held')
    assert 5 < figures['psnr'] < 60
    # Alike in both; each has seen images of its own.
    assert {'net_g', 'net_d', 'net_g_ema'} <= whole[0]['nets'].keys()
    assert_alike(whole[0]['nets'], whole[1]['nets'])
    assert not torch.equal(whole[0]['own']['queue_gt'][1], whole[1]['own']['queue_gt'][1])
    (tmp_path / 'experiments').rename(tmp_path / 'whole')

    (status, said), (killed, _) = start(file, 'killed', WITH_WEIGHTS)
    assert (status, killed) == (1, -signal.SIGKILL)
    assert said.startswith('fsr: error: Process 0 has lost another of the 2 of this run')
    assert [status for status, _ in start(file, 'none', WITH_WEIGHTS)] == [0, 0]
    assert 'resumed at iteration 4' in (tmp_path / 'experiments/blind/train/train.log').read_text(encoding='utf-8')
    resumed = left(tmp_path)
    for rank in (0, 1):
        assert_alike(whole[rank]['nets'], resumed[rank]['nets'])
        assert torch.equal(whole[rank]['own']['queue_lr'][1], resumed[rank]['own']['queue_lr'][1])
    assert figures_of(tmp_path, 'blind', 'held') == figures
    written_by_both = torch.load(tmp_path / 'experiments/blind/train/models/net_g_latest.pth', weights_only=True)
    assert_alike({'params': whole[1]['nets']['net_g']}, {'params': written_by_both['params']})


@pytest.mark.long
@pytest.mark.parametrize(('make', 'name', 'held'), [(buffered, 'blind', 'held'), (video, 'video', 'REDS4')])
def test_a_validation_of_two_processes_gives_the_figures_of_one(
    make: Callable[[Path], Path], name: str, held: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = make(tmp_path)
    assert [status for status, _ in start(file, 'none', WITH_WEIGHTS)] == [0, 0]
    both, figures = left(tmp_path), figures_of(tmp_path, name, held)
    assert_alike(both[0]['nets'], both[1]['nets'])
    assert fsr(['test', '-opt', str(file), '--json', 'alone.json']) == 0
    alone = json.loads(Path('alone.json').read_text(encoding='utf-8'))['validation'][held]['result']
    assert figures == pytest.approx(alone, abs=1e-4) and 0 < figures['psnr'] < 60
