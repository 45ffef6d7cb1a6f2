"""TSNet's two stages: losses against values computed by hand, who learns from what, and the switches of Table 3."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from stepping import assert_log, same, weights
from tiny import networks_of
from torch import Tensor, nn

from fsr_plugins.errors import UserError
from fsr_plugins.registry import load_plugins

load_plugins()

from fsr_plugins.methods.tsnet.models import TSNetDegradationModel, TSNetJointModel  # noqa: E402

SR = {'type': 'TSNetSR', 'num_feat': 4, 'num_groups': 1, 'feedback_factor': 2}
DOWN = {'type': 'TSNetDown', 'num_feat': 4, 'num_block': 1}
D_LR = {'type': 'LightCNNDiscriminator', 'input_size': 16, 'channels': [4] * 5, 'num_fc': 4}
D_HR = {**D_LR, 'input_size': 64}


def gan(weight: float) -> dict[str, Any]:
    return {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': weight}


def mse(weight: float) -> dict[str, Any]:
    return {'type': 'MSELoss', 'loss_weight': weight}


def sequence(weight: float) -> dict[str, Any]:
    return {'type': 'SequenceLoss', 'loss': mse(weight)}


def stage(train: dict[str, Any], **blocks: Any) -> dict[str, Any]:
    return tiny.stage({'optim': {'type': 'SGD', 'lr': 0.5}, **train}, **blocks)


def joint(*, blocks: dict[str, Any] | None = None, **train: Any) -> TSNetJointModel:
    """A small joint stage with the paper's weights; ``blocks`` and ``train`` change it."""
    torch.manual_seed(0)
    networks = {
        'network_t': SR, 'network_s': SR, 'network_ds': DOWN, 'network_de': DOWN,
        'network_d_t': D_HR, 'network_d_s': D_HR, 'network_d_ds': D_LR, **(blocks or {}),
    }  # fmt: skip
    losses = {
        'pixel_opt_t': sequence(1.0), 'pixel_opt_s': sequence(1.0), 'cycle_opt': mse(1.0),
        'gan_opt_t': gan(0.001), 'gan_opt_s': gan(0.001), 'gan_opt_ds': gan(0.05), **train,
    }  # fmt: skip
    return TSNetJointModel(stage(losses, **networks))


