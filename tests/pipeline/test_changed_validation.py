"""What only validation looks at may be changed while a stage is being trained; its weights are the same."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from test_pipeline import newest_state

from fsr_plugins import config, pipeline
from fsr_plugins.engine.trainer import Trainer
from fsr_plugins.errors import Interrupted, UserError
from fsr_plugins.models import SupervisedModel

#: Another set under another name, a further metric, another rhythm.
CHANGES = (
    'val.val_freq=5',
    'val.metrics={ssim: {type: SSIM}, y: {type: PSNR, test_y_channel: true}}',
    'datasets.val={name: others, type: FaceDataset, dataroot_gt: data/other}',
)


@pytest.fixture
def begun(experiment_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The option file, after its experiment has been stopped at iteration 8 of its first stage, validated once."""
    shutil.copytree('data/val', 'data/other')
    step = SupervisedModel.step

    def stopping(self: SupervisedModel) -> None:
        step(self)
        if self.current_iter == 8:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(SupervisedModel, 'step', stopping)
    with pytest.raises(Interrupted):
        pipeline.run(config.load(experiment_file))
    monkeypatch.undo()
    monkeypatch.chdir(experiment_file.parent)
    return experiment_file


def weights(stage: Path) -> dict[str, Any]:
    return newest_state(stage)['model']['nets']['net_g']


def test_a_begun_stage_takes_other_validation_and_ends_in_the_same_weights(begun: Path) -> None:
    whole = config.load(begun, ['name=whole'])
    pipeline.run(whole)
    changed = config.load(begun, CHANGES)
    summary = pipeline.run(changed)
    for stage in ('first', 'second'):
        ours, theirs = weights(changed.folder / stage), weights(whole.folder / stage)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert set(summary['validation']) == {'others'}
    assert set(summary['validation']['others']['result']) == {'ssim', 'y'}


def test_everything_else_is_refused_as_before(begun: Path) -> None:
    with pytest.raises(
        UserError, match=r"'first' has begun with other options or data: datasets\.train\.use_hflip: true -> f"
    ):
        pipeline.run(config.load(begun, [*CHANGES, 'datasets.train.use_hflip=false']))


def test_a_finished_stage_is_measured_again(experiment_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree('data/val', 'data/other')
    before = pipeline.run(config.load(experiment_file))
    trained = {path: path.read_bytes() for path in Path('experiments').rglob('*.pth')}
    capsys.readouterr()
    summary = pipeline.run(config.load(experiment_file, CHANGES))
    assert capsys.readouterr().out.count('its validation has changed: measured again') == 2
    assert {path: path.read_bytes() for path in Path('experiments').rglob('*.pth')} == trained
    result = summary['validation']['others']['result']
    assert set(result) == {'ssim', 'y'}
    assert result['ssim'] == before['validation']['held_out']['result']['ssim']
    assert pipeline.run(config.load(experiment_file, CHANGES)) == summary
    assert 'measured again' not in capsys.readouterr().out


def test_a_finished_stage_whose_validation_images_have_changed_is_measured_again(experiment_file: Path) -> None:
    before = pipeline.run(config.load(experiment_file))
    shutil.copyfile('data/train/7.png', 'data/val/0.png')
    summary = pipeline.run(config.load(experiment_file))
    assert summary['validation'] != before['validation']
    Path('experiments').rename('old')
    assert pipeline.run(config.load(experiment_file))['validation'] == summary['validation']


def test_a_rhythm_that_has_changed_changes_no_figure(experiment_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = pipeline.run(config.load(experiment_file))
    capsys.readouterr()
    assert pipeline.run(config.load(experiment_file, ['val.val_freq=5'])) == summary
    assert 'measured again' not in capsys.readouterr().out


def test_a_validation_waits_for_the_end_of_an_accumulated_step(
    experiment_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated: list[tuple[int, int]] = []
    validate = Trainer._validate

    def noting(self: Trainer) -> None:
        saved = max(int(path.stem) for path in self.states.folder.glob('*.state'))
        validated.append((self.iteration, saved))
        validate(self)

    monkeypatch.setattr(Trainer, '_validate', noting)
    changes = ['train.accumulate=3', 'val.val_freq=4', 'logger.save_checkpoint_freq=100']
    changes.append('stages.second.train.total_iter=6')
    pipeline.run(config.load(experiment_file, changes))
    assert validated == [(6, 6), (9, 9), (12, 12), (6, 6)]
