"""What only showed after hours of training, or at the first validation, is found before the first iteration."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
import torch

from fsr_plugins import config, preflight
from fsr_plugins.cli import main
from fsr_plugins.engine import generators
from fsr_plugins.errors import UserError
from fsr_plugins.registry import LOSS_REGISTRY, build_network


@LOSS_REGISTRY.register()
class FoundBeforeTrainingLoss(torch.nn.Module):
    """Compares means, whatever the sizes."""

    def forward(self, sr: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
        return (sr.mean() - gt.mean()).abs()


SWINIR = {
    'type': 'SwinIR', 'upscale': 1, 'in_chans': 3, 'img_size': 16, 'window_size': 8, 'img_range': 1.0, 'depths': [1],
    'embed_dim': 4, 'num_heads': [1], 'mlp_ratio': 1, 'upsampler': '', 'resi_connection': '1conv',
}  # fmt: skip
#: Takes sides that are multiples of four.
RRDB = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 1, 'num_feat': 4, 'num_block': 1, 'num_grow_ch': 2}
RECOGNISER = {'type': 'SphereFace20', 'adapt': 'resize', 'path': 'recogniser.pth'}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    tiny.write_faces(tmp_path / 'faces')
    return tmp_path


def problem(folder: Path, values: dict[str, Any], *overrides: str) -> str:
    """What preflight says of an option file that must not be trained; nothing is written."""
    experiment = config.load(tiny.write_options(folder / 'o.yml', values), overrides)
    state = generators.random_state()
    with pytest.raises(UserError) as caught:
        preflight.check(experiment, dry_steps=True)
    assert torch.equal(state['torch'], generators.random_state()['torch'])
    assert not (folder / 'experiments').exists()
    return str(caught.value)


# ---- schedules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('total', 'scheduler', 'words'),
    [
        (9, '{type: CosineAnnealingRestartLR, periods: [3, 3], restart_weights: [1, 1]}',
         "at iteration 8 of 9, for 'periods' end at 6"),
        (400000, '{type: CosineAnnealingRestartLR, periods: [300000]}', 'at iteration 300002 of 400000'),
        (9, '{type: OneCycleLR, max_lr: 0.1, total_steps: 6}', 'at iteration 8 of 9'),
        (90000, '{type: OneCycleLR, max_lr: 0.1, total_steps: 60000}', 'at iteration 60002 of 90000'),
        (9, '{type: ReduceLROnPlateau}', 'at iteration 2 of 9: '),
        (9, '{type: StepLR, step_size: 0}', 'ZeroDivisionError'),
        (9, '{type: ExponentialLR, gamma: 1.0e300}', 'the learning rate is inf at iteration 3'),
        (9, '{type: MultiStepLR, milestones: [5], gamma: -1.0}', 'the learning rate is -0.0001 at iteration 6'),
    ],
)  # fmt: skip
def test_a_schedule_that_breaks_later(folder: Path, total: int, scheduler: str, words: str) -> None:
    message = problem(folder, tiny.options(), f'train.total_iter={total}', f'train.scheduler={scheduler}')
    assert "key 'train.scheduler': " in message
    assert words in message
    assert '--set train.scheduler' in message


@pytest.mark.parametrize(
    'optim', ['{type: Adamax, betas: [2, 0.9]}', '{type: SGD, lr: 1.0e300}', '{type: SparseAdam}', '{type: Muon}']
)
def test_an_optimiser_that_cannot_work(folder: Path, optim: str) -> None:
    if 'Muon' in optim and not hasattr(torch.optim, 'Muon'):
        pytest.skip('this torch has no Muon, which takes matrices alone')
    assert "key 'train.optim_g': " in problem(folder, tiny.options(), f'train.optim_g={optim}')


@pytest.mark.parametrize(
    ('name', 'words'),
    [('LBFGS', "'LBFGS': LBFGS works out the loss anew"), ('LBFG', "'LBFG': torch.optim has no optimiser 'LBFG'.")],
)
def test_an_optimiser_that_needs_the_loss_is_not_taken_nor_proposed(folder: Path, name: str, words: str) -> None:
    path = tiny.write_options(folder / 'o.yml', tiny.options())
    with pytest.raises(UserError) as caught:
        config.load(path, [f'train.optim_g={{type: {name}}}'])
    assert f"key 'train.optim_g.type' is {words}" in str(caught.value) and "mean 'LBFGS'" not in str(caught.value)


@pytest.mark.parametrize('scheduler', ['{type: MultiStepLR, milestones: [200000, 350000], gamma: 0.5}',
                                       '{type: CosineAnnealingRestartLR, periods: [400000]}',
                                       '{type: CosineAnnealingLR, T_max: 400000}',
                                       '{type: OneCycleLR, max_lr: 0.1, total_steps: 400000}',
                                       '{type: CosineAnnealingWarmRestarts, T_0: 5000}',
                                       '{type: PolynomialLR, total_iters: 300000, power: 2.0}',
                                       '{type: LinearLR, total_iters: 5000}',
                                       '{type: CyclicLR, base_lr: 1, max_lr: 2, cycle_momentum: false}'])  # fmt: skip
def test_long_schedules_that_are_right(folder: Path, scheduler: str) -> None:
    overrides = [f'train.scheduler={scheduler}', 'train.total_iter=400000', 'train.warmup_iter=2000']
    experiment = config.load(tiny.write_options(folder / 'o.yml', tiny.options()), overrides)
    found = preflight.inspect(experiment, dry_steps=True)
    assert not found.errors
    assert [finding.level for finding in found.findings if finding.check == 'schedule'] == ['ok']


# ---- validation ------------------------------------------------------------------------------------------------------


def test_images_that_a_network_cannot_take(folder: Path) -> None:
    tiny.write_faces(folder / 'small', 3, 3)
    values = {**tiny.options(), 'scale': 1, 'degradation': {'type': 'BicubicDown', 'scale': 1}, 'network_g': RRDB}
    message = problem(folder, values, 'datasets.val.dataroot_gt=small')
    assert "key 'datasets.val': validation on the set 'held' fails (AssertionError in " in message


def test_a_metric_that_the_whole_set_cannot_give(folder: Path) -> None:
    pair = 'fold,first,second,same\n0,a,b,1\n1,a,c,0\n'
    (folder / 'pairs.csv').write_text(pair)
    torch.save({'params': build_network({'type': 'SphereFace20'}).state_dict()}, folder / 'recogniser.pth')
    metric = {'type': 'Verification', 'recogniser': RECOGNISER, 'pairs': 'pairs.csv'}
    message = problem(folder, tiny.options(), f'val.metrics.same={json.dumps(metric)}')
    assert "'held' fails: The metric 'verification' can compare none of 2 pairs, such as 'a' and 'b'" in message


def test_a_few_sizes_of_a_set_are_tried(folder: Path) -> None:
    for size in (16, 20, 24, 28, 200):
        cv2.imwrite(str(folder / 'faces' / f'of_{size}.png'), np.zeros((size, size, 3), np.uint8))
    message = problem(folder, tiny.options(), 'datasets.val.dataroot_gt=faces', 'val.metrics.psnr.crop_border=10')
    assert 'needs 1 px inside a border of 10 px, and the images have 16×16' in message


@pytest.mark.parametrize('border', [1000, -3])
def test_a_border_that_leaves_nothing(folder: Path, border: int) -> None:
    message = problem(folder, tiny.options(), f'val.metrics.psnr.crop_border={border}')
    assert "'held' fails: " in message
    assert 'border' in message


@pytest.mark.parametrize('more', [{}, {'align': 'landmarks', 'pairs': 'pairs.txt'}])
def test_a_metric_without_its_view(folder: Path, more: dict[str, Any]) -> None:
    net = build_network({key: value for key, value in RECOGNISER.items() if key != 'path'})
    torch.save({'params': net.state_dict()}, folder / 'recogniser.pth')
    (folder / 'pairs.txt').write_text('2\t1\na\t1\t2\na\t1\tb\t1\na\t1\t2\na\t1\tb\t1\n')
    values = tiny.options()
    values['val']['metrics']['same'] = {'type': 'Verification', 'recogniser': RECOGNISER, **more}
    message = problem(folder, values)
    assert "validation on the set 'held' fails: " in message
    assert ('views: [identity]' if not more else 'landmarks') in message


def test_too_few_images_for_a_figure_are_no_mistake(folder: Path) -> None:
    """Two images are no distribution: what is tried is that a batch can be measured."""
    experiment = config.load(tiny.write_options(folder / 'o.yml', tiny.options()), ['datasets.val.max_images=1'])
    assert not preflight.inspect(experiment, dry_steps=True).errors


# ---- scale -----------------------------------------------------------------------------------------------------------


def test_scale_beside_that_of_the_degradation(folder: Path) -> None:
    message = problem(folder, tiny.options(), 'scale=2')
    assert "o.yml:7 and --set scale=2: key 'degradation.scale' is 4 and 'scale' of stage 'train' is 2: " in message


def test_what_the_command_line_gives_is_no_line_of_the_file(folder: Path) -> None:
    given = 'datasets.val.dataroot_gt=/nowhere'
    message = problem(folder, tiny.options(), given)
    assert re.match(rf"\S*o\.yml:\d+ with --set {given}: key 'datasets\.val': The data folder '/nowhere'", message)
    message = problem(folder, tiny.options(), 'path.pretrain_network_g=/nowhere.pth')
    assert message.startswith('--set path.pretrain_network_g=/nowhere.pth: key ')


@pytest.mark.parametrize('loss', ['L1Loss', 'FoundBeforeTrainingLoss'])
@pytest.mark.parametrize('model', ['SupervisedModel', 'GANModel'])
@pytest.mark.parametrize('val', [tiny.options()['val'], None])
def test_a_network_of_another_scale(
    folder: Path, val: dict[str, Any] | None, model: str, loss: str, recwarn: pytest.WarningsRecorder
) -> None:
    """Before a loss is taken, which warns of other sizes or, comparing means only, does not notice them."""
    values = {**tiny.options(), 'val': val, 'model_type': model}
    values['network_g']['upscale'] = 2
    values['train']['pixel_opt'] = {'type': loss}
    message = problem(folder, values)
    assert "o.yml:18: key 'network_g': net_g makes 2 times larger images (8×8 of 4×4), and 'scale' is 4: " in message
    assert not [warning for warning in recwarn if 'target size' in str(warning.message)]


def test_wandb_that_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'wandb' else there(name))
    values = tiny.options()
    values['logger']['use_tb_logger'] = True
    message = problem(folder, values, 'logger.wandb={project: x}')
    assert "key 'logger.wandb' needs the package 'wandb': pip install fsr_plugins[wandb]" in message


# ---- what BasicSR's own classes raise --------------------------------------------------------------------------------


@pytest.mark.parametrize('command', ['doctor', 'train'])
def test_a_missing_folder_of_basicsr(folder: Path, command: str, capfd: pytest.CaptureFixture[str]) -> None:
    values = tiny.options()
    values['datasets']['train'] = {
        'type': 'RealESRGANPairedDataset', 'dataroot_gt': 'nowhere', 'dataroot_lq': 'neither',
        'io_backend': {'type': 'disk'}, 'gt_size': 16, 'use_hflip': True, 'use_rot': False, 'batch_size_per_gpu': 2,
    }  # fmt: skip
    file = tiny.write_options(folder / 'o.yml', values)
    assert main([command, '-opt', str(file)]) == 2
    out, err = capfd.readouterr()
    assert "o.yml:9: key 'datasets.train': the set 'train' cannot be built: " in out + err
    assert 'Traceback' not in out + err


@pytest.mark.parametrize('command', ['doctor', 'train'])
def test_a_missing_file_of_basicsr(folder: Path, command: str, capfd: pytest.CaptureFixture[str]) -> None:
    values = tiny.options()
    values['network_g'] = {'type': 'SpyNet', 'load_path': 'nowhere.pth'}
    file = tiny.write_options(folder / 'o.yml', values)
    assert main([command, '-opt', str(file)]) == 2
    out, err = capfd.readouterr()
    assert "key 'network_g' cannot be built: " in out + err
    assert 'nowhere.pth' in out + err
    assert 'Traceback' not in out + err


@pytest.mark.parametrize('line', ['a.png', '', 'a.png, b.png, c.png'])
def test_a_list_of_pairs_of_basicsr_with_no_pair_in_a_line(folder: Path, line: str) -> None:
    (folder / 'pairs.txt').write_text(f'0.png, 1.png\n{line}\n2.png, 3.png\n')
    block = {
        'type': 'RealESRGANPairedDataset', 'dataroot_gt': 'faces', 'dataroot_lq': 'faces', 'meta_info': 'pairs.txt',
        'io_backend': {'type': 'disk'}, 'gt_size': 16, 'use_hflip': True, 'use_rot': False, 'batch_size_per_gpu': 2,
    }  # fmt: skip
    values = tiny.options()
    values['datasets']['train'] = block
    message = problem(folder, values)
    assert f"The list 'pairs.txt' of 'meta_info', line 2: this is {line!r}, no pair of HR and LR" in message


# ---- training states -------------------------------------------------------------------------------------------------


def test_weights_are_no_training_state(folder: Path) -> None:
    torch.save({'params': build_network(tiny.EDSR).state_dict()}, folder / 'net.pth')
    message = problem(folder, tiny.options(), 'path.resume_state=net.pth')
    assert "net.pth is no training state of this toolkit, but a network's weights." in message
    assert "'path.pretrain_network_<x>'" in message
    torch.save({'what': torch.ones(1)}, folder / 'what.pth')
    message = problem(folder, tiny.options(), 'path.resume_state=what.pth')
    assert "what.pth is no training state of this toolkit: it lacks 'iter'." in message


# ---- networks that no machine holds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(('change', 'words'), [('num_feat=1000000', 'GB of memory that are free'),
                                               ('num_block=1000000', 'it has more than 20000 parts')])  # fmt: skip
def test_a_network_that_no_machine_holds(folder: Path, change: str, words: str) -> None:
    message = problem(folder, tiny.options(), f'network_g.{change}')
    assert f"o.yml:18 with --set network_g.{change}: key 'network_g' cannot be built: " in message
    assert words in message


def test_a_network_that_cannot_be_measured_before(folder: Path) -> None:
    """SwinIR looks at its numbers while it is built."""
    values = {**tiny.options(), 'scale': 1, 'degradation': {'type': 'BicubicDown', 'scale': 1}, 'network_g': SWINIR}
    experiment = config.load(tiny.write_options(folder / 'o.yml', values), [])
    assert not preflight.inspect(experiment, dry_steps=True).errors
