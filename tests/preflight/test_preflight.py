from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from basicsr.archs.edsr_arch import EDSR

from fsr_plugins import config, preflight
from fsr_plugins.config import Experiment
from fsr_plugins.engine import generators
from fsr_plugins.errors import UserError
from fsr_plugins.models.supervised import SupervisedModel
from fsr_plugins.preflight import checks
from fsr_plugins.registry import LOSS_REGISTRY, METRIC_REGISTRY
from fsr_plugins.weights import WeightFile


@METRIC_REGISTRY.register()
class PreflightTestMetric:
    """Needs a file that is nowhere."""

    better = 'higher'

    def __init__(self, path: str = 'no.pth') -> None: ...

    def update(self) -> None: ...

    @classmethod
    def requirements(cls, path: str = 'no.pth') -> list[WeightFile]:
        return [WeightFile('the tested metric', 'https://example.invalid/no.pth', 'abc', 'no.pth', path)]


@LOSS_REGISTRY.register()
class PreflightTestLoss(torch.nn.Module):
    """Only trains with a loss of NaN."""

    def forward(self, sr: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
        return (sr - gt).mean() * float('nan')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    tiny.write_faces(tmp_path / 'faces')
    return tmp_path


def load(folder: Path, values: dict[str, Any], *overrides: str) -> Experiment:
    return config.load(tiny.write_options(folder / 'o.yml', values), overrides)


def two_stages(**second: Any) -> dict[str, Any]:
    path = {'pretrain_network_g': 'stage:one/net_g'}
    return {**tiny.options(), 'stages': {'one': {}, 'two': {'path': path, **second}}}


def messages(report: preflight.Report, level: str) -> list[str]:
    return [
        f'{finding.stage} {finding.check}: {finding.message}' for finding in report.findings if finding.level == level
    ]


def test_all_is_well_and_nothing_changes(folder: Path) -> None:
    torch.manual_seed(5)
    before = generators.random_state()
    report = preflight.check(load(folder, two_stages()), dry_steps=True)
    after = generators.random_state()
    assert report.as_dict()['ok']
    assert [f.stage for f in report.findings if f.check == 'dry step'] == ['one', 'two']
    assert not (folder / 'experiments').exists()
    assert torch.equal(before['torch'], after['torch'])
    assert before['python'] == after['python']
    assert torch.equal(before['numpy'][1], after['numpy'][1])


def test_skipping(folder: Path) -> None:
    experiment = load(folder, two_stages())
    report = preflight.inspect(experiment, dry_steps=True, skip={'one'}, dry_skip={'two'})
    assert {finding.check for finding in report.findings if finding.stage == 'one'} == {'options'}
    assert all(finding.check != 'dry step' for finding in report.findings)
    report = preflight.inspect(experiment, dry_steps=False)
    assert all(finding.check != 'dry step' for finding in report.findings)


def test_sets_of_the_common_part_are_read_once(folder: Path) -> None:
    report = preflight.inspect(load(folder, two_stages()), dry_steps=False)
    assert [f.check for f in report.findings if f.check.startswith('data')] == ['data train', 'data val']


def test_errors_are_collected(folder: Path) -> None:
    (folder / 'faces' / '0.png').write_bytes(b'')
    experiment = load(folder, tiny.options(), 'num_gpu=99', 'path.pretrain_network_g=none.pth')
    report = preflight.inspect(experiment, dry_steps=True)
    assert {finding.check for finding in report.errors} == {'devices', 'data train', 'data val', 'weights'}
    assert all(finding.check != 'dry step' for finding in report.findings)
    with pytest.raises(UserError) as caught:
        report.raise_errors()
    assert len(str(caught.value).splitlines()) == 4


def test_weights_that_fit(folder: Path) -> None:
    torch.save({'params': EDSR(3, 3, num_feat=4, num_block=1, upscale=4).state_dict()}, folder / 'w.pth')
    report = preflight.check(load(folder, tiny.options(), 'path.pretrain_network_g=w.pth'), dry_steps=True)
    assert not report.errors


def test_weights_of_a_stage_are_read_once_they_exist(folder: Path) -> None:
    experiment = load(folder, two_stages())
    file = experiment.stages['one'].folder / 'models' / 'net_g_latest.pth'
    file.parent.mkdir(parents=True)
    torch.save({'params': EDSR(3, 3, num_feat=8, num_block=1, upscale=4).state_dict()}, file)
    with pytest.raises(UserError, match='does not fit EDSR'):
        preflight.check(experiment, dry_steps=False)


@pytest.mark.parametrize('strict', [True, False])
def test_a_larger_network_over_a_stage_to_come(folder: Path, strict: bool) -> None:
    larger = {**tiny.EDSR, 'num_block': 2}
    path = {'pretrain_network_g': 'stage:one/net_g', 'strict_load_g': strict}
    stages = {'one': {}, 'two': {'path': path, 'network_g': larger}}
    found = preflight.inspect(load(folder, {**tiny.options(), 'stages': stages}), dry_steps=False).errors
    assert bool(found) is strict
    assert all('network_g.num_block' in error.message for error in found)


def test_data_of_a_stage_to_come_waits(folder: Path) -> None:
    sets = {'train': {'dataroot_gt': 'stage:one/pseudo'}}
    report = preflight.check(load(folder, two_stages(datasets=sets)), dry_steps=True)
    assert not report.warnings
    assert messages(report, 'later') == [
        "two data train: The set 'train' is checked when stage 'one' has made it.",
        "two dry step: Not tried: stage 'two' takes data or a loss from stage 'one', which is not done.",
    ]
    # What was not looked at is not called good.
    looked_at = {(finding.stage, finding.check) for finding in report.findings if finding.level == 'ok'}
    assert ('one', 'dry step') in looked_at and ('one', 'data train') in looked_at
    assert not {('two', 'dry step'), ('two', 'data train')} & looked_at


def test_metrics_that_wait_for_a_stage_are_named(folder: Path) -> None:
    metrics = {'psnr': {'type': 'PSNR'}, 'quality': {'type': 'PreflightTestMetric', 'path': 'stage:one/net_g'}}
    report = preflight.check(load(folder, two_stages(val={'val_freq': 2, 'metrics': metrics})), dry_steps=True)
    found = {(finding.stage, finding.check): finding for finding in report.findings}
    assert found['one', 'dry step'].level == 'ok'
    assert found['two', 'dry step'].level == 'later'
    assert "Tried without the metrics 'quality'" in found['two', 'dry step'].message
    assert "stage 'one'" in found['two', 'requirements'].message


def test_changed_options(folder: Path) -> None:
    experiment = load(folder, two_stages())
    for name, done in (('one', True), ('two', False)):
        stage = experiment.stages[name]
        stage.folder.mkdir(parents=True)
        (stage.folder / 'options.yml').write_text(config.dump(stage.opt))
        if done:
            left = {
                'iterations': stage.opt['train']['total_iter'],
                'seconds': 0.1,
                'sha256': '',
                'validation': {},
                'options': '',
            }
            (stage.folder / 'done.json').write_text(json.dumps(left))
    assert not preflight.inspect(experiment, dry_steps=False, skip={'one'}).errors
    other = load(folder, two_stages(), 'train.optim_g.lr=2e-4')
    found = [error.message for error in preflight.inspect(other, dry_steps=False, skip={'one'}).errors]
    assert found[0].startswith(
        "Stage 'one' is finished with other options or data: train.optim_g.lr: 0.0001 -> 0.0002."
    )
    # The other has saved nothing yet that its options could have had an effect on.
    assert not [message for message in found if "'two'" in message]


def test_required_file_that_cannot_be_had(folder: Path) -> None:
    experiment = load(folder, tiny.options(), 'val.metrics.quality={type: PreflightTestMetric}')
    with pytest.raises(UserError, match=r"key 'val.metrics.quality': .*the tested metric.*no\.pth"):
        preflight.check(experiment, dry_steps=False)


def test_nan_in_the_dry_step(folder: Path) -> None:
    experiment = load(folder, tiny.options(), 'train.pixel_opt={type: PreflightTestLoss}')
    report = preflight.inspect(experiment, dry_steps=True)
    assert [finding.check for finding in report.errors] == ['dry step']
    assert 'l_pix' in report.errors[0].message


def test_a_gan_without_a_discriminator_is_told(folder: Path) -> None:
    values = {**tiny.options(), 'model_type': 'GANModel'}
    report = preflight.inspect(load(folder, values), dry_steps=False)
    assert not report.errors
    (message,) = messages(report, 'warning')
    assert "o.yml:30: key 'train.gan_opt' is not given: " in message and 'it trains as SupervisedModel' in message
    values['network_d'] = {'type': 'SRGANDiscriminator', 'num_feat': 2, 'input_size': 16, 'num_fc': 4}
    values['train'] |= {
        'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla'},
        'optim_d': {'type': 'Adam', 'lr': 1e-4},
    }
    assert not messages(preflight.inspect(load(folder, values), dry_steps=False), 'warning')


