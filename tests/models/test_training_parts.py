"""The parts of a training step against formulas: averages, warm-up, NaN watch, frozen networks, whole files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn

from fsr_plugins import atomic
from fsr_plugins.errors import RunError, UserError
from fsr_plugins.models import SupervisedModel, networks
from fsr_plugins.models.ema import MovingAverage
from fsr_plugins.models.optim import Schedule, build_optimizer, build_scheduler, optimizer_class, scheduler_class
from fsr_plugins.models.precision import Precision
from fsr_plugins.models.watch import LossWatch

CPU = torch.device('cpu')
LEARNING = {'pixel_opt': {'type': 'L1Loss'}, 'optim': {'type': 'SGD', 'lr': 1.0}}


def test_moving_average_follows_its_formula_and_copies_buffers() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    average = MovingAverage(net, 0.9)
    expected = net[0].weight.detach().clone().double()
    for step in range(5):
        with torch.no_grad():
            net[0].weight.add_(0.1 * (step + 1))
        net(torch.randn(4, 3, 8, 8) + 3)
        average.update(net)
        expected = 0.9 * expected + 0.1 * net[0].weight.detach().double()
    torch.testing.assert_close(average.net[0].weight.double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(average.net[1].running_mean, net[1].running_mean, atol=0, rtol=0)
    assert average.net[1].num_batches_tracked == 5
    assert not average.net.training


def rates(warmup: int, total: int, milestones: list[int]) -> list[float]:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer({'type': 'Adam', 'lr': 1.0}, [parameter])
    scheduler = build_scheduler({'type': 'MultiStepLR', 'milestones': milestones, 'gamma': 0.5}, optimizer)
    schedule = Schedule([(optimizer, scheduler)])
    seen = []
    for iteration in range(1, total + 1):
        schedule.set(iteration, warmup)
        optimizer.step()
        seen.append(optimizer.param_groups[0]['lr'])
    return seen


def test_warm_up_reaches_the_full_rate_and_keeps_the_milestones() -> None:
    assert rates(5, 10, [8]) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 0.5, 0.5])


def test_milestone_inside_the_warm_up() -> None:
    assert rates(4, 5, [2]) == pytest.approx([0.25, 0.5, 0.375, 0.5, 0.5])


def test_names_of_optimisers_and_schedulers() -> None:
    assert optimizer_class('SGD') is torch.optim.SGD
    assert scheduler_class('ExponentialLR') is torch.optim.lr_scheduler.ExponentialLR
    with pytest.raises(UserError, match="'Adamm'.*'Adam'"):
        optimizer_class('Adamm')
    with pytest.raises(UserError, match="'MultiStepsLR'.*'MultiStepLR'"):
        scheduler_class('MultiStepsLR')


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_named_with_iteration_and_files(value: float) -> None:
    watch = LossWatch(CPU)
    watch.add(16, {'l_pix': torch.tensor(1.0)}, ['a.png'])
    with pytest.raises(RunError, match='l_gan is -?(nan|inf) at iteration 17, batch: b.png, c.png'):
        watch.add(17, {'l_pix': torch.tensor(1.0), 'l_gan': torch.tensor(value)}, ['b.png', 'c.png'])


@pytest.mark.parametrize(
    ('value', 'said'),
    [
        (torch.ones(2, 3), 'a tensor of shape (2, 3)'),
        (torch.ones(1), 'a tensor of shape (1,)'),
        (0.5, 'a float'),
        (None, 'None'),
        ([torch.tensor(1.0)], 'a list'),
    ],
)
def test_a_loss_that_is_no_scalar_is_named(value: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        LossWatch(CPU).add(1, {'l_pix': torch.tensor(1.0), 'l_gan': value}, ['a.png'])
    assert str(caught.value) == f'The loss l_gan must give one number as a tensor, and gave {said}.'


def test_on_an_accelerator_the_check_waits_but_names_the_right_iteration() -> None:
    watch = LossWatch(torch.device('meta'))
    watch.add(1, {'l_pix': torch.tensor(1.0)}, ['a'])
    watch.add(2, {'l_pix': torch.tensor(math.nan)}, ['b'])
    watch.add(3, {'l_pix': torch.tensor(1.0)}, ['c'])
    with pytest.raises(RunError, match='iteration 2, batch: b'):
        watch.check()


def test_on_an_accelerator_the_check_does_not_wait_for_ever() -> None:
    watch = LossWatch(torch.device('meta'))
    watch.add(1, {'l_pix': torch.tensor(math.nan)}, ['a'])
    with pytest.raises(RunError, match='iteration 1, batch: a'):
        for iteration in range(2, 1001):
            watch.add(iteration, {'l_pix': torch.tensor(1.0)}, ['b'])


def test_a_frozen_network_stays_in_evaluation_mode_and_a_change_is_noticed() -> None:
    net = networks.freeze(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)))
    net.train()
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())
    before = networks.checksum(net)
    networks.assert_unchanged('net_t', networks.checksum(net), before)
    with torch.no_grad():
        net[0].bias.add_(1e-7)
    with pytest.raises(RunError, match='net_t was changed'):
        networks.assert_unchanged('net_t', networks.checksum(net), before)


def test_weights_of_another_arch_name_the_first_differing_tensors(tmp_path: Path) -> None:
    file = tmp_path / 'a.pth'
    torch.save({'params': nn.Conv2d(3, 4, 3).state_dict()}, file)
    with pytest.raises(UserError, match=r"a\.pth does not fit Conv2d: 'weight' is \(4, 3, 3, 3\) in the file, \(5"):
        networks.load_weights(nn.Conv2d(3, 5, 3), str(file))


def test_averaged_weights_fall_back_to_the_plain_ones_and_bare_dicts_load(tmp_path: Path) -> None:
    source, target = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    torch.save({'params': source.state_dict()}, tmp_path / 'plain.pth')
    networks.load_weights(target, str(tmp_path / 'plain.pth'), param_key='params_ema')
    assert torch.equal(source.weight, target.weight)
    torch.save({f'module.{key}': value for key, value in source.state_dict().items()}, tmp_path / 'bare.pth')
    other = nn.Conv2d(3, 4, 3)
    networks.load_weights(other, str(tmp_path / 'bare.pth'))
    assert torch.equal(source.weight, other.weight)


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    file = tmp_path / 'x.pth'
    atomic.write_text(file, 'old')

    def fail(handle: object) -> None:
        raise OSError(28, 'No space left on device')

    with pytest.raises(RunError, match='No space left'):
        atomic.write_atomically(file, fail)
    assert file.read_text() == 'old'
    assert [path.name for path in tmp_path.iterdir()] == ['x.pth']


def test_fp16_scaling_skips_a_step_that_overflowed() -> None:
    parameter = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    precision = Precision('fp16', CPU)
    precision.backward(parameter.sum() * math.inf)
    precision.step(optimizer)
    precision.update()
    assert parameter.item() == 1
    assert Precision('auto', CPU).name == 'fp32'


def test_clipping_bounds_the_norm() -> None:
    parameter = nn.Parameter(torch.zeros(4))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    precision = Precision('fp32', CPU)
    precision.backward((parameter * 10).sum())
    precision.step(optimizer, clip_grad_norm=0.5)
    assert parameter.detach().norm().item() == pytest.approx(0.5, rel=1e-4)


def test_an_iteration_without_a_step_leaves_the_fp16_scale() -> None:
    precision = Precision('fp16', CPU)
    precision.update()
    assert precision.scaler.get_scale() == Precision('fp16', CPU).scaler.get_scale()
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    precision.backward(weight.sum() * 2)
    precision.step(optimizer)
    precision.update()
    precision.update()
    assert weight.item() == -1


def test_phases_that_add_up_gradients_share_one_fp16_scale() -> None:
    """A first phase that overflows changes the scale after the second one's step, whose gradients have the old one."""
    model = SupervisedModel(tiny.stage({'accumulate': 2, **LEARNING}, network_g=tiny.EDSR))
    model.precision = Precision('fp16', CPU)
    first, second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    for label, parameter in (('net_first', first), ('net_second', second)):
        setattr(model, label, nn.ParameterList([parameter]))
        model.learning[label] = [parameter]
        model.optimizers_by_net[label] = torch.optim.SGD([parameter], lr=1.0)

    def step() -> None:
        overflows = math.inf if model.current_iter == 2 else 1.0
        for label, parameter, factor in (('net_first', first, overflows), ('net_second', second, 1.0)):
            with model.phase(label) as losses:
                losses['l'] = parameter.sum() * factor

    model.step = step  # type: ignore[method-assign]
    model.files = []
    model.watch.add = lambda *_: None  # type: ignore[method-assign]
    scale = model.precision.scaler.get_scale()
    for iteration in (1, 2):
        model.optimize_parameters(iteration)
    assert (first.item(), second.item()) == (0, -1)
    assert model.precision.scaler.get_scale() == scale / 2
