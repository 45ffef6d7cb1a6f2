"""Models that are not this toolkit's, in its engine: trained, kept, resumed bit for bit, refused what they lack."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import own_hosted
import pytest
import tiny
import torch
from basicsr.utils.registry import MODEL_REGISTRY

import fsr_plugins
from fsr_plugins import config, pipeline
from fsr_plugins.cli import main as fsr
from fsr_plugins.models import HostedModel
from fsr_plugins.models.hosted import attributes, hosted
from fsr_plugins.registry import lookup

TESTS = Path(__file__).parents[1]


class Named(str):
    """A text that a file of plain values cannot hold as what it is."""


def own_options() -> dict[str, Any]:
    return {
        'name': 'own', 'scale': 4, 'num_gpu': 0, 'model_type': 'QueueModel', 'plugins': ['own_hosted'],
        'datasets': {
            'train': {'type': 'CutAtRandom', 'dataroot_gt': 'faces', 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 2},
            'val': {'name': 'held', 'type': 'CutAtRandom', 'dataroot_gt': 'faces'},
        },
        'network_g': copy.deepcopy(tiny.EDSR),
        'train': {'total_iter': 9, 'warmup_iter': 3, 'scheduler': {'type': 'MultiStepLR', 'milestones': [5]}},
        'val': {'val_freq': 3, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 4, 'use_tb_logger': False},
    }  # fmt: skip


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.write_faces(tmp_path / 'faces')
    return tiny.write_options(tmp_path / 'own.yml', own_options())


def run(file: Path, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Trains in a process of its own, in a folder that has the data."""
    command = [sys.executable, str(Path(fsr_plugins.__file__).parent / 'train.py'), '-opt', str(file)]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', **more}
    environment['PYTHONPATH'] = os.pathsep.join([str(TESTS), environment.get('PYTHONPATH', '')])
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=240)


def left(folder: Path) -> dict[str, Any]:
    """What the last state of a run holds, without times and what it was made from."""
    state = torch.load(folder / 'experiments/own/train/training_states/9.state', weights_only=True)
    return {key: state[key] for key in ('model', 'own', 'random', 'validation')}


def differences(one: Any, other: Any, place: str = '') -> list[str]:
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [place]
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        return [line for key in one for line in differences(one[key], other[key], f'{place}.{key}')]
    if isinstance(one, list | tuple):
        assert len(one) == len(other), place
        pairs = zip(one, other, strict=True)
        return [line for number, pair in enumerate(pairs) for line in differences(*pair, f'{place}.{number}')]
    return [] if one == other else [place]


@pytest.mark.long
def test_killed_and_resumed_it_ends_bit_for_bit_as_never_stopped(own_file: Path, tmp_path: Path) -> None:
    whole = run(own_file, tmp_path)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    expected = left(tmp_path)
    kept = expected['own'][0]['attributes']
    assert kept['queue'][1].abs().sum() > 0 and kept['seen'][1][0] == ('images', ('plain', 18))
    (tmp_path / 'experiments').rename(tmp_path / 'whole')
    for moment in ('5', '8'):
        killed = run(own_file, tmp_path, **{own_hosted.KILLED_AT: moment})
        assert killed.returncode == -9, killed.stdout + killed.stderr
    resumed = run(own_file, tmp_path)
    assert resumed.returncode == 0 and 'resumed at iteration 6' in resumed.stdout, resumed.stdout + resumed.stderr
    assert differences(expected, left(tmp_path)) == []
    files = [folder / 'own/train/models/net_g_latest.pth' for folder in (tmp_path / 'whole', tmp_path / 'experiments')]
    one, other = (torch.load(file, weights_only=True) for file in files)
    assert differences(one['params'], other['params']) == []
    assert one['meta']['arch'] == tiny.EDSR


