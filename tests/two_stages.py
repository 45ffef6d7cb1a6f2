"""A small experiment of two stages, and its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny

#: As a user would write it.
EXPERIMENT: dict[str, Any] = {
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


def write(folder: Path, values: dict[str, Any]) -> Path:
    """Writes the option file, beside its data: 10 images to train on, which is no multiple of the batch."""
    tiny.write_faces(folder / 'data/train', 10, 16)
    tiny.write_faces(folder / 'data/val', 5, 16)
    return tiny.write_options(folder / 'small.yml', values)
