"""All four steps of Algorithm 1 with recogniser, judge and control, on two processes, from the project's own files."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from option_files import OPTIONS
from tiny import write_faces

import fsr_plugins
from fsr_plugins import config, pipeline
from fsr_plugins.degradations import BicubicDown
from fsr_plugins.stores.opening import open_store

TRAIN = str(Path(fsr_plugins.__file__).parent / 'train.py')
#: More than a part of those that the processes share.
FACES, SIZE = 72, 32


def write_people(folder: Path) -> str:
    """Three pictures of each person."""
    write_faces(folder / 'images', FACES, SIZE)
    points = [SIZE * x for x in (0.35, 0.4, 0.65, 0.4, 0.5, 0.6, 0.4, 0.75, 0.6, 0.75)]
    with (folder / 'faces.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['key', 'identity', *(f'l{axis}{point}' for point in range(5) for axis in 'xy')])
        writer.writerows([key, key // 3, *points] for key in range(FACES))
    return str(folder)


def options(faces: str) -> dict[str, Any]:
    """options/cface.yml with networks, faces and iterations for a test."""
    recogniser = {'network_r': {'num_feat': 2}, 'network_h': {'num_classes': FACES // 3}}
    generator = {'network_g': {'num_feat': 4, 'num_block': 1}}
    both = {**generator, 'network_d': {'num_feat': 2, 'num_fc': 4, 'input_size': SIZE}}
    mine = {'dataroot_gt': faces, 'batch_size_per_gpu': 3}
    learn = {'train': {'total_iter': 2, 'warmup_iter': -1, 'scheduler': None}}
    metrics = {
        name: {'recogniser': {'type': 'SphereFace20', 'path': 'stage:judge/net_r'}, 'align': 'landmarks', **more}
        for name, more in (('verification', {'folds': 2, 'per_fold': 4, 'nearest': 2}), ('identity', {}))
    }
    own = {'val': {'metrics': {'verification': {'folds': 2, 'per_fold': 4}}}}
    return {
        '_base_': str(OPTIONS / 'cface.yml'),
        'num_gpu': 0,
        'datasets': {
            'train': {'dataroot_gt': faces, 'batch_size_per_gpu': 2},
            'val_studio': {'dataroot_gt': faces, 'views': ['identity', 'landmarks'], 'batch_size_per_gpu': 8},
        },
        'val': {'metrics': metrics},
        'logger': {'print_freq': 1, 'use_tb_logger': False},
        'stages': {
            'judge': {**recogniser, **own, 'datasets': {'train': mine}, **learn},
            'sphereface': {**recogniser, **own, 'datasets': {'train': mine}, **learn},
            'srresnet': {**generator, 'datasets': {'train': mine}, **learn},
            'srgan': {**both, 'datasets': {'train': mine}, 'train': {'total_iter': 2}},
            'gan': {**both, 'network_r': recogniser['network_r'], 'train': {'total_iter': 2}},
            'super_resolve': {**generator, 'datasets': {'train': mine}},
            'recogniser': {
                **recogniser, **own, **learn,
                'datasets': {'train': {**mine, 'dataroot_gt': [faces, 'stage:super_resolve/images.lmdb']}},
            },
            'joint': {**both, **recogniser, 'train': {'total_iter': 2}},
        },
    }  # fmt: skip


@pytest.mark.long
def test_two_processes_train_all_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('FSR_DATASETS', str(tmp_path / 'datasets'))
    file = tmp_path / 'run.yml'
    file.write_text(yaml.safe_dump(options(write_people(tmp_path / 'people'))))
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', TRAIN]
    finished = subprocess.run(
        [*torchrun, '-opt', str(file), '--launcher', 'pytorch'], capture_output=True, text=True, timeout=400,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr[-3000:]
    summary = json.loads((tmp_path / 'experiments/cface/summary.json').read_text())
    assert list(summary['stages']) == [
        'judge', 'srresnet', 'sphereface', 'srgan', 'gan', 'super_resolve', 'recogniser', 'joint'
    ]  # fmt: skip
    figures = summary['validation']['studio_test']
    assert set(figures) == {'bicubic', 'HR', 'srgan', 'gan', 'joint', 'result'}
    assert set(figures['HR']) == {f'verification{part}' for part in ('', '_std', '_pairs', '_missing')}
    assert set(summary['validation']['people']) == {'judge', 'sphereface', 'recogniser', 'result'}
    assert 'SphereFace20 (net_r_latest.pth ' in summary['metrics']['joint']['verification']
    again = pipeline.evaluate(config.load(file))['validation']['studio_test']
    for net in ('bicubic', 'HR', 'result'):
        assert again[net] == pytest.approx(figures[net], abs=1e-5)

    # What the two processes super-resolved is what the network of stage 1 gives.
    made = open_store(summary['stages']['super_resolve']['checkpoint'])
    source = open_store(tmp_path / 'people')
    assert list(made.keys) == list(source.keys)
    assert made.identities is not None and source.identities is not None
    assert (made.identities == source.identities).all()
    net = fsr_plugins.load(summary['stages']['gan']['checkpoint'])
    hr = torch.from_numpy(np.stack([source.image(key) for key in source.keys])).permute(0, 3, 1, 2)
    with torch.no_grad():
        sr = net(BicubicDown(8)(hr / 255)).clamp(0, 1).mul(255).round().permute(0, 2, 3, 1).numpy()
    found = np.stack([made.image(key) for key in made.keys]).astype(float)
    assert np.abs(found - sr).max() <= 1  # a batch may be summed in another order
    assert len(np.unique(sr)) > 10
