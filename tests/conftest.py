"""What every test needs: BasicSR mended before anything imports it, one thread, GPU tests only where there is one."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is loaded: several test processes share the machine.
os.environ.setdefault('OMP_NUM_THREADS', '1')

from fsr_plugins import compat  # noqa: F401, I001  before anything of BasicSR

import pytest
import torch
import yaml
from tiny import write_faces


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what is marked ``gpu`` where there is no CUDA device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if 'gpu' in item.keywords:
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


#: A small experiment of two stages, as a user would write it.
EXPERIMENT = {
    'name': 'small',
    'scale': 2,
    'num_gpu': 0,
    'manual_seed': 3,
    'model_type': 'SupervisedModel',
    'degradation': {'type': 'BicubicDown', 'scale': 2},
    'datasets': {
        'train': {
            'name': 'faces', 'type': 'FaceDataset', 'dataroot_gt': 'data/train', 'use_hflip': True,
            'batch_size_per_gpu': 4, 'num_worker_per_gpu': 2,
        },
        'val': {'name': 'held_out', 'type': 'FaceDataset', 'dataroot_gt': 'data/val'},
    },
    'network_g': {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': 2},
    'train': {
        'total_iter': 12, 'ema_decay': 0.9, 'optim': {'type': 'Adam', 'lr': 0.001},
        'scheduler': {'type': 'MultiStepLR', 'milestones': [6], 'gamma': 0.5},
        'pixel_opt': {'type': 'L1Loss'},
    },
    'val': {'val_freq': 6, 'metrics': {'psnr': {'type': 'PSNR'}, 'ssim': {'type': 'SSIM'}}},
    'logger': {'print_freq': 3, 'save_checkpoint_freq': 4, 'use_tb_logger': False},
    'stages': {
        'first': {},
        'second': {'path': {'pretrain_network_g': 'stage:first/net_g'}, 'train': {'total_iter': 8}},
    },
}  # fmt: skip


@pytest.fixture
def experiment_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The option file, in the working directory beside its data (10 images to train on: no multiple of the batch)."""
    monkeypatch.chdir(tmp_path)
    write_faces(tmp_path / 'data/train', 10, 16)
    write_faces(tmp_path / 'data/val', 5, 16)
    file = tmp_path / 'small.yml'
    file.write_text(yaml.safe_dump(EXPERIMENT, sort_keys=False))
    return file
