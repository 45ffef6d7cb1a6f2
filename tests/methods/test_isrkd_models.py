"""ISR-KD's two stages: losses against values computed by hand, the frozen teacher, and the switches."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from stepping import assert_log, train, weights
from tiny import networks_of
from torch import Tensor, nn

from fsr_plugins.checkpoints import load_weights
from fsr_plugins.edges import canny_cv2
from fsr_plugins.errors import UserError
from fsr_plugins.registry import load_plugins

load_plugins()

from fsr_plugins.methods.isrkd.archs import ISRKDGenerator  # noqa: E402
from fsr_plugins.methods.isrkd.models import ISRKDIncrementalModel, ISRKDPretrainModel  # noqa: E402

from basicsr.utils.color_util import rgb2ycbcr_pt  # noqa: E402  isort: skip

G = {'type': 'ISRKDGenerator', 'num_feat': 8, 'extension_feat': 4}
D = {'type': 'ISRKDDiscriminator', 'input_size': 64, 'num_feat': 2, 'num_fc': 4}
MSE = {'type': 'MSELoss', 'loss_weight': 1.0}
#: The paper's weights; without the identity loss, whose recogniser has weights of its own.
LOSSES: dict[str, Any] = {
    'pixel_opt': MSE,
    'edge_opt': {'type': 'SequenceLoss', 'loss': {**MSE, 'loss_weight': 0.3}, 'reduction': 'sum'},
    'lce_opt': {'type': 'LuminanceChrominanceLoss', 'mode': 'euclid'},
    'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 1.0},
}
KD = {'type': 'DistillationLoss', 'criterion': 'mse', 'response_weight': 5.0, 'feature_weight': 0.01}
OFF: dict[str, Any] = dict.fromkeys(LOSSES)


def stage(train: dict[str, Any], **blocks: Any) -> dict[str, Any]:
    own = {'scale': 8, 'degradation': {'type': 'CascadedBilinearDown', 'scale': 8}, 'network_g': G, 'network_d': D}
    return tiny.stage({'optim': {'type': 'Adam', 'lr': 1e-3}, **LOSSES, **train}, **{**own, **blocks})


def pretrain(blocks: dict[str, Any] | None = None, **train: Any) -> ISRKDPretrainModel:
    torch.manual_seed(0)
    return ISRKDPretrainModel(stage(train, **(blocks or {})))


def incremental(blocks: dict[str, Any] | None = None, **train: Any) -> ISRKDIncrementalModel:
    """A small second stage whose teacher has random weights of its own."""
    torch.manual_seed(0)
    return ISRKDIncrementalModel(stage({'kd_opt': KD, **train}, **{'network_t': G, **(blocks or {})}))


@pytest.fixture
def data() -> dict[str, Any]:
    """Two target faces with Canny maps, two source faces."""
    numbers = torch.Generator().manual_seed(1)

    def draw(shape: tuple[int, ...], steps: int, step: int) -> Tensor:
        return (torch.randint(steps, shape, generator=numbers) * step).to(torch.uint8)

    maps = {f'canny_{s}': draw((2, 64 // s, 64 // s), 2, 255) for s in (1, 2, 4)}
    images = {'gt': draw((2, 64, 64, 3), 256, 1), 'source_gt': draw((2, 64, 64, 3), 256, 1)}
    return {**images, **maps, 'seed': torch.arange(2), 'gt_path': ['a', 'b']}


def image(batch: Tensor) -> Tensor:
    return batch.permute(0, 3, 1, 2).float() / 255


def reduced(hr: Tensor) -> Tensor:
    """Three bilinear halvings are means over 2x2 pixels; 8 bits at the end."""
    return F.avg_pool2d(hr, 8).mul(255).round() / 255


def supervised_by_hand(output: Any, hr: Tensor, canny: list[Tensor], scale: float) -> dict[str, Tensor]:
    """Eq. 3, 6 and 8 with the weights of Sec. IV-B on images from 0 to ``scale``; ``canny`` (N, h, w) from 0 to 1."""
    error = output.sr - hr
    # Linear, so of differences too; BasicSR's offsets cancel.
    colour = (rgb2ycbcr_pt(output.sr) - rgb2ycbcr_pt(hr)) * scale
    edges = [((scale * (ours[:, 0] - theirs)) ** 2).mean() for ours, theirs in zip(output.edges, canny, strict=True)]
    return {
        'l_pix': scale**2 * (error**2).mean(),
        'l_lce': (colour**2).sum(dim=1).sqrt().mean(),
        'l_edge': 0.3 * torch.stack(edges).sum(),
    }


@torch.no_grad()
def by_hand(model: ISRKDPretrainModel, data: dict[str, Any], scale: float = 255.0) -> dict[str, Tensor]:
    """Eq. 3, 5, 6 and 8 of the target, from copies of the networks as they are."""
    net_g, net_d = copy.deepcopy(model.net_g), copy.deepcopy(model.net_d)
    gt = image(data['gt'])
    output = net_g(reduced(gt), details=True)
    fake, real = torch.sigmoid(net_d(output.sr)), torch.sigmoid(net_d(gt))
    return {
        **supervised_by_hand(output, gt, [data[f'canny_{s}'] / 255 for s in (4, 2, 1)], scale),
        'l_gan': -fake.log().mean(),
        'l_d': -real.log().mean() - (1 - fake).log().mean(),
    }


@torch.no_grad()
def kd_by_hand(model: ISRKDIncrementalModel, data: dict[str, Any], scale: float = 255.0) -> dict[str, Tensor]:
    """Eq. 2: 5 MSE of the images from 0 to ``scale``, 0.01 MSE of the bottleneck features, of source images."""
    lq = reduced(image(data['source_gt']))
    student, teacher = (copy.deepcopy(net)(lq, details=True) for net in (model.net_g, model.net_t))
    return {
        'l_response': 5 * ((scale * student.sr - scale * teacher.sr) ** 2).mean(),
        'l_feature': 0.01 * ((student.bottleneck - teacher.bottleneck) ** 2).mean(),
    }


def learned(model: Any, data: dict[str, Any]) -> set[str]:
    """The networks that one step changes."""
    before = {label: weights(getattr(model, label)) for label in model.networks if getattr(model, label) is not None}
    train(model, data)
    return {
        label
        for label, old in before.items()
        if not all(torch.equal(old[name], new) for name, new in weights(getattr(model, label)).items())
    }


@pytest.mark.parametrize('scale', [255, 1])
def test_losses_of_the_first_stage_by_hand(data: dict[str, Any], scale: int) -> None:
    model = pretrain(loss_range=scale)
    expected = by_hand(model, data, scale)
    assert_log(train(model, data), expected)


@pytest.mark.parametrize('scale', [255, 1])
def test_losses_of_the_second_stage_by_hand(data: dict[str, Any], scale: int) -> None:
    model = incremental(loss_range=scale)
    expected = {**by_hand(model, data, scale), **kd_by_hand(model, data, scale)}
    assert_log(train(model, data), expected)


def test_a_uniform_error_of_ten_levels() -> None:
    """Without any network: every pixel 10 levels off in each channel, Y off by 219/255 of that, no edges."""
    model = pretrain({'network_d': None}, gan_opt=None)
    hr = torch.full((1, 3, 64, 64), 100 / 255)
    edges = tuple(torch.full((1, 1, 64 // s, 64 // s), 0.1) for s in (4, 2, 1))
    model.batch = {f'canny_{s}': torch.zeros(1, 64 // s, 64 // s, dtype=torch.uint8) for s in (1, 2, 4)}
    losses: dict[str, Tensor] = {}
    output = type(model.net_g(torch.rand(1, 3, 8, 8), details=True))(hr + 10 / 255, edges, hr)
    model.supervise(output, hr, losses)
    assert float(losses['l_pix']) == pytest.approx(100, rel=1e-4)
    assert float(losses['l_lce']) == pytest.approx(10 * 219 / 255, rel=1e-4)
    assert float(losses['l_edge']) == pytest.approx(0.3 * 3 * 25.5**2, rel=1e-4)


def test_identity_loss_sees_images_in_0_1(data: dict[str, Any]) -> None:
    class Brightness(nn.Module):
        def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
            return (sr.mean() - gt.mean()).abs()

    model = pretrain()
    tiny.replace_loss(model, 'id_opt', Brightness())
    with torch.no_grad():
        gt = image(data['gt'])
        expected = (model.net_g(reduced(gt)).mean() - gt.mean()).abs()
    assert train(model, data)['l_id'] == pytest.approx(float(expected), rel=1e-4)


def test_every_network_but_the_teacher_learns(data: dict[str, Any]) -> None:
    assert learned(pretrain(), data) == {'net_g', 'net_d'}
    assert learned(incremental(), data) == {'net_g', 'net_d'}


def test_teacher_is_bit_identical_and_gets_no_gradient(data: dict[str, Any]) -> None:
    model = incremental()
    before = weights(model.net_t)
    train(model, data, 1, 2, 3)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(model.net_t).items())
    assert not model.net_t.training
    assert all(p.grad is None and not p.requires_grad for p in model.net_t.parameters())
    assert 'net_t' not in model.optimizers_by_net
    model.assert_frozen_unchanged()


@pytest.mark.parametrize(('precision', 'dtype'), [('fp32', torch.float32), ('bf16', torch.bfloat16)])
def test_teacher_sees_each_source_batch_once_without_a_graph(
    data: dict[str, Any], precision: str, dtype: torch.dtype
) -> None:
    model = incremental({'precision': precision})
    seen: list[tuple[Tensor, Any]] = []
    model.net_t.register_forward_hook(lambda net, given, output: seen.append((given[0], output)))
    train(model, data)
    [(lq, output)] = seen
    torch.testing.assert_close(lq, reduced(image(data['source_gt'])), rtol=0, atol=1.01 / 255)  # ties in rounding
    for tensor in (output.sr, output.bottleneck):
        assert tensor.dtype == dtype
        assert tensor.grad_fn is None


NO_PIXELS: dict[str, Any] = {**OFF, 'pixel_opt': {**MSE, 'loss_weight': 0.0}}


def test_distillation_leaves_a_copy_of_the_teacher_as_it_is(data: dict[str, Any]) -> None:
    model = incremental({'network_d': None}, **NO_PIXELS)
    model.net_g.load_state_dict(model.net_t.state_dict())
    assert learned(model, data) == set()
    assert model.get_current_log() == {'l_pix': 0, 'l_response': 0, 'l_feature': 0}


def test_features_can_be_compared_on_the_scale_of_the_images(data: dict[str, Any]) -> None:
    models = [incremental(scale_features=scaled) for scaled in (False, True)]
    for model in models:  # G_T begins as G_S: only another one has features of its own
        with torch.no_grad():
            next(model.net_g.parameters()).mul_(1.5)
    plain, scaled = (train(model, data) for model in models)
    assert plain['l_feature'] > 0
    assert scaled['l_feature'] == pytest.approx(255**2 * plain['l_feature'], rel=1e-4)
    assert scaled['l_response'] == plain['l_response']


def test_distillation_draws_another_network_to_the_teacher(data: dict[str, Any]) -> None:
    model = incremental({'network_d': None}, **NO_PIXELS)
    first, last = train(model, data), train(model, data, *range(1, 21))
    assert last['l_response'] < 0.9 * first['l_response']


@pytest.mark.parametrize('extended', [False, True])
def test_gradients_reach_every_parameter(data: dict[str, Any], extended: bool) -> None:
    model = incremental({'network_g': {**G, 'extended': extended}})
    gradients: dict[str, Tensor] = {}
    for label in ('net_g', 'net_d'):
        for name, p in getattr(model, label).named_parameters():
            p.register_post_accumulate_grad_hook(
                lambda p, key=f'{label}.{name}': gradients.update({key: p.grad.abs().sum()})
            )
    train(model, data)
    names = {f'{label}.{name}' for label in ('net_g', 'net_d') for name, _ in getattr(model, label).named_parameters()}
    assert {name for name, total in gradients.items() if total > 0} == names


def test_adversarial_loss_is_on_target_images_alone(data: dict[str, Any]) -> None:
    model = incremental(**{**OFF, 'gan_opt': LOSSES['gan_opt']}, supervise_source=True)
    seen: list[int] = []
    model.net_d.register_forward_hook(lambda net, given, output: seen.append(len(given[0])))
    train(model, data)
    assert seen == [2, 2, 2]


def test_source_images_are_supervised_where_asked_for(data: dict[str, Any]) -> None:
    model = incremental(supervise_source=True, edge_source='device')
    hr = image(data['source_gt'])
    canny = [canny_cv2(F.avg_pool2d(hr, factor), adaptive='mean_std')[:, 0] for factor in (4, 2, 1)]
    with torch.no_grad():
        expected = supervised_by_hand(model.net_g(reduced(hr), details=True), hr, canny, 255)
    log = train(model, data)
    assert_log({name: log.pop(f'{name}_source') for name in expected}, expected)
    assert set(log) == {'l_pix', 'l_lce', 'l_edge', 'l_gan', 'l_d', 'l_response', 'l_feature'}


def test_without_distillation_no_source_and_no_teacher_are_needed(data: dict[str, Any]) -> None:
    alone = {key: value for key, value in data.items() if 'source' not in key}
    model = incremental({'network_t': None}, kd_opt=None)
    assert set(train(model, alone)) == {'l_pix', 'l_lce', 'l_edge', 'l_gan', 'l_d'}
    assert set(model.evaluation.networks(model)) == {'result'}
    assert model.evaluation.comparisons(model) == {}


@pytest.mark.parametrize('off', [{key} for key in LOSSES] + [{'edge_opt', 'lce_opt', 'gan_opt'}])
def test_each_loss_is_a_switch(data: dict[str, Any], off: set[str]) -> None:
    log = train(pretrain(**dict.fromkeys(off)), data)
    names = {'pixel_opt': {'l_pix'}, 'edge_opt': {'l_edge'}, 'lce_opt': {'l_lce'}, 'gan_opt': {'l_gan', 'l_d'}}
    assert set(log) == set().union(*(names[key] for key in names.keys() - off))


def test_colour_loss_has_eipnets_mode(data: dict[str, Any]) -> None:
    model = pretrain(lce_opt={'type': 'LuminanceChrominanceLoss', 'mode': 'mse'})
    gt = image(data['gt'])
    with torch.no_grad():
        red, green, blue = (255 * (model.net_g(reduced(gt)) - gt)).unbind(1)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    expected = ((y**2).mean() + ((0.492111 * (blue - y)) ** 2).mean() + ((0.877283 * (red - y)) ** 2).mean()) / 3
    assert train(model, data)['l_lce'] == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize('scales', [[1], [2, 4]])
def test_edges_at_chosen_scales(data: dict[str, Any], scales: list[int]) -> None:
    model = pretrain(edge_scales=scales)
    with torch.no_grad():
        edges = dict(zip((4, 2, 1), model.net_g(reduced(image(data['gt'])), details=True).edges, strict=True))
        errors = [((255 * edges[s] - data[f'canny_{s}'][:, None].float()) ** 2).mean() for s in scales]
    assert train(model, data)['l_edge'] == pytest.approx(float(0.3 * sum(errors)), rel=1e-4)


def test_edges_found_on_the_device_are_opencvs(data: dict[str, Any]) -> None:
    model = pretrain(edge_source='device', edge_thresholds=[50, 255])
    targets = model.edge_targets(image(data['gt']))
    for factor, target in zip((1, 2, 4), targets, strict=True):
        for picture, edges in zip(data['gt'].numpy(), target, strict=True):
            blocks = picture.reshape(64 // factor, factor, 64 // factor, factor, 3).mean(axis=(1, 3), dtype=np.float64)
            grey = cv2.cvtColor(np.rint(blocks).astype(np.uint8), cv2.COLOR_RGB2GRAY)
            # Means that end in a half may be rounded either way, and an edge follow.
            assert (cv2.Canny(grey, 50, 255) // 255 != edges[0].numpy()).mean() < 0.01
    without = {key: value for key, value in data.items() if 'canny' not in key}
    assert 'l_edge' in train(model, without)


@pytest.mark.parametrize('thresholds', [[50], [50, 100, 200], [200, 100], 'otzu'])
def test_thresholds_that_are_none_are_found_in_the_options(thresholds: object) -> None:
    with pytest.raises(UserError, match=r"'train.edge_thresholds.* 0 <= low <= high"):
        pretrain(edge_source='device', edge_thresholds=thresholds)


def test_second_stage_begins_as_the_first_ended(data: dict[str, Any], tmp_path: Path) -> None:
    first = pretrain()
    train(first, data)
    torch.save({'params': first.net_g.state_dict()}, tmp_path / 'g.pth')
    path = {'pretrain_network_g': str(tmp_path / 'g.pth'), 'pretrain_network_t': str(tmp_path / 'g.pth')}
    model = incremental({'path': path})
    for net in (model.net_g, model.net_t):
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), first.net_g.parameters(), strict=True))
    log = train(model, data)
    assert (log['l_response'], log['l_feature']) == (0, 0)


def test_extended_network_takes_the_pretrained_weights_and_new_layers(tmp_path: Path) -> None:
    torch.manual_seed(3)
    source = ISRKDGenerator(num_feat=8)
    torch.save({'params': source.state_dict()}, tmp_path / 'g.pth')
    file = str(tmp_path / 'g.pth')
    path = {'pretrain_network_g': file, 'pretrain_network_t': file, 'strict_load_g': False}
    model = incremental({'network_g': {**G, 'extended': True}, 'path': path})
    own, taught = model.net_g.state_dict(), source.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in taught.items())
    assert {name.split('.')[0] for name in own.keys() - taught.keys()} == {'extension'}
    assert all(own[name].abs().sum() > 0 for name in own if name.startswith('extension') and name.endswith('weight'))
    load_weights(model.net_t, file)  # strict: the teacher has nothing more


def test_what_is_compared() -> None:
    model = incremental()
    nets = model.evaluation.networks(model)
    assert (nets['result'], nets['pretrained']) == (model.net_g, model.net_t)
    assert model.evaluation.comparisons(model) == {'incremental_vs_pretrained': ('result', 'pretrained')}
    assert set(networks_of(pretrain())) == {'result'}


def test_testing_needs_both_generators_alone() -> None:
    tested = ISRKDIncrementalModel({**incremental().opt, 'is_train': False})
    assert tested.net_d is None
    assert set(networks_of(tested)) == {'result', 'pretrained'}


def test_tables_hold_the_papers_layout() -> None:
    """Scratch and Cartoon-CelebA-5 of Table I, and Table II; the paper prints 0.42, 0.01 and 1.25 percent."""
    validation = {
        'celeba': {
            'bicubic': {'psnr': 23.0, 'ssim': 0.6},
            'pretrained': {'psnr': 24.2420, 'ssim': 0.7097},
            'result': {'psnr': 24.1403, 'ssim': 0.7096},
            'incremental_vs_pretrained': {'psnr': 33.2640, 'ssim': 0.9425},
        },
        'icartoonface': {'pretrained': {'psnr': 20.5817, 'zero': 0.0}, 'result': {'psnr': 20.8387, 'zero': 1.0}},
    }
    tables = ISRKDIncrementalModel.evaluation.tables(validation)
    rows = {(row['set'], row['metric']): row for row in tables['table_1']}
    assert rows['celeba', 'psnr'] == {
        'set': 'celeba',
        'metric': 'psnr',
        'pretrained': 24.2420,
        'incremental': 24.1403,
        'change_percent': pytest.approx(-0.42, abs=0.005),
    }
    assert rows['celeba', 'ssim']['change_percent'] == pytest.approx(-0.01, abs=0.005)
    assert rows['icartoonface', 'psnr']['change_percent'] == pytest.approx(1.25, abs=0.005)
    assert rows['icartoonface', 'zero']['change_percent'] is None
    assert tables['table_2'] == [{'set': 'celeba', 'psnr': 33.2640, 'ssim': 0.9425}]


def test_batch_of_one(data: dict[str, Any]) -> None:
    one = {key: value[:1] for key, value in data.items()}
    assert all(np.isfinite(list(train(incremental(), one).values())))


@pytest.mark.parametrize(
    ('make', 'blocks', 'options', 'message'),
    [
        (pretrain, {'network_d': None}, {}, 'network_d'),
        (pretrain, {}, OFF, 'train.pixel_opt'),
        (incremental, {'network_t': None}, {}, 'network_t'),
        (incremental, {'degradation': None}, {}, 'degradation'),
        (incremental, {}, {'kd_opt': MSE}, 'DistillationLoss'),
        (incremental, {}, {'supervise_source': True}, 'edge_source: device'),
    ],
)
def test_what_the_switches_need_is_named(make: Any, blocks: Any, options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(blocks, **options)


@pytest.mark.parametrize(('missing', 'message'), [('source_gt', 'SourceTargetDataset'), ('canny_2', 'canny_2')])
def test_what_a_batch_lacks_is_named(data: dict[str, Any], missing: str, message: str) -> None:
    del data[missing]
    with pytest.raises(UserError, match=message):
        train(incremental(), data)


def test_source_images_are_left_alone_when_nothing_is_learned_from_them(data: dict[str, Any]) -> None:
    kd = {'type': 'DistillationLoss', 'criterion': 'mse', 'schedule': 'kdfsrnet', 'epochs': 1, 'iters_per_epoch': 2}
    model = incremental(kd_opt=kd)
    seen = []
    model.net_g.register_forward_hook(lambda *_: seen.append(1))
    passes = []
    for iteration in range(1, 5):
        seen.clear()
        train(model, data, iteration)
        passes.append(len(seen))
    assert passes[0] == 2 and passes[-1] == 1, passes