def degradation() -> TSNetDegradationModel:
    torch.manual_seed(0)
    train = {'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0}, 'gan_opt': gan(0.05)}
    return TSNetDegradationModel(stage(train, network_de=DOWN, network_d_de=D_LR))


@pytest.fixture
def data() -> dict[str, Any]:
    numbers = torch.Generator().manual_seed(1)
    return {
        'gt': torch.randint(256, (2, 64, 64, 3), dtype=torch.uint8, generator=numbers),
        'real_lq': torch.randint(256, (2, 16, 16, 3), dtype=torch.uint8, generator=numbers),
        'seed': torch.arange(2),
        'gt_path': ['a', 'b'],
    }


def image(batch: Tensor) -> Tensor:
    return batch.permute(0, 3, 1, 2).float() / 255


def fools(logits: Tensor) -> Tensor:
    """The generator's half of Eq. 3, non-saturating: -log D(fake)."""
    return -torch.sigmoid(logits).log().mean()


def tells(real: Tensor, fake: Tensor) -> Tensor:
    """Eq. 3 for the discriminator: -log D(real) - log(1 - D(fake))."""
    return -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean()


def learned(model: Any, data: dict[str, Any]) -> set[str]:
    """The networks that one step changes."""
    before = {label: weights(getattr(model, label)) for label in model.networks if getattr(model, label) is not None}
    model.feed_data(data)
    model.optimize_parameters(1)
    return {label for label, old in before.items() if not same(old, weights(getattr(model, label)))}


class HalfBrightness(nn.Module):
    """A DeNet whose LR images are known: the mean of each 4x4 block, at half brightness."""

    def forward(self, hr: Tensor) -> Tensor:
        return 0.5 * F.avg_pool2d(hr, 4)


@torch.no_grad()
def by_hand(model: TSNetJointModel, gt: Tensor, real_lq: Tensor, teacher_lq: Tensor) -> dict[str, Tensor]:
    """Eq. 5 to 8 with the weights of Sec. 3.1, from copies of the networks as they are."""
    net = {label: copy.deepcopy(getattr(model, label)) for label in model.networks}
    taught = net['net_t'](teacher_lq, all_iterations=True)
    sr = net['net_s'](real_lq, all_iterations=True)
    target = net['net_t'](real_lq)
    back = net['net_ds'](sr[2])
    return {
        'l_pix_t': sum(((image - gt) ** 2).mean() for image in taught) / 3,
        'l_pix_s': sum(((image - target) ** 2).mean() for image in sr) / 3,
        'l_cycle': ((back - real_lq) ** 2).mean(),
        'l_gan_t': 0.001 * fools(net['net_d_t'](taught[2])),
        'l_gan_s': 0.001 * fools(net['net_d_s'](sr[2])),
        'l_gan_ds': 0.05 * fools(net['net_d_ds'](back)),
        'l_d_t': tells(net['net_d_t'](gt), net['net_d_t'](taught[2])),
        'l_d_s': tells(net['net_d_s'](gt), net['net_d_s'](sr[2])),
        'l_d_ds': tells(net['net_d_ds'](real_lq), net['net_d_ds'](back)),
    }


def test_losses_of_the_joint_stage_by_hand(data: dict[str, Any]) -> None:
    model = joint()
    model.net_de = HalfBrightness()
    gt, real_lq = image(data['gt']), image(data['real_lq'])
    expected = by_hand(model, gt, real_lq, 0.5 * F.avg_pool2d(gt, 4))
    model.feed_data(data)
    model.optimize_parameters(1)
    assert_log(model.get_current_log(), expected)


def test_teacher_on_bicubic_pairs_by_hand(data: dict[str, Any]) -> None:
    model = joint(lr_source='bicubic', blocks={'network_de': None})
    gt, real_lq = image(data['gt']), image(data['real_lq'])
    model.feed_data(data)
    assert model.lq is not None
    model.net_de = HalfBrightness()  # for the copies of by_hand only; the step must not use it
    expected = by_hand(model, gt, real_lq, model.lq)
    model.net_de = None  # type: ignore[assignment]
    model.optimize_parameters(1)
    assert_log(model.get_current_log(), expected)


def test_noise_on_the_teachers_lr_by_hand(data: dict[str, Any]) -> None:
    model = joint(lr_noise=0.1)
    model.net_de = HalfBrightness()
    gt, real_lq = image(data['gt']), image(data['real_lq'])
    lq = 0.5 * F.avg_pool2d(gt, 4)
    torch.manual_seed(3)
    expected = by_hand(model, gt, real_lq, lq + 0.1 * torch.randn(lq.shape))
    torch.manual_seed(3)
    model.feed_data(data)
    model.optimize_parameters(1)
    assert_log(model.get_current_log(), expected)


def test_losses_of_the_degradation_stage_by_hand(data: dict[str, Any]) -> None:
    model = degradation()
    gt, real_lq = image(data['gt']), image(data['real_lq'])
    bicubic = F.interpolate(gt, scale_factor=0.25, mode='bicubic', antialias=True, align_corners=False).clamp(0, 1)
    with torch.no_grad():
        generated = model.net_de(gt)
        expected = {
            'l_gan': 0.05 * fools(model.net_d_de(generated)),
            'l_d': tells(model.net_d_de(real_lq), model.net_d_de(generated)),
        }
    model.feed_data(data)
    assert model.lq is not None
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # the border is MATLAB's, torch's is not
    torch.testing.assert_close(model.lq[inside], bicubic[inside], rtol=0, atol=0.6 / 255)
    expected['l_pix'] = (generated - model.lq).abs().mean()
    model.optimize_parameters(1)
    assert_log(model.get_current_log(), expected)


def test_both_networks_of_the_degradation_stage_learn(data: dict[str, Any]) -> None:
    assert learned(degradation(), data) == {'net_de', 'net_d_de'}


def test_degradation_stage_has_nothing_to_validate() -> None:
    with pytest.raises(UserError, match='val: null'):
        degradation().evaluation.validate(degradation(), [])


def test_everything_but_denet_learns_in_the_joint_stage(data: dict[str, Any]) -> None:
    model = joint()
    assert learned(model, data) == set(model.networks) - {'net_de'}
    model.assert_frozen_unchanged()
    assert not model.net_de.training
    assert all(not p.requires_grad and p.grad is None for p in model.net_de.parameters())


NO_GAN = {'gan_opt_t': None, 'gan_opt_s': None, 'gan_opt_ds': None}


def test_nothing_of_the_student_reaches_the_teacher(data: dict[str, Any]) -> None:
    model = joint(**{**NO_GAN, 'gan_opt_s': gan(1.0)}, pixel_opt_t=sequence(0.0))
    assert learned(model, data) == {'net_s', 'net_ds', 'net_d_s'}


def test_cycle_moves_student_and_dsnet_alone(data: dict[str, Any]) -> None:
    model = joint(**NO_GAN, pixel_opt_t=sequence(0.0), pixel_opt_s=sequence(0.0))
    assert learned(model, data) == {'net_s', 'net_ds'}


def test_dsnet_s_adversarial_loss_does_not_move_the_student(data: dict[str, Any]) -> None:
    off = {'pixel_opt_t': sequence(0.0), 'pixel_opt_s': sequence(0.0), 'cycle_opt': mse(0.0)}
    model = joint(**{**NO_GAN, 'gan_opt_ds': gan(1.0)}, **off)
    assert learned(model, data) == {'net_ds', 'net_d_ds'}


def test_without_cycle_there_is_no_dsnet(data: dict[str, Any]) -> None:
    for blocks in ({}, {'network_ds': None, 'network_d_ds': None}):
        model = joint(use_cycle=False, blocks=blocks)
        assert learned(model, data) == {'net_t', 'net_s', 'net_d_t', 'net_d_s'}
        assert not {'l_cycle', 'l_gan_ds', 'l_d_ds'} & set(model.get_current_log())


def test_cyclegan_trains_tnet_by_cycle_and_discriminators_alone(data: dict[str, Any]) -> None:
    model = joint(train_mode='cyclegan')
    real_lq = image(data['real_lq'])
    with torch.no_grad():
        sr = model.net_t(real_lq)
        cycle = ((model.net_ds(sr) - real_lq) ** 2).mean()
        fooled = 0.001 * fools(model.net_d_t(sr))
    assert learned(model, data) == {'net_t', 'net_ds', 'net_d_t', 'net_d_ds'}
    log = model.get_current_log()
    assert set(log) == {'l_cycle', 'l_gan_t', 'l_gan_ds', 'l_d_t', 'l_d_ds'}
    assert log['l_cycle'] == pytest.approx(float(cycle), rel=1e-4)
    assert log['l_gan_t'] == pytest.approx(float(fooled), rel=1e-4)
    assert set(model.evaluation.networks(model)) == {'result', 'tnet'}


@pytest.mark.parametrize(
    ('switch', 'label'), [({}, 'net_s'), ({'eval_net': 's'}, 'net_s'), ({'eval_net': 't'}, 'net_t')]
)
def test_eval_net_chooses_the_result(switch: dict[str, str], label: str) -> None:
    model = joint(**switch)
    nets = model.evaluation.networks(model)
    assert nets['result'] is getattr(model, label)
    assert (nets['tnet'], nets['snet']) == (model.net_t, model.net_s)


def test_testing_needs_tnet_and_snet_alone() -> None:
    model = joint()
    tested = TSNetJointModel({**model.opt, 'is_train': False})
    built = {label for label in tested.networks if getattr(tested, label) is not None}
    assert built == {'net_t', 'net_s'}
    assert networks_of(tested)['result'] is tested.net_s


def test_batch_of_one(data: dict[str, Any]) -> None:
    one = {key: value[:1] for key, value in data.items()}
    for model in (joint(), degradation()):
        model.feed_data(one)
        model.optimize_parameters(1)
        assert all(torch.isfinite(torch.tensor(value)) for value in model.get_current_log().values())


@pytest.mark.parametrize(
    ('blocks', 'train', 'message'),
    [
        ({'network_s': None}, {}, 'network_s'),
        ({'network_de': None}, {}, 'network_de'),
        ({'network_ds': None}, {}, 'network_ds'),
        ({'network_d_t': None}, {}, 'network_d_t'),
        ({}, {'cycle_opt': None}, 'train.cycle_opt'),
        ({}, {'pixel_opt_s': None}, 'train.pixel_opt_s'),
        ({}, {'train_mode': 'cyclegan', 'use_cycle': False}, 'use_cycle: true'),
    ],
)
def test_what_the_switches_need_is_named(blocks: dict[str, Any], train: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        joint(blocks=blocks, **train)


def test_tnet_alone_can_be_tested() -> None:
    opt = {**stage({}, network_t=SR), 'is_train': False, 'train': None}
    model = TSNetJointModel(opt)
    nets = networks_of(model)
    assert set(nets) == {'result', 'tnet'} and nets['result'] is nets['tnet'] is model.net_t


def test_tnet_alone_learns_by_its_pairs(data: dict[str, Any]) -> None:
    others = dict.fromkeys(['network_s', 'network_ds', 'network_d_s', 'network_d_ds', 'network_d_t'])
    losses = dict.fromkeys(['pixel_opt_s', 'cycle_opt', 'gan_opt_t', 'gan_opt_s', 'gan_opt_ds'])
    model = joint(train_mode='teacher', use_cycle=False, blocks=others, **losses)
    model.net_de = HalfBrightness()
    gt = image(data['gt'])
    with torch.no_grad():
        taught = copy.deepcopy(model.net_t)(0.5 * F.avg_pool2d(gt, 4), all_iterations=True)
    model.feed_data(data)
    model.optimize_parameters(1)
    assert_log(model.get_current_log(), {'l_pix_t': sum(((made - gt) ** 2).mean() for made in taught) / 3})
    assert learned(model, data) == {'net_t'} and model.result_label(model.opt) == 'net_t'
    with pytest.raises(UserError, match="needs 'use_cycle: false'"):
        joint(train_mode='teacher')
    with pytest.raises(UserError, match="'train.lr_source: denet'"):
        joint(train_mode='teacher', use_cycle=False, blocks={'network_de': None})
