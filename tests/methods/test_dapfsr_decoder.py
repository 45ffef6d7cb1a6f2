"""DAP-FSR's decoder: penalties against BasicSR's and when they come, what learns, what is measured."""

from __future__ import annotations

import copy
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tiny_dapfsr import (
    BRIGHT,
    CRITIC,
    DECODER,
    FEAT,
    SIZE,
    assert_resumes,
    changed,
    faces,
    figures_of,
    image,
    loader,
    registered,
    state_of,
    train,
)
from torch import Tensor

from fsr_plugins.registry import load_plugins

load_plugins()

from basicsr.losses import g_path_regularize, r1_penalty  # noqa: E402  # isort: skip

from fsr_plugins.methods.dapfsr.decoder import DAPDecoderModel  # noqa: E402

ADAM = {'type': 'Adam', 'lr': 1e-3}


@pytest.fixture(scope='module', autouse=True)
def tiny_classes() -> Iterator[None]:
    with registered():
        yield


def decoder_model(is_train: bool = True, shared: bool = False, **options: Any) -> DAPDecoderModel:
    torch.manual_seed(0)
    losses = {
        'optim': ADAM,
        'gan_opt': {'type': 'LogisticGANLoss'},
        'r1_opt': {'type': 'R1Penalty', 'loss_weight': 10, 'interval': 3},
        'path_length_opt': {'type': 'PathLengthPenalty', 'loss_weight': 2, 'interval': 2, 'decay': 0.01},
    }
    stage = tiny.stage({**losses, **options}, network_g=DECODER, network_d=CRITIC, degradation=None, val=BRIGHT)
    return DAPDecoderModel({**stage, 'is_train': is_train, 'dist': shared})


def test_penalties_come_when_they_are_due() -> None:
    model, data = decoder_model(), faces(4)
    seen: list[set[str]] = []
    for current in range(1, 7):
        seen.append(set(train(model, data, first=current)) - {'l_d', 'l_g'})
    path = {'l_g_path', 'path_length'}
    assert seen == [set(), path, {'l_d_r1'}, path, set(), path | {'l_d_r1'}]
    # Before training the iteration is tried that has both, and ends a step.
    assert model.trial_iteration() == 6
    assert decoder_model(total_iter=8, accumulate=4).trial_iteration() == 12
    assert decoder_model(path_length_opt=None).trial_iteration() == 3


def test_a_penalty_left_out_is_off() -> None:
    model = decoder_model(r1_opt=None, path_length_opt=None)
    assert set(train(model, faces(4), 6)) == {'l_d', 'l_g'}
    assert model.mean_path_length == 0


def test_r1_is_basicsrs_on_images_from_minus_1_to_1() -> None:
    model, data = decoder_model(r1_opt={'type': 'R1Penalty', 'loss_weight': 10, 'interval': 1}), faces(4)
    critic, real = copy.deepcopy(model.net_d), (image(data['gt']) * 2 - 1).contiguous().requires_grad_()
    penalty = r1_penalty(critic(real, raw=True), real).item()
    assert train(model, data)['l_d_r1'] == pytest.approx(10 / 2 * 1 * penalty, rel=1e-4)


def test_path_length_is_basicsrs_on_half_the_batch() -> None:
    model, sizes, expected = decoder_model(), [], []
    penalise = model.losses.path_length_opt.forward

    def both(images: Tensor, latents: Tensor, mean: Tensor) -> Any:
        numbers = torch.get_rng_state()
        sizes.append(len(images))
        assert images.min() < -0.1  # of [-1, 1]
        penalty, length, new = g_path_regularize(images, latents, mean, decay=0.01)
        expected.append((2 * 2 * penalty.item(), length.item(), new.item()))
        torch.set_rng_state(numbers)
        return penalise(images, latents, mean)

    model.losses.path_length_opt.forward = both
    for current in range(1, 5):
        log = train(model, faces(4), first=current)
    assert sizes == [2, 2]
    assert [log['l_g_path'], log['path_length'], float(model.mean_path_length)] == pytest.approx(expected[-1], rel=1e-4)
    assert expected[-1][2] > expected[0][2] > 0


def test_losses_of_critic_and_decoder_by_hand() -> None:
    """softplus of the critic as it was at each of the two phases."""
    model, data, made, critics = decoder_model(mixing_prob=0), faces(4), [], []
    model.net_g.register_forward_hook(lambda _, given, output: made.append(output.detach()))
    model.net_g.register_forward_hook(lambda *_: critics.append(copy.deepcopy(model.net_d)))
    log = train(model, data)
    assert [len(each) for each in made] == [4, 4]
    with torch.no_grad():
        fake, real = critics[0](made[0], raw=True), critics[0](image(data['gt']))
        l_d = (1 + fake.exp()).log().mean() + (1 + (-real).exp()).log().mean()
        l_g = (1 + (-critics[1](made[1], raw=True)).exp()).log().mean()
    assert log == pytest.approx({'l_d': float(l_d), 'l_g': float(l_g)}, rel=1e-4)
    assert not torch.equal(critics[0].final_conv[0].weight, critics[1].final_conv[0].weight)