def test_it_depends_on_what_is_kept(own_file: Path, tmp_path: Path) -> None:
    """Each of the things above is one that a resumed run needs: without it, the weights are others."""
    pipeline.run(config.load(own_file))
    state = torch.load(tmp_path / 'experiments/own/train/training_states/6.state', weights_only=True)
    opt = config.runtime(config.load(own_file).stages['train'])
    weights: dict[str, torch.Tensor] = {}
    for name in ('', 'queue', 'mean', 'numbers', 'weight'):
        model = lookup('models', 'QueueModel')(opt)
        model.load_training_state(state['model'])
        own = copy.deepcopy(state['own'][0])
        if name in ('queue', 'mean'):
            own['attributes'][name] = ('tensor', torch.zeros_like(own['attributes'][name][1]))
        elif name:
            del own['attributes'][name]
        model.load_own_state(own)
        torch.manual_seed(0)
        model.feed_data({'lq': torch.full((2, 3, 4, 4), 0.3), 'gt': torch.full((2, 3, 16, 16), 0.6)})
        model.optimize_parameters(7)
        weights[name] = model.model.net_g.conv_first.weight.detach().clone()
    for name, found in weights.items():
        assert torch.equal(found, weights['']) == (name == ''), name


class PacedModel(own_hosted.QueueModel):
    """Keeps what its options say in its attributes, as BasicSR's models do."""

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        said = self.opt['train']
        self.pace, self.steps, self.said, self.best = said['pace'], said['steps'], {'pace': said['pace']}, float('nan')

    def optimize_parameters(self, current_iter: int) -> None:
        super().optimize_parameters(current_iter)
        self.steps += 1
        self.best = self.log_dict['l_all']


def test_an_accepted_change_of_an_option_holds_in_an_attribute(
    own_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODEL_REGISTRY._obj_map, 'PacedModel', PacedModel)
    values = {**own_options(), 'model_type': 'PacedModel', 'val': None}
    values['train'] = {**values['train'], 'total_iter': 2, 'pace': 1, 'steps': 5}
    pipeline.run(config.load(tiny.write_options(own_file, values)))
    state = torch.load(tmp_path / 'experiments/own/train/training_states/2.state', weights_only=True)
    values['train']['pace'] = 7
    model = lookup('models', 'PacedModel')(
        config.runtime(config.load(tiny.write_options(own_file, values)).stages['train'])
    )
    model.load_own_state(state['own'][0])
    own = model.model
    assert (own.pace, own.said) == (7, {'pace': 7})
    assert own.steps == 7 and own.best > 0 and own.seen['images'] == 4


def test_its_rates_its_log_and_its_figures_are_the_engines(own_file: Path, tmp_path: Path) -> None:
    summary = pipeline.run(config.load(own_file))
    assert 5 < summary['validation']['held']['result']['psnr'] < 40
    assert "BasicSR's calculate_psnr, crop_border 0" in str(summary['metrics'])
    model = lookup('models', 'QueueModel')(config.runtime(config.load(own_file).stages['train']))
    rates = []
    for iteration in range(1, 8):
        model.update_learning_rate(iteration, 3)
        rates.append(round(model.get_current_learning_rate()[0] * 1e3, 6))
    assert rates == [0.333333, 0.666667, 1, 1, 1, 0.1, 0.1]
    assert not list(tmp_path.glob('experiments/own/train/*/*.tmp'))
    assert fsr(['test', '-opt', str(own_file), '--json', 'again.json']) == 0
    assert config.yamlfile.read(tmp_path / 'again.json').values['validation'] == summary['validation']


