"""All stages of DAP-FSR from the project's own files, in one process and in two, and penalties over processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml
from option_files import OPTIONS
from torch import Tensor

import fsr_plugins
from fsr_plugins import config, pipeline
from fsr_plugins.checkpoints import read_weights

TRAIN = str(Path(fsr_plugins.__file__).parent / 'train.py')
TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
STAGES = ['warm_up', 'decoder', 'encoder', 'adapt']
E = {'num_style_feat': 8, 'num_feat': 16}
G = {'num_style_feat': 8, 'num_mlp': 2, 'narrow': 0.03125}


def faces(domain: str, split: str, number: int) -> str:
    return f'portraits://{domain}/{split}?number={number}&size=64'


def options() -> dict[str, Any]:
    """options/dapfsr.yml with networks, faces and iterations for a test."""
    batch = {'batch_size_per_gpu': 2}
    studio = {**batch, 'dataroot_gt': faces('studio', 'train', 6)}
    one_of_two = {'interval': 2}
    net_sr = {'encoder': E, 'decoder': G}
    stages: dict[str, Any] = {
        'warm_up': {
            'network_e': E, 'network_g': G,
            'train': {'total_iter': 2, 'latent_samples': 100},
        },
        'decoder': {
            'network_g': G, 'network_d': {'narrow': 0.03125},
            'train': {'total_iter': 2, 'r1_opt': one_of_two, 'path_length_opt': one_of_two},
        },
        'encoder': {
            'network_e': E, 'network_g': G, 'train': {'total_iter': 2, 'latent_samples': 100, 'scheduler': None},
            'datasets': {'val_studio': {**batch, 'dataroot_gt': faces('studio', 'test', 3)}},
        },
        'adapt': {
            'network_sr': net_sr, 'network_source': net_sr, 'train': {'total_iter': 3, 'inner_iter': 2},
            'datasets': {
                'train': {'dataroot_gt': faces('harsh', 'train', 2), 'batch_size_per_gpu': 1},
                'val_harsh': {**batch, 'dataroot_gt': faces('harsh', 'test', 3)},
            },
        },
    }  # fmt: skip
    for name in STAGES[:3]:
        stages[name].setdefault('datasets', {})['train'] = studio
    return {
        '_base_': str(OPTIONS / 'dapfsr.yml'),
        'num_gpu': 0,
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 100, 'use_tb_logger': False},
        'stages': stages,
    }


@pytest.fixture
def option_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('FSR_DATASETS', str(tmp_path / 'datasets'))
    file = tmp_path / 'run.yml'
    file.write_text(yaml.safe_dump(options()))
    yield file
    shutil.rmtree(tmp_path / 'experiments')  # hundreds of megabytes


def torchrun(*arguments: str) -> None:
    done = subprocess.run(
        [*TORCHRUN, *arguments], capture_output=True, text=True, timeout=400, check=False,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def weights(summary: dict[str, Any], stage: str, net: str, key: str = 'params') -> dict[str, Tensor]:
    return read_weights(str(Path(summary['stages'][stage]['checkpoint']).with_name(f'{net}_latest.pth')), key)


def part(of: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f'{name}.'): tensor for key, tensor in of.items() if key.startswith(f'{name}.')}


def changed(first: dict[str, Tensor], second: dict[str, Tensor]) -> set[str]:
    assert first.keys() == second.keys()
    return {key for key, tensor in first.items() if not torch.equal(tensor, second[key])}


def check(summary: dict[str, Any], folder: Path) -> None:
    """What a stage hands to the next, the figures, and the pictures."""
    assert list(summary['stages']) == STAGES
    assert {Path(stage['checkpoint']).name for stage in summary['stages'].values()} == {
        'net_sr_latest.pth', 'net_g_latest.pth'
    }  # fmt: skip
    begun, decoder = (weights(summary, *which) for which in (('warm_up', 'net_g'), ('decoder', 'net_g', 'params_ema')))
    assert {'constant_input.weight', 'style_mlp.1.weight'} <= changed(begun, decoder)
    source, adapted = (weights(summary, stage, 'net_sr') for stage in ('encoder', 'adapt'))
    assert changed(part(source, 'decoder'), decoder) == set()
    assert changed(part(source, 'encoder'), weights(summary, 'encoder', 'net_e')) == set()
    assert {'backbone.resnet.conv1.weight', 'head.ales.0.latent.weight', 'latent_mean'} <= changed(
        weights(summary, 'warm_up', 'net_e'), weights(summary, 'encoder', 'net_e')
    )
    moved = changed(source, adapted)
    assert moved and all(key.startswith('decoder.') and '.modulation.' in key for key in moved)
    assert set(summary['validation']) == {'studio_test', 'harsh_test'}
    figures = summary['validation']['harsh_test']
    assert {'bicubic', 'source_only', 'result'} <= set(figures)
    assert figures['source_only']['psnr'] != figures['result']['psnr']
    losses = [json.loads(line)['losses'] for line in (folder / 'decoder/metrics.jsonl').read_text().splitlines()]
    assert [{'l_d_r1', 'l_g_path'} <= set(line) for line in losses] == [False, True]
    for stage, rows in (('decoder', 2), ('adapt', 3)):
        assert cv2.imread(str(folder / stage / 'preview.png')).shape[0] == rows * 64


@pytest.mark.slow
def test_one_process_trains_all_stages(option_file: Path) -> None:
    summary = pipeline.run(config.load(option_file))
    folder = Path('experiments/dapfsr')
    check(summary, folder)
    figures = pipeline.evaluate(config.load(option_file))['validation']['harsh_test']
    for name in ('bicubic', 'source_only', 'result'):
        assert figures[name] == pytest.approx(summary['validation']['harsh_test'][name], abs=1e-4)


@pytest.mark.long
def test_two_processes_train_all_stages(option_file: Path) -> None:
    torchrun(TRAIN, '-opt', str(option_file), '--launcher', 'pytorch')
    folder = Path('experiments/dapfsr')
    check(json.loads((folder / 'summary.json').read_text()), folder)