@pytest.mark.parametrize(('mixing_prob', 'styles'), [(0, {1}), (1, {2}), (0.5, {1, 2})])
def test_faces_are_made_of_one_or_two_z(mixing_prob: float, styles: set[int]) -> None:
    model = decoder_model(mixing_prob=mixing_prob)
    drawn = [model.draw_styles(3) for _ in range(20)]
    assert {len(each) for each in drawn} == styles
    assert {z.shape for each in drawn for z in each} == {(3, FEAT)}
    assert not any(torch.equal(*each) for each in drawn if len(each) == 2)


def test_every_part_of_decoder_and_critic_learns() -> None:
    model = decoder_model(mixing_prob=1)
    for label in ('net_g', 'net_d'):
        net = getattr(model, label)
        before = state_of(net)
        train(model, faces(4), 3)
        assert changed(net, before) == {name for name, _ in net.named_parameters()}


def test_resumed_decoder_training_is_that_without_a_break() -> None:
    assert_resumes(lambda: decoder_model(ema_decay=0.9), faces(4))


def test_mean_path_length_is_part_of_the_training_state() -> None:
    model = decoder_model()
    train(model, faces(4), 2)
    other = decoder_model()
    other.load_training_state(copy.deepcopy(model.training_state()))
    assert other.mean_path_length == model.mean_path_length > 0


def test_the_moving_average_is_the_result() -> None:
    model = decoder_model(ema_decay=0.5)
    before = state_of(model.net_g)
    train(model, faces(4))
    assert model.result_label(model.opt) == 'net_g'
    averaged = model.evaluated('net_g')
    for name, parameter in model.net_g.named_parameters():
        torch.testing.assert_close(averaged.state_dict()[name], (before[name] + parameter.detach()) / 2)


def test_picture_is_of_the_averaged_decoder_and_always_of_the_same_z() -> None:
    model = decoder_model(ema_decay=0.9)
    train(model, faces(4))
    numbers, picture = torch.get_rng_state(), model.preview()
    assert torch.equal(numbers, torch.get_rng_state())
    assert picture.shape == (3, 2 * SIZE, 8 * SIZE)
    assert 0 <= picture.min() < picture.max() <= 1
    z = torch.randn(16, FEAT, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = model.average['net_g'].net(z, randomize_noise=False).clamp(0, 1)
    for number, face in enumerate(made):
        row, column = divmod(number, 8)
        cut = picture[:, row * SIZE : (row + 1) * SIZE, column * SIZE : (column + 1) * SIZE]
        torch.testing.assert_close(cut, face, rtol=1e-4, atol=1e-5)


def test_as_many_faces_as_the_set_has_are_measured_without_lr() -> None:
    model = decoder_model(ema_decay=0.9)
    train(model, faces(4))
    numbers = torch.get_rng_state()
    found = model.validate(loader(faces(5), slice(0, 3), slice(3, 5)))
    assert torch.equal(numbers, torch.get_rng_state())  # training goes on as without
    assert model.lq is None
    generator = torch.Generator().manual_seed(0)
    z = torch.cat([torch.randn(num, FEAT, generator=generator) for num in (3, 2)])
    with torch.no_grad():
        made = model.average['net_g'].net(z, randomize_noise=False)
    assert set(found) == {'result'}
    assert found['result'] == pytest.approx({'bright': figures_of(made)}, abs=1e-4)


def test_a_finished_decoder_is_measured_without_its_critic() -> None:
    model = decoder_model(is_train=False)
    assert model.net_d is None
    assert set(model.validate(loader(faces(2), slice(0, 2)))) == {'result'}


def _one_step(rank: int, of: str, **options: Any) -> dict[str, Tensor]:
    """A step of SGD of one of the two networks with both penalties, on faces and draws of this process alone."""
    rates = {f'optim_{net}': {'type': 'SGD', 'lr': 0.1 * (net == of)} for net in 'gd'}
    penalties = {
        'r1_opt': {'type': 'R1Penalty', 'interval': 1},
        'path_length_opt': {'type': 'PathLengthPenalty', 'interval': 1},
    }
    model = decoder_model(**rates, **penalties, **options)
    torch.manual_seed(10 + rank)
    assert {'l_d_r1', 'l_g_path'} <= set(train(model, faces(4, seed=20 + rank)))
    return state_of(model.trainable()[f'net_{of}'])


def _share(rank: int, port: int, out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    states = {of: _one_step(rank, of, shared=True) for of in 'gd'}
    whole = decoder_model(shared=True)
    torch.manual_seed(rank)
    train(whole, faces(4, seed=rank), 6)
    states |= {label: state_of(net) for label, net in whole.trainable().items()}
    torch.save(states, out / f'{rank}.pth')
    dist.destroy_process_group()


@pytest.mark.long
def test_two_processes_take_the_mean_of_their_gradients_through_both_penalties(tmp_path: Path) -> None:
    """A step of SGD is linear in the gradient: together they end in the middle of where each would end alone."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    mp.spawn(_share, (port, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in range(2))
    for of in 'gd':
        alone = [_one_step(rank, of) for rank in range(2)]
        names = {name for name, _ in getattr(decoder_model(), f'net_{of}').named_parameters()}
        for name in names:
            ours, theirs = (each[name] for each in alone)
            assert not torch.equal(ours, theirs)
            torch.testing.assert_close(first[of][name], (ours + theirs) / 2, rtol=1e-4, atol=1e-6)
    for label in ('g', 'd', 'net_g', 'net_d'):
        assert all(torch.equal(tensor, second[label][name]) for name, tensor in first[label].items())
