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
    with pytest.raises(UserError, match=r"'first' has begun with other options: datasets\.train\.use_hflip: true -> f"):
        pipeline.run(config.load(begun, [*CHANGES, 'datasets.train.use_hflip=false']))


def test_a_finished_stage_has_been_validated_and_keeps_its_options(experiment_file: Path) -> None:
    pipeline.run(config.load(experiment_file))
    with pytest.raises(UserError, match=r"'first' is finished with other options: val\.val_freq: 6 -> 5"):
        pipeline.run(config.load(experiment_file, ['val.val_freq=5']))