def test_a_perceptual_loss_that_gives_no_pair(folder: Path) -> None:
    experiment = load(folder, tiny.options(), 'train.perceptual_opt={type: PreflightTestLoss}')
    message = preflight.inspect(experiment, dry_steps=True).errors[0].message
    assert "'train.perceptual_opt' must give a pair (perceptual, style)" in message
    assert message.endswith('and gave a tensor of shape ().')


def test_step_that_raises_names_its_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(self: SupervisedModel) -> None:
        raise RuntimeError('shapes differ')

    monkeypatch.setattr(SupervisedModel, 'step', step)
    report = preflight.inspect(load(folder, tiny.options()), dry_steps=True)
    assert f'shapes differ (RuntimeError in {__file__}:' in report.errors[0].message


def test_disk_estimate(folder: Path) -> None:
    experiment = load(folder, tiny.options(), 'train.total_iter=6', 'train.ema_decay=0.9', 'logger.keep_states=2')
    net = torch.nn.Linear(9, 10)  # 100 parameters of 4 bytes
    # three saves and the last; two training states of weights, average and two moments; weights and average each save
    assert checks.disk_bytes(experiment, experiment.stages['train'], {'net_g': net}) == 400 * (2 * 4 + 4 * 2)


def test_dataset_of_basicsr(folder: Path) -> None:
    tiny.write_faces(folder / 'lq', 5, 6)
    block = {'type': 'RealESRGANPairedDataset', 'dataroot_gt': 'faces', 'dataroot_lq': 'lq',
             'io_backend': {'type': 'disk'}, 'gt_size': 16, 'use_hflip': True, 'use_rot': False,
             'batch_size_per_gpu': 2}  # fmt: skip
    values = tiny.options()
    values['datasets']['train'] = block
    preflight.check(load(folder, values), dry_steps=True)
    del block['io_backend']
    with pytest.raises(UserError, match="cannot be built: the key 'io_backend' is missing"):
        preflight.check(load(folder, values), dry_steps=False)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_unwritable(folder: Path) -> None:
    (folder / 'experiments').mkdir(mode=0o555)
    with pytest.raises(UserError, match='may not be written to'):
        preflight.check(load(folder, tiny.options()), dry_steps=False)


@pytest.mark.parametrize(
    ('total', 'said'), [(6, None), (7, 'the last iteration makes'), (8, 'the last 2 iterations make')]
)
def test_iterations_without_a_step_are_told(folder: Path, total: int, said: str | None) -> None:
    changes = ['train.accumulate=3', f'train.total_iter={total}']
    found = messages(preflight.inspect(load(folder, tiny.options(), *changes), dry_steps=True), 'warning')
    assert len(found) == (said is not None)
    assert all(f'--set train.total_iter={total}: {said} no step, since one takes 3' in message for message in found)
