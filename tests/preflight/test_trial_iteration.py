"""What is tried before training is an iteration in which all that ever learns does, with a step at its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny

from fsr_plugins import config, preflight
from fsr_plugins.errors import UserError


def problem(folder: Path, values: dict[str, Any], overrides: Sequence[str]) -> str:
    """What preflight says of an option file that must not be trained."""
    tiny.write_faces(folder / 'faces')
    values['datasets'] |= {key: {**block, 'dataroot_gt': str(folder / 'faces')}
                           for key, block in values['datasets'].items()}  # fmt: skip
    experiment = config.load(tiny.write_options(folder / 'o.yml', values), overrides)
    with pytest.raises(UserError) as caught:
        preflight.check(experiment, dry_steps=True)
    return str(caught.value)


@pytest.mark.parametrize(
    ('changes', 'iteration'),
    [
        (['train.net_d_init_iters=5'], 6),
        (['train.net_d_iters=2'], 2),
        (['train.net_d_iters=3', 'train.net_d_init_iters=6'], 9),
    ],
)
def test_what_a_generator_learns_by_is_tried_however_late_it_begins(
    tmp_path: Path, changes: list[str], iteration: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = tiny.options()
    values['model_type'] = 'GANModel'
    values['network_d'] = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 4}
    values['train'] |= {'total_iter': 40, 'optim': {'type': 'Adam'}, 'gan_opt': {'type': 'LogisticGANLoss'}}
    values['train']['perceptual_opt'] = {'type': 'L1Loss'}
    assert "'train.perceptual_opt' must give a pair" in problem(tmp_path, values, changes)

    def fails(*_: object) -> None:
        raise ValueError('no features')

    monkeypatch.setattr('fsr_plugins.models.gan.GANModel.losses_to_hr', fails)
    assert f"iteration {iteration} of stage 'train' fails: no features" in problem(tmp_path, values, changes)


def test_a_step_is_tried_that_is_made_of_several_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError('no step')

    monkeypatch.setattr('fsr_plugins.models.precision.Precision.step', fails)
    assert "iteration 2 of stage 'train' fails: no step" in problem(tmp_path, tiny.options(), ['train.accumulate=2'])
