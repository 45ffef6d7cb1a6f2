"""Keys that would change nothing are said, refused or obeyed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fsr_plugins import config, pipeline, preflight
from fsr_plugins.config.settings import read_settings
from fsr_plugins.errors import UserError
from fsr_plugins.portraits.spec import parse_spec
from fsr_plugins.registry import build_network

KEYS = {
    'datasets.train.use_shuffle': 'false',
    'datasets.train.dataset_enlarge_ratio': '100',
    'datasets.train.prefetch_mode': 'cpu',
    'datasets.train.num_prefetch_queue': '4',
    'datasets.train.persistent_workers': 'true',
    'val.pbar': 'true',
}


def test_every_key_without_effect_is_named_once_with_the_reason(
    experiment_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config.load(experiment_file)
    assert not caplog.messages
    config.load(experiment_file, [f'{key}={value}' for key, value in KEYS.items()])
    assert len(caplog.messages) == len(KEYS)
    for key in KEYS:
        (line,) = [line for line in caplog.messages if f"the key '{key}' has no effect here: " in line]
        assert len(line.rpartition(': ')[2].split()) >= 4, 'it says why'


@pytest.mark.parametrize('value', ['auto', '3'])
def test_the_ratio_of_basicsr_is_checked_alike_everywhere(experiment_file: Path, value: str) -> None:
    experiment = config.load(experiment_file, [f'datasets.train.dataset_enlarge_ratio={value}'])
    assert not preflight.inspect(experiment, dry_steps=False).errors


def test_pictures_are_saved_by_a_test_too(experiment_file: Path) -> None:
    pipeline.run(config.load(experiment_file))
    pipeline.evaluate(config.load(experiment_file))
    assert not Path('results').exists()
    pipeline.evaluate(config.load(experiment_file, ['val.save_img=true']))
    written = sorted(path.name for path in Path('results/small/second/visualization/held_out').iterdir())
    assert written == [f'{number}_test.png' for number in range(5)]


def test_weights_that_a_file_has_not_are_named(experiment_file: Path) -> None:
    block = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': 2}
    state = build_network(block).state_dict()
    torch.save({'params': state}, 'one.pth')
    torch.save({'state_dict': state}, 'other.pth')
    given = ['stages.first.path.pretrain_network_g=one.pth', 'stages.first.path.param_key_g=params_ema']
    found = preflight.inspect(config.load(experiment_file, given), dry_steps=False)
    warnings = [finding.message for finding in found.findings if finding.level == 'warning']
    assert any("'one.pth' has no 'params_ema': 'params' is taken" in line for line in warnings)
    given[0] = 'stages.first.path.pretrain_network_g=other.pth'
    found = preflight.inspect(config.load(experiment_file, given), dry_steps=False)
    assert any("'other.pth' has no 'params_ema'; its keys are" in finding.message for finding in found.errors)


@pytest.mark.parametrize('milestones', ['[a]', '[[1]]', '[1, x]', '7'])
def test_milestones_that_are_no_numbers_are_refused(experiment_file: Path, milestones: str) -> None:
    with pytest.raises(UserError, match=r'train\.scheduler'):
        preflight.check(config.load(experiment_file, [f'train.scheduler.milestones={milestones}']), dry_steps=True)


def test_a_key_that_stands_twice_in_a_spec_is_refused() -> None:
    assert parse_spec('portraits://studio/train?number=48').number == 48
    with pytest.raises(UserError, match="says 'number' twice"):
        parse_spec('portraits://studio/train?number=48&number=9')


def test_two_sets_of_one_name_are_refused(experiment_file: Path) -> None:
    with pytest.raises(UserError, match='figures go by it'):
        config.load(experiment_file, ['datasets.val_2={name: held_out, type: FaceDataset, dataroot_gt: data/train}'])


def test_a_value_that_cannot_be_is_said_in_words() -> None:
    with pytest.raises(UserError, match=r"The option 'scale' must be a whole number.*, not None"):
        read_settings({'scale': None})
