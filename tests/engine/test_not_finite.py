"""Nothing that is NaN or Inf is saved, called done, resumed from or written as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from fsr_plugins import config, pipeline
from fsr_plugins.checkpoints.tensors import all_finite, tensors_in
from fsr_plugins.cli import main
from fsr_plugins.engine.plain import figures, json_text, plain
from fsr_plugins.engine.states import TrainingStates
from fsr_plugins.errors import RunError
from fsr_plugins.metrics.psnr_ssim import PSNR
from fsr_plugins.models import SupervisedModel

FIRST = ('train.total_iter=1', 'logger.save_checkpoint_freq=1', 'val.val_freq=1')


def strict(text: str) -> Any:
    """JSON as the standard has it."""

    def refuse(name: str) -> None:
        raise AssertionError(f'{name} is no JSON')

    return json.loads(text, parse_constant=refuse)


def test_weights_that_are_no_numbers_are_never_saved(
    experiment_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = SupervisedModel.step

    def diverging(self: SupervisedModel) -> None:
        step(self)
        with torch.no_grad():
            self.net_g.conv_last.bias[1] = math.inf

    monkeypatch.setattr(SupervisedModel, 'step', diverging)
    overrides = [word for override in FIRST for word in ('--set', override)]
    assert main(['train', '-opt', str(experiment_file), *overrides]) == 1
    printed = capsys.readouterr()
    assert 'After iteration 1 weights of net_g, the average of net_g are NaN or Inf; they were not saved' in printed.err
    assert 'Nothing was saved yet: there is no checkpoint.' in printed.err
    assert 'psnr' not in printed.out
    folder = experiment_file.parent / 'experiments/small'
    assert not [*folder.rglob('*.pth'), *folder.rglob('*.state'), *folder.rglob('done.json')]


def test_a_message_names_the_state_that_is_there(experiment_file: Path) -> None:
    experiment = config.load(experiment_file, ['logger.save_checkpoint_freq=4', 'val.val_freq=100'])
    with pytest.MonkeyPatch.context() as patch:

        def step(self: Any) -> None:
            with self.phase('net_g') as losses:
                factor = math.nan if self.current_iter == 6 else 1.0
                losses['l_pix'] = self.losses.pixel_opt(self.net_g(self.lq), self.gt) * factor

        patch.setattr(SupervisedModel, 'step', step)
        with pytest.raises(RunError, match=r'The loss l_pix is nan at iteration 6') as caught:
            pipeline.run(experiment)
    state = experiment.folder / 'first/training_states/4.state'
    assert str(caught.value).endswith(f'The last state saved is {state}.') and state.exists()


def test_a_state_that_is_no_number_is_passed_over(experiment_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = config.load(experiment_file)
    pipeline.run(experiment)
    stage = experiment.folder / 'second'
    before = json.loads((stage / 'done.json').read_text())
    (stage / 'done.json').unlink()
    states = TrainingStates(stage / 'training_states')
    state = states.newest()
    assert state is not None and state['iter'] == 8
    state['model']['averages']['net_g']['conv_last.bias'][1] = math.inf
    states.save(8, state)
    capsys.readouterr()
    pipeline.run(experiment)
    assert '8.state holds weights that are NaN or Inf. Using the one before.' in capsys.readouterr().out
    assert json.loads((stage / 'done.json').read_text())['sha256'] == before['sha256']


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_figures_that_are_no_numbers_are_null(
    experiment_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    monkeypatch.setattr(PSNR, 'compute', lambda self: {'psnr': value})
    assert main(['train', '-opt', str(experiment_file), '--json', 'found.json']) == 0
    folder = experiment_file.parent / 'experiments/small'
    for file in (folder / 'second/done.json', folder / 'summary.json', experiment_file.parent / 'found.json'):
        found = strict(file.read_text())['validation']['held_out']
        assert found['result']['psnr'] is None and math.isfinite(found['result']['ssim'])
    for line in (folder / 'second/metrics.jsonl').read_text().splitlines():
        strict(line)
    assert 'not finite' in capsys.readouterr().out
    assert main(['test', '-opt', str(experiment_file), '--json', 'found.json']) == 0
    assert strict(Path('found.json').read_text())['validation']['held_out']['result']['psnr'] is None


def test_one_look_at_many_tensors() -> None:
    good = [torch.ones(3), torch.tensor([3e38, -3e38]), torch.tensor(7), torch.zeros(0), torch.ones(2).half() * 60000]
    assert all_finite(good) and all_finite([])
    for bad in (math.nan, math.inf, -math.inf):
        for kind in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
            assert not all_finite([*good, torch.tensor([[1.0, bad]], dtype=kind)])
    nested = {'params': {'a': good[0]}, 'more': [good[1], 'text']}
    assert len(list(tensors_in(nested))) == 2


def test_what_json_has_no_word_for() -> None:
    values = {'a': [1.5, math.nan, (2, math.inf)], 'b': {'c': -math.inf, 'd': 'nan', 'e': None}}
    assert plain(values) == {'a': [1.5, None, [2, None]], 'b': {'c': None, 'd': 'nan', 'e': None}}
    assert strict(json_text(values)) == plain(values)
    assert math.isnan(figures({'set': {'net': {'psnr': None, 'ssim': 0.5}}})['set']['net']['psnr'])
