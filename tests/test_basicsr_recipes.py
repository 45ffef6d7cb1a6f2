"""The script that runs BasicSR's option files, on files like them: what runs, what is refused, what is changed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

SCRIPTS = Path(__file__).parents[1] / 'scripts'
sys.path.insert(0, str(SCRIPTS))

import basicsr_recipes as recipes  # noqa: E402

PAIRED = {'type': 'PairedImageDataset', 'io_backend': {'type': 'disk'}}
NETWORK = {'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_block': 16, 'upscale': 2}


def trained_file(model: str) -> dict[str, Any]:
    return {
        'name': 'large', 'model_type': model, 'scale': 2, 'num_gpu': 8, 'manual_seed': 0,
        'datasets': {
            'train': {
                **PAIRED, 'name': 'large', 'dataroot_gt': 'sets/HR.lmdb', 'dataroot_lq': 'sets/LR.lmdb',
                'meta_info_file': 'lists/meta.txt', 'io_backend': {'type': 'lmdb'}, 'gt_size': 256, 'use_rot': True,
                'use_hflip': True, 'num_worker_per_gpu': 12, 'batch_size_per_gpu': 32,
            },
            'val': {
                **PAIRED, 'name': 'Set5', 'dataroot_gt': 'sets/HR', 'dataroot_lq': 'sets/X2', 'filename_tmpl': '{}x2'
            },
        },
        'network_g': NETWORK,
        'path': {'pretrain_network_g': 'somewhere.pth', 'strict_load_g': True, 'resume_state': None},
        'train': {
            'optim_g': {'type': 'Adam', 'lr': 1e-4}, 'total_iter': 1000000, 'warmup_iter': -1,
            'pixel_opt': {'type': 'L1Loss'},
            'perceptual_opt': {'type': 'PerceptualLoss', 'layer_weights': {'conv5_4': 1}},
        },
        'val': {'val_freq': 5e3, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2}}},
        'logger': {'print_freq': 100, 'save_checkpoint_freq': 5e3, 'use_tb_logger': False},
    }  # fmt: skip


def measured_file() -> dict[str, Any]:
    return {
        'name': 'released', 'model_type': 'SRModel', 'scale': 2, 'num_gpu': 1,
        'datasets': {'test_1': {**PAIRED, 'name': 'Set5', 'dataroot_gt': 'HR', 'dataroot_lq': 'LR'}},
        'network_g': NETWORK, 'path': {'pretrain_network_g': 'released/net.pth'},
        'val': {'save_img': True, 'suffix': None, 'metrics': {'ssim': {'type': 'calculate_ssim', 'crop_border': 2}}},
    }  # fmt: skip


def test_what_is_changed_is_what_a_cpu_needs() -> None:
    changed = dict(recipes.edits(trained_file('SRModel')))
    assert changed == {
        'num_gpu': 0, 'train.total_iter': 4, 'val.val_freq': 2, 'logger.print_freq': 2,
        'logger.save_checkpoint_freq': 4, 'datasets.train.batch_size_per_gpu': 2,
        'datasets.train.num_worker_per_gpu': 1, 'datasets.train.gt_size': 32, 'network_g.num_feat': 8,
        'network_g.num_block': 1, 'train.perceptual_opt': None, 'path.pretrain_network_g': None,
    }  # fmt: skip
    assert dict(recipes.edits(measured_file())) == {'num_gpu': 0, 'network_g.num_feat': 8, 'network_g.num_block': 1}


def test_files_are_run_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    wrong = trained_file('SRModel')
    wrong['train']['pixel_opt'] = {'type': 'L1Los'}
    files = {
        'train/A/one.yml': trained_file('SRModel'), 'train/B/two.yml': trained_file('NobodysModel'),
        'train/B/wrong.yml': wrong, 'test/A/three.yml': measured_file(),
    }  # fmt: skip
    for name, opt in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        tiny.write_options(tmp_path / name, yaml.safe_load(yaml.safe_dump(opt)))
    there = Path.cwd()
    words = ['--recipes', str(tmp_path), '-o', str(tmp_path / 'table.md')]
    assert recipes.main([*words, '--only', 'one', 'two', 'three']) == 1
    rows = [line.split(' | ') for line in (tmp_path / 'table.md').read_text(encoding='utf-8').splitlines()[2:]]
    assert [row[0] for row in rows] == ['| A/one.yml', '| B/two.yml', '| A/three.yml']
    assert [row[2] for row in rows] == ['`SupervisedModel`', 'refused', '`SupervisedModel`']
    assert rows[0][3].startswith('Set5: psnr ') and rows[2][3].startswith('Set5: ssim ')
    assert '3 pictures' in rows[2][3] and "No model is named 'NobodysModel'" in rows[1][3]
    assert recipes.main([*words, '--only', 'wrong']) == 1
    assert "Did you mean 'L1Loss'" in (tmp_path / 'table.md').read_text(encoding='utf-8')
    assert Path.cwd() == there
    with pytest.raises(SystemExit):
        recipes.main(['--recipes', str(tmp_path / 'nowhere')])
