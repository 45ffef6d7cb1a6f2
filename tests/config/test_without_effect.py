"""Keys that would change nothing are said, refused or obeyed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from option_files import OPTIONS

from fsr_plugins import config, pipeline, preflight
from fsr_plugins.cli import main
from fsr_plugins.config.evaluated import check_evaluation
from fsr_plugins.config.problems import Problems
from fsr_plugins.config.schema import check_stage
from fsr_plugins.config.settings import read_settings
from fsr_plugins.errors import UserError
from fsr_plugins.models.evaluation import write_images
from fsr_plugins.portraits.spec import parse_spec
from fsr_plugins.registry import build_network, lookup

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


def test_what_is_for_a_network_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_faces(tmp_path / 'faces')
    values = tiny.options() | {'model_type': 'GANModel', 'path': {'pretrain_network_d': 'd.pth'}}
    values['train'] |= {'optim_d': {'type': 'Adam'}, 'scheduler_d': {'type': 'ConstantLR'}}
    config.load(tiny.write_options(tmp_path / 'o.yml', values))
    for key in ('path.pretrain_network_d', 'train.optim_d', 'train.scheduler_d'):
        assert f"o.yml: the key '{key}' has no effect here: there is no 'network_d'." in caplog.text
    caplog.clear()
    values['network_d'] = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 4}
    config.load(tiny.write_options(tmp_path / 'o.yml', values))
    assert not caplog.messages


def test_a_project_to_which_nothing_would_be_sent_is_refused(experiment_file: Path) -> None:
    with pytest.raises(UserError, match=r"'wandb' is sent what TensorBoard gets, and 'use_tb_logger' is false"):
        config.load(experiment_file, ['logger.wandb={project: faces}'])
    config.load(experiment_file, ['logger.wandb={project: null}'])
    config.load(experiment_file, ['logger.wandb={project: faces}', 'logger.use_tb_logger=true'])


def test_strictness_that_is_taken_away_is_the_default() -> None:
    for value, strict in ((None, True), (True, True), (False, False)):
        assert read_settings({'path': {'strict_load_g': value}}).network('net_g').strict is strict


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


def test_weights_that_a_file_has_not_are_named(experiment_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': 2}
    state = build_network(block).state_dict()
    torch.save({'params': state}, 'one.pth')
    torch.save({'state_dict': state}, 'other.pth')
    given = ['stages.first.path.pretrain_network_g=one.pth', 'stages.first.path.param_key_g=params_ema']
    found = preflight.inspect(config.load(experiment_file, given), dry_steps=False)
    (warning,) = found.warnings
    assert "'one.pth' has no 'params_ema': 'params' is taken" in warning
    # Said by training, too, and what only waits for an earlier stage is not.
    assert main(['train', '-opt', str(experiment_file), *(word for key in given for word in ('--set', key))]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if 'WARNING' in line]
    assert line.endswith(warning)
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


def test_a_degradation_beside_stored_lr_is_named_and_no_checkpoint_claims_it(experiment_file: Path) -> None:
    tiny.write_faces(Path('data/lr'), 10, 8)
    changes = ['datasets.train.dataroot_lq=data/lr', 'train.total_iter=2']
    experiment = config.load(experiment_file, changes)
    found = preflight.inspect(experiment, dry_steps=False)
    warnings = found.warnings
    assert [line for line in warnings if "'degradation' makes no LR of the set 'faces'" in line], warnings
    plain = config.load(experiment_file)
    assert [each.stages['first'].options.training().degradation for each in (experiment, plain)] == [
        None, {'type': 'BicubicDown', 'scale': 2},
    ]  # fmt: skip


def test_no_checkpoint_of_unpaired_lr_claims_a_degradation() -> None:
    stage = config.load(OPTIONS / 'tsnet.yml').stages['joint'].options
    assert stage.degradation is not None and stage.training().degradation is None


def test_pictures_of_keys_that_are_paths_stay_apart(experiment_file: Path) -> None:
    for place in ('a/b', 'a_b'):
        Path('nested', place).parent.mkdir(parents=True, exist_ok=True)
    for name in ('a/b.png', 'a_b.png'):
        shutil.copy('data/val/0.png', Path('nested', name))
    pipeline.run(config.load(experiment_file))
    nested = ['datasets.val.dataroot_gt=nested', 'datasets.val.recursive=true', 'val.save_img=true']
    pipeline.evaluate(config.load(experiment_file, nested))
    folder = Path('results/small/second/visualization/held_out')
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob('*.png'))
    assert written == ['a/b_test.png', 'a_b_test.png']


@pytest.mark.parametrize('key', ['../x', '/x', '..'])
def test_no_key_leads_out_of_the_folder_of_pictures(tmp_path: Path, key: str) -> None:
    write_images(tmp_path / 'in', [key], 'test', torch.zeros(1, 3, 4, 4))
    (written,) = [path for path in tmp_path.rglob('*') if path.is_file()]
    assert (tmp_path / 'in') in written.parents


def test_a_generator_is_not_measured_against_hr_of_nobody() -> None:
    block = yaml.safe_load((OPTIONS / '_base_/dapfsr.yml').read_text())['stages']['decoder']
    for metrics, wrong in (
        ({'psnr': {'type': 'PSNR'}}, ['val.metrics.psnr']),
        ({'frechet': {'type': 'FrechetDistance'}, 'niqe': {'type': 'NIQE'}}, []),
        (
            {'identity': {'type': 'IdentitySimilarity', 'recogniser': {'type': 'MobileFaceNet'}}},
            ['val.metrics.identity'],
        ),
    ):
        said: dict[str, None] = {}
        check_evaluation(
            lookup('models', 'DAPDecoderModel'), {**block, 'val': {'metrics': metrics}}, Problems('.'.join, said)
        )
        assert [line.split(':')[0] for line in said] == wrong


def test_networks_that_only_training_needs_are_not_asked_for_in_a_test() -> None:
    opt = {'model_type': 'RecogniserModel', 'network_r': {'type': 'MobileFaceNet'}, 'datasets': {}}
    for trains, missing in ((False, []), (True, ['network_h'])):
        said: dict[str, None] = {}
        check_stage('main', opt, Problems('.'.join, said), trains)
        assert [line.split(':')[0] for line in said if line.startswith('network_')] == missing
