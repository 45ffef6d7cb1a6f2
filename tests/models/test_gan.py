"""The GAN model: losses against values computed by hand, who learns when, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from stepping import train
from torch import Tensor, nn

from fsr_plugins.degradations.bicubic import BicubicDown
from fsr_plugins.errors import UserError
from fsr_plugins.models import GANModel

D = {'type': 'SRGANDiscriminator', 'num_feat': 2, 'input_size': 32, 'num_fc': 4}
GAN = {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.1}
LOSSES: dict[str, Any] = {'pixel_opt': {'type': 'L1Loss'}, 'gan_opt': GAN}


def made(**train: Any) -> GANModel:
    torch.manual_seed(0)
    blocks = {'network_g': {**tiny.EDSR}, 'network_d': D}
    blocks = {key: train.pop(key, block) for key, block in blocks.items()}
    return GANModel(tiny.stage({'optim': {'type': 'Adam', 'lr': 1e-3}, **LOSSES, **train}, **blocks))


@pytest.fixture
def batch() -> dict[str, Any]:
    numbers = torch.Generator().manual_seed(1)
    gt = torch.randint(256, (3, 32, 32, 3), generator=numbers, dtype=torch.uint8)
    return {'gt': gt, 'seed': torch.arange(3), 'gt_path': ['a', 'b', 'c']}


def weights(net: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()]).clone()


@torch.no_grad()
def by_hand(model: GANModel, batch: dict[str, Any], relativistic: bool) -> dict[str, float]:
    """SRGAN's losses, and ESRGAN's Eq. 2 and 3 (halved), by the discriminator as it is."""
    net_g, net_d = copy.deepcopy(model.net_g), copy.deepcopy(model.net_d)
    gt = batch['gt'].permute(0, 3, 1, 2).float() / 255
    sr = net_g(BicubicDown(4)(gt))
    real, fake = net_d(gt), net_d(sr)
    if relativistic:
        ra_real, ra_fake = torch.sigmoid(real - fake.mean()), torch.sigmoid(fake - real.mean())
        l_d = -(ra_real.log().mean() + (1 - ra_fake).log().mean()) / 2
        l_gan = -((1 - ra_real).log().mean() + ra_fake.log().mean()) / 2
    else:
        l_d = -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean()
        l_gan = -torch.sigmoid(fake).log().mean()
    return {'l_pix': float(F.l1_loss(sr, gt)), 'l_gan': 0.1 * float(l_gan), 'l_d': float(l_d)}


@pytest.mark.parametrize('relativistic', [False, True])
def test_losses_by_hand(batch: dict[str, Any], relativistic: bool) -> None:
    model = made(relativistic=relativistic)
    expected = by_hand(model, batch, relativistic)
    assert train(model, batch, 1) == pytest.approx(expected, rel=1e-4)


def test_the_two_kinds_differ(batch: dict[str, Any]) -> None:
    plain, relativistic = by_hand(made(), batch, False), by_hand(made(), batch, True)
    assert plain['l_gan'] != pytest.approx(relativistic['l_gan'], rel=1e-2)


@pytest.mark.filterwarnings('error')
def test_the_generator_learns_when_it_is_due(batch: dict[str, Any]) -> None:
    scheduler = {'type': 'MultiStepLR', 'milestones': [6], 'gamma': 0.5}
    model = made(net_d_iters=2, net_d_init_iters=3, scheduler=scheduler, total_iter=8)
    moved = []
    for iteration in range(1, 9):
        before = {label: weights(net) for label, net in model.trainable().items()}
        model.update_learning_rate(iteration)
        train(model, batch, iteration)
        changed = {label for label, net in model.trainable().items() if not torch.equal(before[label], weights(net))}
        assert 'net_d' in changed
        moved += [iteration] if 'net_g' in changed else []
    assert moved == [4, 6, 8] and model.get_current_learning_rate() == [5e-4, 5e-4]


def test_without_adversarial_loss_there_is_no_discriminator(batch: dict[str, Any]) -> None:
    model = made(gan_opt=None, network_d=None)
    assert set(train(model, batch, 1)) == {'l_pix'} and model.net_d is None


def test_the_discriminator_is_not_needed_for_testing() -> None:
    model = GANModel({**made().opt, 'is_train': False})
    assert model.net_d is None and set(tiny.networks_of(model)) == {'result'}


def test_resumed_training_is_that_without_a_break(batch: dict[str, Any]) -> None:
    def fresh() -> GANModel:
        return made(relativistic=True, net_d_iters=2, ema_decay=0.9)

    whole, begun, resumed = fresh(), fresh(), fresh()
    train(whole, batch, *range(1, 6))
    train(begun, batch, *range(1, 4))
    resumed.load_training_state(copy.deepcopy(begun.training_state()))
    train(resumed, batch, 4, 5)
    for label, net in whole.trainable().items():
        assert torch.equal(weights(net), weights(resumed.trainable()[label]))
    assert torch.equal(weights(whole.average['net_g'].net), weights(resumed.average['net_g'].net))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'network_d': None}, "'train.gan_opt'.*'network_d'"),
        ({'accumulate': 2, 'net_d_iters': 2}, 'accumulate'),
        ({'accumulate': 2, 'net_d_init_iters': 3, 'total_iter': 8}, 'accumulate'),
        ({'net_d_init_iters': 8, 'total_iter': 8}, 'it would learn nothing'),
        ({'net_d_init_iters': 3, 'total_iter': 8, 'gan_opt': None}, "'net_d_init_iters' leaves iterations to net_d"),
        ({'net_d_iters': 2, 'gan_opt': None}, "'net_d_iters' leaves iterations to net_d"),
        ({'net_d_iters': 9, 'total_iter': 8}, 'it would learn nothing'),
        ({'net_d_iters': 4, 'net_d_init_iters': 5, 'total_iter': 7}, 'it would learn nothing'),
        ({'net_d_iters': 0}, 'net_d_iters'),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(**options)
