"""The base model on a scripted method: who learns in a phase, accumulation, what is handed on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fsr_plugins.errors import UserError
from fsr_plugins.models import FSRModel, Net, SupervisedModel, TrainOptions
from fsr_plugins.registry import ARCH_REGISTRY


class OneConv(nn.Module):
    """Bicubic-sized output through one convolution and batch normalisation."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(self.norm(self.conv(x)), scale_factor=2)


@pytest.fixture(autouse=True, scope='module')
def registered() -> Iterator[None]:
    ARCH_REGISTRY.register(OneConv)
    yield
    del ARCH_REGISTRY._obj_map['OneConv']


class Duel(FSRModel):
    """Two networks and a frozen one, trained in two phases."""

    networks = {
        'net_g': Net(result=True),
        'net_d': Net(train_only=True),
        'net_t': Net(frozen=True),
        'net_x': Net(optional=True),
    }
    Train = TrainOptions

    def prepare_training(self) -> None:
        self.seen: list[dict[str, bool]] = []

    def step(self) -> None:
        for label in ('net_g', 'net_d'):
            with self.phase(label, 'net_x') as losses:
                self.seen.append({n: next(net.parameters()).requires_grad for n, net in self.trainable().items()})
                losses[f'l_{label}'] = (self.net_d(self.net_g(self.lq)) - self.net_t(self.net_t(self.lq))).abs().mean()


def options(tmp_path: Path, **train: Any) -> dict[str, Any]:
    block = {'type': 'OneConv'}
    return {
        'name': 'duel', 'scale': 2, 'is_train': True, 'dist': False, 'rank': 0, 'num_gpu': 0,
        'network_g': block, 'network_d': block, 'network_t': block,
        'path': {'models': str(tmp_path)}, 'datasets': {},
        'train': {'total_iter': 4, 'optim': {'type': 'SGD', 'lr': 0.1}, **train},
    }  # fmt: skip


def batch(seed: int = 0, n: int = 4) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    return {
        'lq': torch.randint(0, 256, (n, 8, 8, 3), generator=generator, dtype=torch.uint8),
        'gt': torch.randint(0, 256, (n, 16, 16, 3), generator=generator, dtype=torch.uint8),
        'gt_path': [str(number) for number in range(n)],
    }


def test_only_the_networks_of_a_phase_learn_and_the_frozen_one_never(tmp_path: Path) -> None:
    model = Duel(options(tmp_path))
    before = copy.deepcopy({label: getattr(model, label).state_dict() for label in ('net_g', 'net_d', 'net_t')})
    model.feed_data(batch())
    model.optimize_parameters(1)
    assert model.seen == [{'net_g': True, 'net_d': False}, {'net_g': False, 'net_d': True}]
    assert model.net_x is None
    assert torch.equal(before['net_t']['conv.weight'], model.net_t.conv.weight)
    assert not torch.equal(before['net_g']['conv.weight'], model.net_g.conv.weight)
    assert not torch.equal(before['net_d']['conv.weight'], model.net_d.conv.weight)
    model.assert_frozen_unchanged()
    assert set(model.get_current_log()) == {'l_net_g', 'l_net_d'}


def test_uint8_batches_become_floats_in_the_right_order(tmp_path: Path) -> None:
    model = Duel(options(tmp_path))
    data = batch()
    model.feed_data(data)
    assert model.gt is not None
    assert model.gt.shape == (4, 3, 16, 16)
    assert model.gt[1, 2, 3, 5].item() == pytest.approx(data['gt'][1, 3, 5, 2].item() / 255)


def test_two_accumulated_batches_step_like_one_of_twice_the_size(tmp_path: Path) -> None:
    class NoNorm(SupervisedModel):
        networks = {'net_g': Net(result=True)}

    def trained(accumulate: int, batches: list[dict[str, Any]]) -> Tensor:
        torch.manual_seed(0)
        opt = options(tmp_path, pixel_opt={'type': 'MSELoss'}, accumulate=accumulate)
        opt['network_g'] = {
            'type': 'EDSR',
            'num_in_ch': 3,
            'num_out_ch': 3,
            'num_feat': 4,
            'num_block': 1,
            'upscale': 2,
        }
        model = NoNorm(opt)
        for number, data in enumerate(batches, 1):
            model.feed_data(data)
            model.optimize_parameters(number)
        return model.net_g.conv_first.weight.detach()

    first, second = batch(1), batch(2)
    both = {key: torch.cat([first[key], second[key]]) for key in ('lq', 'gt')}
    torch.testing.assert_close(trained(2, [first, second]), trained(1, [both]), atol=1e-6, rtol=1e-5)


def test_the_averaged_network_is_measured_and_saved(tmp_path: Path) -> None:
    model = Duel(options(tmp_path, ema_decay=0.5))
    model.feed_data(batch())
    model.optimize_parameters(1)
    assert model.evaluation.networks(model)['result'] is model.average['net_g'].net
    files = model.save_networks('1')
    assert set(files) == {'net_g', 'net_d'}
    content = torch.load(files['net_g'], weights_only=True)
    assert torch.equal(content['params']['conv.weight'], model.net_g.conv.weight)
    assert torch.equal(content['params_ema']['conv.weight'], model.average['net_g'].net.conv.weight)
    assert content['meta']['arch'] == {'type': 'OneConv'}


def test_a_training_state_puts_everything_back(tmp_path: Path) -> None:
    def steps(model: FSRModel, first: int, last: int) -> None:
        for number in range(first, last + 1):
            model.update_learning_rate(number, 3)
            model.feed_data(batch(number))
            model.optimize_parameters(number)

    opt = options(tmp_path, ema_decay=0.9, optim={'type': 'Adam', 'lr': 0.01},
                  scheduler={'type': 'MultiStepLR', 'milestones': [2, 5], 'gamma': 0.5})  # fmt: skip
    torch.manual_seed(1)
    whole, first = Duel(opt), Duel(opt)
    first.load_training_state(copy.deepcopy(whole.training_state()))
    first.net_t.load_state_dict(whole.net_t.state_dict())
    steps(whole, 1, 6)
    steps(first, 1, 3)
    torch.save(first.training_state(), tmp_path / 'state')
    resumed = Duel(opt)
    resumed.net_t.load_state_dict(whole.net_t.state_dict())
    resumed.load_training_state(torch.load(tmp_path / 'state', weights_only=True))
    steps(resumed, 4, 6)
    for label, net in whole.trainable().items():
        for key, value in net.state_dict().items():
            assert torch.equal(value, resumed.trainable()[label].state_dict()[key]), (label, key)
    average = whole.average['net_g'].net.state_dict()
    assert all(torch.equal(value, resumed.average['net_g'].net.state_dict()[key]) for key, value in average.items())
    assert whole.get_current_learning_rate() == resumed.get_current_learning_rate()


def test_a_missing_network_or_optimiser_is_named(tmp_path: Path) -> None:
    opt = options(tmp_path)
    del opt['network_g']
    with pytest.raises(UserError, match="needs a block 'network_g'"):
        Duel(opt)
    opt = options(tmp_path)
    del opt['train']['optim']
    with pytest.raises(UserError, match="neither 'optim_g' nor 'optim'"):
        Duel(opt)
