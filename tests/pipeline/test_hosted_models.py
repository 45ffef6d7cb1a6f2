"""BasicSR's own models, and those of packages, from an option file to a checkpoint."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fsr_plugins import config, load, pipeline
from fsr_plugins.cli import main as fsr

sys.path.insert(0, str(Path(__file__).parents[2] / 'scripts'))

from recipe_data import make_set

LOGGER = {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False}
VIDEO: dict[str, Any] = {
    'name': 'video', 'model_type': 'EDVRModel', 'scale': 4, 'num_gpu': 0, 'manual_seed': 10,
    'datasets': {
        'train': {
            'name': 'REDS', 'type': 'REDSDataset', 'dataroot_gt': 'HR', 'dataroot_lq': 'LR', 'dataroot_flow': None,
            'meta_info_file': 'train.txt', 'val_partition': 'REDS4', 'io_backend': {'type': 'disk'}, 'num_frame': 3,
            'gt_size': 32, 'interval_list': [1], 'random_reverse': True, 'use_hflip': True, 'use_rot': True,
            'num_worker_per_gpu': 1, 'batch_size_per_gpu': 2, 'dataset_enlarge_ratio': 200,
        },
        'val': {
            'name': 'REDS4', 'type': 'VideoTestDataset', 'dataroot_gt': 'HR', 'dataroot_lq': 'LR',
            'meta_info_file': 'val.txt', 'io_backend': {'type': 'disk'}, 'cache_data': False, 'num_frame': 3,
            'padding': 'reflection_circle',
        },
    },
    'network_g': {
        'type': 'EDVR', 'num_feat': 4, 'num_frame': 3, 'deformable_groups': 2, 'num_extract_block': 1,
        'num_reconstruct_block': 1, 'with_tsa': False,
    },
    'path': {'pretrain_network_g': None, 'strict_load_g': False, 'resume_state': None},
    'train': {
        'ema_decay': 0.9, 'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'dcn_lr_mul': 0.5, 'total_iter': 2,
        'scheduler': {'type': 'MultiStepLR', 'milestones': [50]}, 'pixel_opt': {'type': 'CharbonnierLoss'},
    },
    'val': {'val_freq': 2, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
    'logger': LOGGER,
}  # fmt: skip
#: Those of Real-ESRGAN's degradations.
ORDERS = {
    'resize_prob': [0.2, 0.7, 0.1], 'resize_range': [0.5, 1.5], 'gaussian_noise_prob': 0.5, 'noise_range': [1, 30],
    'poisson_scale_range': [0.05, 3], 'gray_noise_prob': 0.4, 'jpeg_range': [30, 95], 'second_blur_prob': 0.8,
    'resize_prob2': [0.3, 0.4, 0.3], 'resize_range2': [0.5, 1.2], 'gaussian_noise_prob2': 0.5, 'noise_range2': [1, 25],
    'poisson_scale_range2': [0.05, 2.5], 'gray_noise_prob2': 0.4, 'jpeg_range2': [30, 95], 'gt_size': 32,
}  # fmt: skip
KERNELS = {
    'blur_kernel_size': 21, 'kernel_list': ['iso', 'aniso'], 'kernel_prob': [0.5, 0.5], 'sinc_prob': 0.1,
    'blur_sigma': [0.2, 3], 'betag_range': [0.5, 4], 'betap_range': [1, 2], 'blur_kernel_size2': 21,
    'kernel_list2': ['iso', 'aniso'], 'kernel_prob2': [0.5, 0.5], 'sinc_prob2': 0.1, 'blur_sigma2': [0.2, 1.5],
    'betag_range2': [0.5, 4], 'betap_range2': [1, 2], 'final_sinc_prob': 0.8,
}  # fmt: skip
BLIND: dict[str, Any] = {
    'name': 'blind', 'model_type': 'RealESRNetModel', 'scale': 2, 'num_gpu': 0, 'gt_usm': True, 'queue_size': 4,
    **ORDERS,
    'datasets': {
        'train': {
            'name': 'list', 'type': 'RealESRGANDataset', 'dataroot_gt': 'HR', 'meta_info': 'list.txt',
            'io_backend': {'type': 'disk'}, **KERNELS, 'gt_size': 32, 'use_hflip': True, 'use_rot': False,
            'num_worker_per_gpu': 0, 'batch_size_per_gpu': 2,
        },
    },
    'network_g': {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 2, 'num_feat': 4, 'num_block': 1,
                  'num_grow_ch': 2},
    'train': {
        'ema_decay': 0.9, 'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'total_iter': 3, 'warmup_iter': -1,
        'scheduler': {'type': 'MultiStepLR', 'milestones': [50]}, 'pixel_opt': {'type': 'L1Loss'},
    },
    'logger': LOGGER,
}  # fmt: skip


def written(folder: Path, opt: dict[str, Any], side: int) -> Path:
    """The option file, beside its data."""
    for phase, block in opt['datasets'].items():
        make_set(block, phase, opt, side, folder)
    file = folder / 'options.yml'
    file.write_text(yaml.safe_dump(opt), encoding='utf-8')
    return file


def test_basicsrs_video_model_trains_validates_and_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, VIDEO, 16)
    summary = pipeline.run(config.load(file))
    psnr = summary['validation']['REDS4']['result']['psnr']
    assert 5 < psnr < 60
    content = torch.load(summary['stages']['train']['checkpoint'], weights_only=True)
    assert set(content) == {'params', 'params_ema', 'meta'} and content['meta']['arch']['type'] == 'EDVR'
    assert not torch.equal(content['params']['conv_last.weight'], content['params_ema']['conv_last.weight'])
    net = load(summary['stages']['train']['checkpoint'])
    assert type(net).__name__ == 'EDVR'
    capsys.readouterr()
    assert fsr(['test', '-opt', str(file), '--json', 'again.json']) == 0
    again = yaml.safe_load(Path('again.json').read_text(encoding='utf-8'))
    assert again['validation']['REDS4']['result']['psnr'] == pytest.approx(psnr, abs=1e-6)


@pytest.mark.long
def test_real_esrgans_queue_is_in_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['fsr'])
    file = written(tmp_path, BLIND, 40)
    pipeline.run(config.load(file))
    state = torch.load(tmp_path / 'experiments/blind/train/training_states/3.state', weights_only=True)
    kept = state['own'][0]['attributes']
    assert kept['queue_lr'][1].shape == (4, 3, 16, 16) and kept['queue_ptr'] == ('plain', 4)
    assert set(state['model']['nets']) == {'net_g', 'net_g_ema', 'cri_pix', 'jpeger', 'usm_sharpener'}


@pytest.mark.parametrize('package', ['realesrgan', 'gfpgan'])
def test_models_of_packages_are_hosted(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f'needs the package {package}')
    from fsr_plugins.models import HostedModel
    from fsr_plugins.registry import load_plugins, lookup

    load_plugins({package: 'here'})
    name = {'realesrgan': 'RealESRGANModel', 'gfpgan': 'GFPGANModel'}[package]
    assert issubclass(lookup('models', name), HostedModel)
    assert lookup('models', name).hosts.__module__.startswith(package)
