"""The benchmark by BasicSR's option files: both train scripts run by one file, and what is changed is the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from prepared import picture, png, written

SCRIPTS = Path(__file__).parents[1] / 'scripts'
FILE: dict[str, Any] = {
    'name': 'large', 'model_type': 'SRModel', 'scale': 2, 'num_gpu': 1, 'manual_seed': 0,
    'datasets': {
        'train': {
            'name': 'DIV2K', 'type': 'PairedImageDataset', 'io_backend': {'type': 'disk'}, 'dataroot_gt': 'sets/HR',
            'dataroot_lq': 'sets/X2', 'filename_tmpl': '{}', 'gt_size': 32, 'use_hflip': True, 'use_rot': True,
            'num_worker_per_gpu': 6, 'batch_size_per_gpu': 16, 'dataset_enlarge_ratio': 100,
        },
    },
    'network_g': {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': 2},
    'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None},
    'train': {
        'ema_decay': 0.999, 'optim_g': {'type': 'Adam', 'lr': 1e-4}, 'total_iter': 300000, 'warmup_iter': -1,
        'scheduler': {'type': 'MultiStepLR', 'milestones': [200000], 'gamma': 0.5},
        'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
    },
    'logger': {'print_freq': 100, 'save_checkpoint_freq': 5000, 'use_tb_logger': False},
}  # fmt: skip


@pytest.fixture(scope='module')
def script() -> Iterator[ModuleType]:
    """The script as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        import benchmark_engine

        yield benchmark_engine


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A quick measurement of one row, on eight images."""
    written(tmp_path / 'faces', {f'{number}.png': png(picture(number, 128, 128)) for number in range(8)})
    return ['--quick', '--images', str(tmp_path / 'faces'), '--only', 'recipe_edsr']


def test_what_is_not_there_is_said(script: ModuleType, arguments: list[str], tmp_path: Path,
                                   capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    result = tmp_path / 'result.json'
    assert script.main([*arguments, '--json', str(result)]) == 0
    assert json.loads(result.read_text())['ratios'] == {'recipe_edsr': None}
    assert script.main([*arguments, '--recipes', str(tmp_path)]) == 2
    assert 'train_EDSR_Mx2.yml' in capsys.readouterr().err


def test_a_training_that_fails_ends_the_measurement(script: ModuleType, tmp_path: Path) -> None:
    train = script.recipes.trainings(
        tmp_path, 'ours', lambda name: [sys.executable, '-c', f'raise SystemExit({name!r})']
    )
    with pytest.raises(RuntimeError, match='ours_0 failed|ours_0'):
        train()
    done = script.recipes.trainings(tmp_path, 'ours', lambda name: [sys.executable, '-c', ''])
    assert done() > 0


@pytest.mark.long
def test_both_sides_train_by_the_same_file(script: ModuleType, arguments: list[str], tmp_path: Path) -> None:
    recipe = script.recipes.RECIPES['edsr']
    file = tmp_path / 'options' / recipe.file
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(FILE))
    result = tmp_path / 'result.json'
    assert script.main([*arguments, '--recipes', str(tmp_path / 'options'), '--json', str(result)]) == 0
    found = json.loads(result.read_text())['figures']['recipe_edsr']
    assert found['changes']['train.total_iter'] == 1 and found['ours alone'] == {'channels_last': 'auto'}
    assert found['ours'] > 1 and found['basicsr'] > 1 and found['unit'] == 's'
