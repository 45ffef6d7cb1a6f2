"""What version 0.1 left behind: experiments, training states, checkpoints and a method from outside (fixtures/v0_1)."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_dapfsr
import torch

import fsr_plugins
from fsr_plugins import config, pipeline
from fsr_plugins.engine.states import TrainingStates
from fsr_plugins.registry import ARCH_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY

FIXTURES = Path(__file__).parent / 'fixtures' / 'v0_1'
METHODS = ('cface', 'dapfsr', 'isrkd', 'pkdn', 'tsnet')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a copy of all that 0.1 left."""
    shutil.copytree(FIXTURES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(file: Path, key: str) -> dict[str, torch.Tensor]:
    return torch.load(file, weights_only=True)[key]


def test_a_finished_experiment_is_skipped_and_summed_up_as_it_was(folder: Path) -> None:
    before = json.loads((folder / 'experiments/finished/summary.json').read_text())
    files = {file: file.read_bytes() for file in folder.glob('experiments/finished/*/done.json')}
    summary = pipeline.run(config.load('small.yml'))
    assert summary['validation'] == before['validation'] and summary['metrics'] == before['metrics']
    assert {file: file.read_bytes() for file in files} == files
    assert not list(folder.glob('experiments/finished/*/training_states/*.state'))
    assert (folder / 'experiments/finished/comparison.png').is_file()


def test_a_finished_experiment_is_measured_as_it_was(folder: Path) -> None:
    before = json.loads((folder / 'experiments/finished/second/done.json').read_text())['validation']['held_out']
    found = pipeline.evaluate(config.load('small.yml'))['validation']['held_out']
    assert found.keys() == before.keys()
    for net, figures in before.items():
        assert found[net] == pytest.approx(figures, rel=1e-5), net


def test_a_begun_stage_goes_on_and_ends_where_the_uninterrupted_one_did(folder: Path) -> None:
    stage = folder / 'experiments/begun/second'
    state = TrainingStates(stage / 'training_states').newest()
    assert state is not None and state['iter'] == 4
    summary = pipeline.run(config.load('small.yml', ['name=begun']))
    assert summary['stages']['second']['iterations'] == 8
    lines = [json.loads(line)['iter'] for line in (stage / 'metrics.jsonl').read_text().splitlines()]
    assert lines == sorted(lines) and lines[-1] == 8
    ended, expected = (folder / f'experiments/{name}/second/models/net_g_latest.pth' for name in ('begun', 'finished'))
    for key in ('params', 'params_ema'):
        torch.testing.assert_close(weights(ended, key), weights(expected, key), rtol=1e-4, atol=1e-6)


def test_changed_options_are_still_refused(folder: Path) -> None:
    with pytest.raises(fsr_plugins.errors.UserError, match='train.ema_decay: 0.9 -> 0.8'):
        pipeline.run(config.load('small.yml', ['stages.first.train.ema_decay=0.8']))


def test_without_its_training_state_a_finished_stage_cannot_go_on(folder: Path) -> None:
    with pytest.raises(fsr_plugins.errors.UserError, match='its training state is not there any more: it cannot go on'):
        pipeline.run(config.load('small.yml', ['stages.first.train.total_iter=13']))


@pytest.mark.parametrize('method', METHODS)
def test_the_checkpoint_of_every_method_gives_the_same_image(method: str) -> None:
    with np.load(FIXTURES / 'checkpoints/expected.npz') as expected, tiny_dapfsr.registered():
        net = fsr_plugins.load(FIXTURES / f'checkpoints/{method}.pth')
        found = net(torch.from_numpy(expected[f'{method}_lq']))
        torch.testing.assert_close(found, torch.from_numpy(expected[f'{method}_sr']), rtol=1e-4, atol=1e-5)


@pytest.fixture
def old_method(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Option overrides with which the example plugin of 0.1 trains within seconds; it is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(folder / 'fsr_softedge'))
    monkeypatch.setenv('FSR_DATASETS', str(folder / 'datasets'))
    yield [
        'plugins=[fsr_softedge]',
        'num_gpu=0',
        'datasets.train.dataroot_gt=portraits://studio/train?number=6&size=32',
        'datasets.train.batch_size_per_gpu=2',
        'datasets.val.dataroot_gt=portraits://studio/test?number=2&size=32',
        'stages.teacher.train.total_iter=3',
        'stages.student.train.total_iter=3',
    ]
    for registry, name in (
        (ARCH_REGISTRY, 'SoftEdgeNet'),
        (LOSS_REGISTRY, 'SoftEdgeLoss'),
        (MODEL_REGISTRY, 'SoftEdgeModel'),
    ):
        registry._obj_map.pop(name, None)
    for module in [name for name in sys.modules if name.startswith('fsr_softedge')]:
        del sys.modules[module]
    sys.modules.pop('fsr_plugins.models.options', None)


def test_a_method_written_for_it_trains_with_warnings_that_name_the_new_words(folder: Path, old_method: Any) -> None:
    with pytest.warns(FutureWarning) as caught:
        summary = pipeline.run(config.load(folder / 'fsr_softedge/options/softedge.yml', old_method))
    assert set(summary['validation']['unseen']) == {'bicubic', 'result', 'teacher', 'student'}
    said = {str(warning.message) for warning in caught}
    for old in ('fsr_plugins.models.options', 'init_losses', "build_loss('pixel_opt')", 'validation_nets'):
        assert any(old in message and 'version 0.3' in message for message in said), old
