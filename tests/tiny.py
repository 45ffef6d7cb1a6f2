"""A supervised experiment small enough for a test: options, and faces of random pixels."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

EDSR = {
    'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 4, 'img_range': 1.0,
    'rgb_mean': [0.5, 0.5, 0.5],
}  # fmt: skip


def options(faces: Path | str = 'faces') -> dict[str, Any]:
    """A complete experiment of one stage on the CPU; to be changed as a test likes."""
    return {
        'name': 'tiny',
        'scale': 4,
        'num_gpu': 0,
        'model_type': 'SupervisedModel',
        'degradation': {'type': 'BicubicDown', 'scale': 4},
        'datasets': {
            'train': {'type': 'FaceDataset', 'dataroot_gt': str(faces), 'gt_size': 16, 'batch_size_per_gpu': 2},
            'val': {'name': 'held', 'type': 'FaceDataset', 'dataroot_gt': str(faces)},
        },
        'network_g': copy.deepcopy(EDSR),
        'train': {
            'total_iter': 4,
            'optim_g': {'type': 'Adam', 'lr': 1e-4, 'betas': [0.9, 0.99]},
            'pixel_opt': {'type': 'L1Loss'},
        },
        'val': {'val_freq': 2, 'metrics': {'psnr': {'type': 'PSNR'}}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
    }  # fmt: skip


def stage(train: dict[str, Any], **blocks: Any) -> dict[str, Any]:
    """Options of a stage as a model gets them, without data; a block of None is left out."""
    opt = {
        'name': 'test',
        'is_train': True,
        'num_gpu': 0,
        'dist': False,
        'scale': 4,
        'path': {},
        'degradation': {'type': 'BicubicDown', 'scale': 4},
        'train': {'total_iter': 2, **train},
    }
    return {key: block for key, block in {**opt, **blocks}.items() if block is not None}


def write_options(file: Path, values: dict[str, Any]) -> Path:
    """Writes an option file and returns its path."""
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding='utf-8')
    return file


def write_faces(folder: Path, number: int = 5, size: int = 24) -> Path:
    """Writes PNG images ``0.png``, ``1.png`` … and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for index in range(number):
        cv2.imwrite(str(folder / f'{index}.png'), generator.integers(0, 256, (size, size, 3), dtype=np.uint8))
    return folder


def networks_of(model: Any) -> dict[str, Any]:
    """What a model's evaluation compares, by name."""
    return model.evaluation.networks(model)


def replace_loss(model: Any, key: str, loss: Any) -> None:
    """Puts a test's own loss in the place of the one of ``train.<key>``."""
    model.losses._modules[key] = loss
