"""A suite with an entry that a model of BasicSR's kind trains: hosted, then judged as every other."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from tiny_suite import EDSR, write_suite

import fsr_plugins
from fsr_plugins.cli import main
from fsr_plugins.degradations.bicubic import imresize
from fsr_plugins.stores.folder import FolderStore

HOSTED: dict[str, Any] = {
    'name': 'queue', 'scale': 4, 'num_gpu': 0, 'model_type': 'QueueModel', 'plugins': ['own_hosted'],
    'datasets': {
        'train': {'type': 'CutAtRandom', 'dataroot_gt': 'elsewhere', 'batch_size_per_gpu': 2},
        'val': {'name': 'held', 'type': 'CutAtRandom', 'dataroot_gt': 'elsewhere'},
    },
    'network_g': {**EDSR, 'upscale': 4},
    'train': {'total_iter': 4, 'scheduler': {'type': 'MultiStepLR', 'milestones': [5]}},
    'val': {'val_freq': 2, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
    'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
}  # fmt: skip


def test_an_entry_trained_by_a_hosted_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.write_options(folder / 'queue.yml', HOSTED)
    queue = {'opt': 'queue.yml'}
    suite = {
        'scale': 4, 'degradation': {'type': 'BicubicDown', 'scale': 4}, 'train': {'dataroot_gt': 'train'},
        'papers': None, 'metrics': {'psnr': {'type': 'PSNR'}},
    }  # fmt: skip
    write_suite(folder, entries={'bicubic': {'type': 'bicubic'}, 'queue': queue}, **suite)
    assert main(['bench', '-opt', 'suite.yml']) == 2
    said = capsys.readouterr().err
    assert "entry 'queue'" in said and 'hosted model, which makes its LR by itself' in said and 'unfair' in said
    queue['unfair'] = 'LR by the mean of 4×4 pixels'
    write_suite(folder, entries={'bicubic': {'type': 'bicubic'}, 'queue': queue}, **suite)
    assert main(['bench', '-opt', 'suite.yml', '--json', 'found.json']) == 0
    entry = json.loads((folder / 'found.json').read_text())['entries']['queue']
    assert 'hosted' in ' '.join(entry['differs']) and entry['cost']['parameters'] > 0
    # PSNR over the test faces by the network that the training left.
    file = next(folder.glob('experiments/**/models/net_g_latest.pth'))
    net = fsr_plugins.load(file)
    store, values = FolderStore(Path('test')), []
    for key in store.keys:
        hr = torch.tensor(store.image(key)).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            sr = net((imresize(hr / 255, scale=0.25) * 255).round().clamp(0, 255) / 255)
        sr = (sr * 255).round().clamp(0, 255)
        values.append(10 * math.log10(255**2 / float((sr - hr).square().mean())))
    assert entry['figures']['psnr']['mean'] == pytest.approx(np.mean(values), abs=0.05)