@pytest.mark.parametrize(
    ('change', 'key'),
    [
        ('precision=bf16', 'precision'), ('precision=auto', 'precision'), ('compile=true', 'compile'),
        ('channels_last=true', 'channels_last'), ('train.accumulate=2', 'train.accumulate'),
        ('train.clip_grad_norm=1.0', 'train.clip_grad_norm'), ('degradation.type=BicubicDown', 'degradation'),
        ('val.metrics.psnr.type=PSNR', 'val.metrics.psnr.type'), ('val.metrics.psnr.crop=2', 'val.metrics.psnr.crop'),
    ],
)  # fmt: skip
def test_what_it_cannot_have_is_refused_by_name(
    own_file: Path, change: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fsr(['train', '-opt', str(own_file), '--set', change]) == 2
    said = capsys.readouterr().err
    assert f"key '{key}'" in said and 'Traceback' not in said
    assert not Path('experiments').exists()


def test_a_model_that_fails_is_found_before_training(own_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ['train', '-opt', str(own_file), '--set', 'datasets.train.batch_size_per_gpu=5']
    assert fsr(arguments) == 2
    said = capsys.readouterr().err
    assert "the first iteration of stage 'train' fails" in said and 'own_hosted.py' in said


def test_which_classes_are_hosted() -> None:
    from basicsr.models.video_base_model import VideoBaseModel

    from fsr_plugins.models import SupervisedModel

    assert issubclass(lookup('models', 'VideoBaseModel'), HostedModel)
    assert hosted(VideoBaseModel) is lookup('models', 'VideoBaseModel')
    assert hosted(VideoBaseModel).hosts is VideoBaseModel
    assert lookup('models', 'SupervisedModel') is SupervisedModel


@pytest.mark.parametrize('kind', ['PCG64', 'PCG64DXSM', 'MT19937', 'Philox', 'SFC64'])
@pytest.mark.parametrize('there', [True, False])
def test_what_is_kept_can_be_read_again(kind: str, there: bool, tmp_path: Path) -> None:
    """NumPy's numbers, which metrics give, are floats; a file of weights alone may not hold them."""

    class Model:
        def __init__(self, seed: int) -> None:
            self.best = {np.str_('psnr'): {'val': np.float64(31.5), 'iter': np.int64(4)}}
            self.named, self.told = Named('four'), [np.bool_(True), np.float32(0.25)]
            self.numbers = np.random.Generator(getattr(np.random, kind)(seed))

    model, other = Model(1), Model(2)
    expected = copy.deepcopy(model.numbers).random(3)
    kept, lost = attributes.take(model, set())
    assert lost == []
    torch.save(kept, tmp_path / 'kept')
    other.best, other.named, other.told = {}, Named(''), []
    if not there:
        del other.numbers
    attributes.put_back(other, torch.load(tmp_path / 'kept', weights_only=True), torch.device('cpu'))
    assert other.best == {'psnr': {'val': 31.5, 'iter': 4}} and type(other.best['psnr']['val']) is float
    assert (other.named, type(other.named), other.told) == ('four', str, [True, 0.25])
    assert np.array_equal(other.numbers.random(3), expected)


def test_values_come_back_where_they_were() -> None:
    class Model:
        def __init__(self) -> None:
            shared = torch.arange(3.0)
            self.opt = {'aside': object()}
            self.net = torch.nn.Linear(2, 1)
            self.view = torch.arange(8.0)[2:5]
            self.wide = torch.ones(1).expand(4)
            self.pair = {'a': [shared, (1, 'two', None)], 3: torch.Generator().manual_seed(1)}
            self.again = shared
            self.bias = self.net.bias
            self.odd = object()

    model, other = Model(), Model()
    kept, lost = attributes.take(model, attributes.held({'net': model.net}))
    assert lost == ['odd (a object)'] and kept['bias'][0] == 'elsewhere' and 'opt' not in kept
    assert all(t.untyped_storage().nbytes() == t.nbytes for t in (kept['view'][1], kept['wide'][1]))
    model.pair[3].manual_seed(9)
    other.again.zero_()
    other.pair[3].manual_seed(2)
    attributes.put_back(other, kept, torch.device('cpu'))
    assert other.pair['a'][1] == (1, 'two', None) and other.pair['a'][0] is other.again
    assert torch.equal(other.again, torch.arange(3.0)) and other.bias is other.net.bias
    assert torch.equal(
        torch.rand(2, generator=other.pair[3]), torch.rand(2, generator=torch.Generator().manual_seed(1))
    )
