"""A suite small enough for a test: faces of random blocks, two networks and bicubic."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tiny
import yaml

from fsr_plugins.stores.folder import FolderStore
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face

EDSR = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 2, 'img_range': 1.0,
        'rgb_mean': [0.5, 0.5, 0.5]}  # fmt: skip
EXPERIMENT: dict[str, Any] = {
    'name': 'any',
    'scale': 4,
    'degradation': {'type': 'BicubicDown', 'scale': 4},
    'model_type': 'SupervisedModel',
    'network_g': EDSR,
    'datasets': {
        'train': {'type': 'FaceDataset', 'dataroot_gt': 'elsewhere', 'max_images': 3, 'batch_size_per_gpu': 2},
        'val_other': {'type': 'FaceDataset', 'dataroot_gt': 'elsewhere'},
    },
    'train': {
        'total_iter': 4,
        'optim': {'type': 'Adam', 'lr': 0.001},
        'pixel_opt': {'type': 'L1Loss'},
        'ema_decay': 0.5,
    },
    'val': {'val_freq': 1, 'metrics': {'niqe': {'type': 'NIQE'}}},
    'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
    'stages': {
        'first': {'train': {'total_iter': 2}},
        'second': {'path': {'pretrain_network_g': 'stage:first/net_g'}},
    },
}
SUITE: dict[str, Any] = {
    'name': 'small_suite',
    'title': 'Small <suite>',
    'scale': 2,
    'num_gpu': 0,
    'degradation': {'type': 'BicubicDown', 'scale': 2},
    'train': {'dataroot_gt': 'train.lmdb'},
    'test': {'dataroot_gt': 'test.lmdb', 'batch_size_per_gpu': 4},
    'budget': {'iterations': 6},
    'metrics': {
        'psnr': {'type': 'PSNR'},
        'ssim_y': {'type': 'SSIM', 'test_y_channel': True},
        'lpips': {'type': 'LPIPS', 'weights': 'nowhere.pth', 'optional': True},
    },
    'reference': 'bicubic',
    'curves': {'val_freq': 2, 'number': 3},
    'cost': {'batches': [1, 2], 'repeats': 1},
    'statistics': {'resamples': 200},
    'pictures': {'faces': 2, 'worst': 2, 'details': 1},
    'entries': {
        'bicubic': {'type': 'bicubic'},
        'one': {'opt': 'one.yml', 'title': 'One & only', 'stage': 'first', 'note': 'a <b>note</b>'},
        'two': {'opt': 'one.yml', 'set': {'network_g': {'num_feat': 6}}},
    },
    'papers': {
        'ours': {'table': 'A paper, Table 1', 'protocol': 'other faces', 'differs': 'all of it',
                 'rows': {'theirs': {'entry': 'one', 'figures': {'psnr': '30.10', 'FID': 12}}}},
    },
}  # fmt: skip


def write_suite(folder: Path, **changes: Any) -> Path:
    """The suite with other blocks; one of None is left out."""
    values = {**copy.deepcopy(SUITE), **changes}
    values = {key: block for key, block in values.items() if block is not None}
    return tiny.write_options(folder / 'suite.yml', values)


def fill(folder: Path) -> None:
    """Stores of 6 and 5 faces, an option file and the suite."""
    random = np.random.default_rng(0)
    for name, number in (('train', 6), ('test', 5)):
        (folder / name).mkdir(parents=True)
        for index in range(number):
            blocks = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f'{index}.png'), cv2.resize(blocks, (24, 24)))
        store = FolderStore(folder / name)
        write_lmdb(folder / f'{name}.lmdb', (Face(key, store.image(key)) for key in store.keys), 'raw')
    (folder / 'one.yml').write_text(yaml.safe_dump(EXPERIMENT, sort_keys=False))
    write_suite(folder)
