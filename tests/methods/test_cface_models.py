"""C-Face's steps 1 and 4: losses against values computed by hand, what is trained by what, and the switches."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny
import torch
from stepping import assert_log, same, train, weights
from tiny import networks_of, replace_loss
from torch import Tensor, nn

from fsr_plugins.data import CompareFaceDataset
from fsr_plugins.degradations.bicubic import BicubicDown
from fsr_plugins.errors import UserError
from fsr_plugins.faces import TEMPLATE_112x96
from fsr_plugins.registry import ARCH_REGISTRY, load_plugins
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face

load_plugins()

from fsr_plugins.archs.recognition import Recogniser  # noqa: E402
from fsr_plugins.methods.cface.models import CFaceGANModel, CFaceJointModel  # noqa: E402

G = {'type': 'SRGANGenerator', 'scale': 4, 'num_feat': 4, 'num_block': 1}
D = {'type': 'SRGANDiscriminator', 'num_feat': 2, 'input_size': 32, 'num_fc': 4}
R = {'type': 'SphereFace20', 'num_feat': 2}
H = {'type': 'ASoftmaxHead', 'embedding_size': 512, 'num_classes': 5, 'margin': 4}
GAN = {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.1}
CFACE = {'type': 'CompareFaceLoss', 'gamma_1': 0.05, 'gamma_2': 0.1}
#: Eq. 7 with a pixel loss in the place of L_P, whose VGG has weights of its own.
LOSSES: dict[str, Any] = {'gan_opt': GAN, 'pixel_opt': {'type': 'L1Loss'}, 'cface_opt': CFACE}
FR = {'type': 'ASoftmaxLoss', 'lambda_start': 5.0, 'lambda_min': 5.0}
SGD = {'type': 'SGD', 'lr': 1e-2, 'momentum': 0.9}


@pytest.fixture(scope='module', autouse=True)
def normalised() -> Iterator[None]:
    """A recogniser with BN, which SphereFace has not."""

    class NormalisedRecogniser(Recogniser):
        face_size = (16, 16)
        embedding_size = 512

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 4, stride=4)
            self.bn = nn.BatchNorm2d(4)
            self.fc = nn.Linear(64, 512)

        def embed(self, faces: Tensor) -> Tensor:
            return self.fc(self.bn(self.conv(faces)).flatten(1))

    ARCH_REGISTRY.register()(NormalisedRecogniser)
    yield
    del ARCH_REGISTRY._obj_map['NormalisedRecogniser']


def stage(train: dict[str, Any], **blocks: Any) -> dict[str, Any]:
    networks = {'network_g': G, 'network_d': D, 'network_r': R}
    return tiny.stage({'optim': {'type': 'Adam', 'lr': 1e-3}, **LOSSES, **train}, **{**networks, **blocks})


def gan(blocks: dict[str, Any] | None = None, **train: Any) -> CFaceGANModel:
    torch.manual_seed(0)
    return CFaceGANModel(stage(train, **(blocks or {})))


def joint(blocks: dict[str, Any] | None = None, **train: Any) -> CFaceJointModel:
    torch.manual_seed(0)
    return CFaceJointModel(
        stage({'fr_opt': FR, 'optim_r': SGD, 'optim_h': SGD, **train}, **{'network_h': H, **(blocks or {})})
    )


@pytest.fixture
def data() -> dict[str, Any]:
    """Four faces, of which the third has no compare face."""
    numbers = torch.Generator().manual_seed(1)
    gt, compare = (torch.randint(256, (4, 32, 32, 3), generator=numbers).to(torch.uint8) for _ in range(2))
    compare[2] = gt[2]
    return {
        'gt': gt,
        'compare_gt': compare,
        'has_compare': torch.tensor([True, True, False, True]),
        'identity': torch.tensor([0, 3, 4, 3]),
        'seed': torch.arange(4),
        'gt_path': ['a', 'b', 'c', 'd'],
    }


def image(batch: Tensor) -> Tensor:
    return batch.permute(0, 3, 1, 2).float() / 255


def l_si(first: Tensor, second: Tensor) -> Tensor:
    """Eq. 4 of each face."""
    return 2 - 2 * torch.cosine_similarity(first, second)


@torch.no_grad()
def by_hand(model: CFaceGANModel, data: dict[str, Any], use_compare: bool = True) -> dict[str, Tensor]:
    """Eq. 1, 6 and 7 from copies of the networks as they are; the discriminator's before it learns."""
    net_g, net_d, net_r = (copy.deepcopy(net) for net in (model.net_g, model.net_d, model.net_r))
    net_r.eval()
    gt, compare = image(data['gt']), image(data['compare_gt'])
    sr = net_g(BicubicDown(4)(gt))
    ours, theirs, others = net_r(sr), net_r(gt), net_r(compare)
    l_cf = 0.05 * l_si(ours, theirs)
    if use_compare:
        second = 0.1 * (l_si(ours, others) - l_si(theirs, others)).clamp(min=0)
        second[2] = 0
        l_cf = l_cf + second
    fake, real = torch.sigmoid(net_d(sr)), torch.sigmoid(net_d(gt))
    return {
        'l_pix': (sr - gt).abs().mean(),
        'l_gan': -0.1 * fake.log().mean(),
        'l_cface': l_cf.mean(),
        'l_d': -real.log().mean() - (1 - fake).log().mean(),
    }


@torch.no_grad()
def l_fr_by_hand(model: CFaceJointModel, data: dict[str, Any]) -> Tensor:
    """Eq. 3 with psi = cos(theta) (-1)^k cos(4 theta) - 2k, blended with 5 parts of the plain softmax; HR and SR."""
    net_g, net_r = copy.deepcopy(model.net_g), copy.deepcopy(model.net_r)
    gt = image(data['gt'])
    embeddings = net_r(torch.cat([gt, net_g(BicubicDown(4)(gt))])).double()
    weights = next(model.net_h.parameters()).double()
    lengths = embeddings.norm(dim=1, keepdim=True)
    cosine = (embeddings / lengths) @ (weights / weights.norm(dim=0))
    labels = torch.cat([data['identity'], data['identity']])
    theta = cosine[torch.arange(8), labels].acos()
    k = (4 * theta / torch.pi).floor()
    psi = (-1) ** k * (4 * theta).cos() - 2 * k
    logits = lengths * cosine
    logits[torch.arange(8), labels] = lengths[:, 0] * (5 * theta.cos() + psi) / 6
    return (logits.logsumexp(dim=1) - logits[torch.arange(8), labels]).mean()


def learned(model: Any, data: dict[str, Any]) -> set[str]:
    """The networks that one step changes."""
    before = {label: weights(getattr(model, label)) for label in model.networks if getattr(model, label) is not None}
    train(model, data)
    return {label for label, old in before.items() if not same(old, weights(getattr(model, label)))}


@pytest.mark.parametrize('make', [gan, joint])
def test_losses_of_the_generator_and_discriminator_by_hand(data: dict[str, Any], make: Any) -> None:
    model = make()
    expected = by_hand(model, data)
    log = train(model, data)
    log.pop('l_fr', None)
    assert_log(log, expected)


def test_the_batch_has_faces_on_either_side_of_the_bound(data: dict[str, Any]) -> None:
    """Otherwise the losses by hand would show nothing of the equation's max."""
    model = gan()
    gt, compare = image(data['gt']), image(data['compare_gt'])
    with torch.no_grad():
        ours, theirs, others = (model.net_r(x) for x in (copy.deepcopy(model.net_g)(BicubicDown(4)(gt)), gt, compare))
        above = (l_si(ours, others) > l_si(theirs, others))[data['has_compare']]
    assert above.any() and not above.all()


def test_recognition_loss_by_hand(data: dict[str, Any]) -> None:
    model = joint()
    expected = l_fr_by_hand(model, data)
    assert train(model, data)['l_fr'] == pytest.approx(float(expected), rel=1e-4)


#: Where points lie in a face of 32 pixels; each face's own are turned and shifted.
POINTS = torch.tensor([[10.0, 12], [21, 11], [16, 17], [11, 23], [20, 22]])


def with_points(data: dict[str, Any]) -> dict[str, Any]:
    numbers = torch.Generator().manual_seed(2)
    landmarks, others = (POINTS + torch.randn(4, 5, 2, generator=numbers) for _ in range(2))
    return {**data, 'landmarks': landmarks, 'compare_landmarks': others}


def aligned(images: Tensor, landmarks: Tensor) -> Tensor:
    """Faces in SphereFace's position by OpenCV, whose least squares fit has no closed form in common with ours."""
    found = []
    for picture, points in zip(images.permute(0, 2, 3, 1).numpy(), landmarks.double().numpy(), strict=True):
        x, y = points.T
        zero, one = np.zeros(5), np.ones(5)
        rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
        wanted = TEMPLATE_112x96.double().numpy().T.ravel()
        a, b, c, d = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        found.append(cv2.warpAffine(picture, np.array([[a, -b, c], [b, a, d]]), (96, 112), flags=cv2.INTER_LINEAR))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


@pytest.mark.parametrize('subtract', [False, True])
def test_aligned_faces_relative_to_the_mean_by_hand(data: dict[str, Any], subtract: bool) -> None:
    data = with_points(data)
    model = gan(align='landmarks', subtract_mean=subtract)
    net_g, net_r = copy.deepcopy(model.net_g), copy.deepcopy(model.net_r)
    gt, compare = image(data['gt']), image(data['compare_gt'])
    with torch.no_grad():
        sr = net_g(BicubicDown(4)(gt))
        pairs = ((sr, 'landmarks'), (gt, 'landmarks'), (compare, 'compare_landmarks'))
        ours, theirs, others = (net_r(aligned(faces, data[points])) for faces, points in pairs)
        if subtract:
            mean = torch.nn.functional.normalize(theirs).mean(dim=0)
            ours, theirs, others = (torch.nn.functional.normalize(each) - mean for each in (ours, theirs, others))
        second = 0.1 * (l_si(ours, others) - l_si(theirs, others)).clamp(min=0)
        second[2] = 0
        expected = (0.05 * l_si(ours, theirs) + second).mean()
    assert train(model, data)['l_cface'] == pytest.approx(float(expected), rel=2e-3)  # OpenCV: 1/32 pixel


def test_the_mean_embedding_goes_on_where_it_was(data: dict[str, Any]) -> None:
    data = with_points(data)
    other = {**data, 'gt': data['compare_gt'], 'compare_gt': data['gt']}
    whole = gan(align='landmarks', subtract_mean=True)
    train(whole, data)
    begun = gan(align='landmarks', subtract_mean=True)
    train(begun, data)
    resumed = gan(align='landmarks', subtract_mean=True)
    state = copy.deepcopy(begun.training_state())
    resumed.check_training_state(state)
    resumed.load_training_state(state)
    for model in (whole, resumed):
        train(model, other, 2)
    assert same(weights(whole.net_g), weights(resumed.net_g))
    mean = torch.nn.functional.normalize(whole.net_r(torch.cat([aligned(image(each['gt']), data['landmarks'])
        for each in (data, other)]))).mean(dim=0)  # fmt: skip
    assert torch.allclose(whole.embedder.mean, mean, atol=2e-3)
    for damaged in ({}, {'mean_embedding': {'mean': 3, 'batches': 1}}):
        with pytest.raises(UserError, match='mean embedding is damaged'):
            whole.check_training_state({**{k: v for k, v in state.items() if k != 'mean_embedding'}, **damaged})


def test_a_face_without_points_is_refused_before_training(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    faces = [Face(f'k{n}', generator.integers(0, 256, (32, 32, 3), np.uint8), n % 2, POINTS.numpy()) for n in range(4)]
    faces[3] = faces[3]._replace(landmarks=np.full((5, 2), 7, np.float32))
    write_lmdb(tmp_path / 'set.lmdb', faces)
    block = {'name': 'faces', 'type': 'CompareFaceDataset', 'phase': 'train', 'scale': 4, 'compare': {'random': True}}
    block['dataroot_gt'] = str(tmp_path / 'set.lmdb')
    model = gan(align='landmarks')
    with pytest.raises(UserError, match='add `views: .landmarks.` to it'):
        model.check_data(CompareFaceDataset(block))
    with pytest.raises(UserError, match=r"1 of 4 faces .* cannot be aligned.*'k3'"):
        model.check_data(CompareFaceDataset({**block, 'views': ['landmarks']}))
    model.check_data(CompareFaceDataset({**block, 'views': ['landmarks'], 'exclude_keys': ['k3']}))


def test_without_compare_faces_l_si_is_left(data: dict[str, Any]) -> None:
    model = gan(use_compare=False)
    expected = by_hand(model, data, use_compare=False)
    assert_log(train(model, {key: value for key, value in data.items() if 'compare' not in key}), expected)


def test_recogniser_learns_in_the_joint_step_alone(data: dict[str, Any]) -> None:
    assert learned(gan(), data) == {'net_g', 'net_d'}
    assert learned(joint(), data) == {'net_g', 'net_d', 'net_r', 'net_h'}


def test_frozen_recogniser_is_bit_identical(data: dict[str, Any]) -> None:
    model = gan()
    before = weights(model.net_r)
    train(model, data, 1, 2, 3)
    assert same(before, weights(model.net_r))
    assert 'net_r' not in model.optimizers_by_net
    assert all(p.grad is None and not p.requires_grad for p in model.net_r.parameters())
    model.assert_frozen_unchanged()


def test_identity_loss_never_trains_the_recogniser(data: dict[str, Any]) -> None:
    """With a recognition loss of weight 0 the joint step leaves recogniser and head as they are."""
    model = joint(
        {'network_d': None}, gan_opt=None, pixel_opt=None, fr_opt={**FR, 'loss_weight': 0.0}, optim_r={**SGD, 'lr': 1.0}
    )
    assert learned(model, data) == {'net_g'}


@pytest.mark.parametrize('make', [gan, joint])
def test_identity_loss_alone_trains_the_generator(data: dict[str, Any], make: Any) -> None:
    model = make({'network_d': None}, gan_opt=None, pixel_opt=None)
    first, last = train(model, data), train(model, data, *range(1, 11))
    assert 0 < last['l_cface'] < first['l_cface']


@pytest.mark.parametrize('make', [gan, joint])
def test_recogniser_sees_hr_and_compare_faces_in_one_pass_without_a_graph(data: dict[str, Any], make: Any) -> None:
    model = make()
    seen: list[tuple[int, bool]] = []
    model.net_r.register_forward_hook(lambda net, given, output: seen.append((len(output), output.requires_grad)))
    train(model, data)
    assert seen == [(8, False), (4, True)] + ([(8, True)] if make is joint else [])


def test_statistics_of_a_recogniser_with_bn_move_by_its_own_step_alone(data: dict[str, Any]) -> None:
    model = joint({'network_r': {'type': 'NormalisedRecogniser'}})
    modes: list[bool] = []
    model.net_r.register_forward_hook(lambda net, given, output: modes.append(net.training))
    train(model, data)
    assert modes == [False, False, True]
    assert model.net_r.bn.num_batches_tracked == 1


@pytest.mark.parametrize('make', [gan, joint])
@pytest.mark.parametrize('channels_last', [False, True])
def test_recogniser_stays_in_float32_under_bf16(data: dict[str, Any], make: Any, channels_last: bool) -> None:
    model = make({'precision': 'bf16', 'channels_last': channels_last})
    seen: list[tuple[torch.dtype, torch.dtype]] = []
    model.net_r.register_forward_hook(lambda net, given, output: seen.append((given[0].dtype, output.dtype)))
    generated: list[torch.dtype] = []
    model.net_g.register_forward_hook(lambda net, given, output: generated.append(output.dtype))
    log = train(model, data, 1, 2)
    assert set(seen) == {(torch.float32, torch.float32)}
    assert set(generated) == {torch.bfloat16}
    assert all(np.isfinite(list(log.values())))


@pytest.mark.parametrize('make', [gan, joint])
def test_resumed_training_is_that_without_a_break(data: dict[str, Any], make: Any) -> None:
    whole = make()
    train(whole, data, 1, 2, 3, 4)
    begun = make()
    train(begun, data, 1, 2)
    resumed = make()
    resumed.load_training_state(copy.deepcopy(begun.training_state()))
    train(resumed, data, 3, 4)
    for label in whole.trainable():
        assert same(weights(getattr(whole, label)), weights(getattr(resumed, label))), label


def test_basicsrs_discriminator_can_take_the_place(data: dict[str, Any]) -> None:
    large = {**data, **{key: data[key].repeat(1, 4, 4, 1) for key in ('gt', 'compare_gt')}}
    model = gan({'network_d': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 2, 'input_size': 128}})
    assert set(train(model, large)) == {'l_pix', 'l_gan', 'l_cface', 'l_d'}


def test_content_loss_sees_sr_and_hr(data: dict[str, Any]) -> None:
    class Difference(nn.Module):
        def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
            return (sr.mean() - gt.mean()).abs()

    model = gan()
    replace_loss(model, 'content_opt', Difference())
    gt = image(data['gt'])
    with torch.no_grad():
        expected = (copy.deepcopy(model.net_g)(BicubicDown(4)(gt)).mean() - gt.mean()).abs()
    assert train(model, data)['l_content'] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize('off', [{key} for key in LOSSES] + [{'gan_opt', 'pixel_opt'}])
def test_each_loss_is_a_switch(data: dict[str, Any], off: set[str]) -> None:
    log = train(gan(**dict.fromkeys(off)), data)
    names = {'pixel_opt': {'l_pix'}, 'gan_opt': {'l_gan', 'l_d'}, 'cface_opt': {'l_cface'}}
    assert set(log) == set().union(*(names[key] for key in names.keys() - off))


@pytest.mark.parametrize('make', [gan, joint])
def test_testing_needs_the_generator_alone(make: Any) -> None:
    model = make()
    tested = type(model)({**model.opt, 'is_train': False})
    assert tested.net_d is None and tested.net_r is None
    assert set(networks_of(tested)) == {'result'}


@pytest.mark.parametrize('make', [gan, joint])
def test_batch_of_one(data: dict[str, Any], make: Any) -> None:
    one = {key: value[2:3] for key, value in data.items()}
    assert all(np.isfinite(list(train(make(), one).values())))


def test_every_parameter_of_what_is_trained_gets_a_gradient(data: dict[str, Any]) -> None:
    model = joint()
    reached: set[str] = set()
    names = set()
    for label, net in model.trainable().items():
        for name, p in net.named_parameters():
            names.add(f'{label}.{name}')
            p.register_post_accumulate_grad_hook(
                lambda p, key=f'{label}.{name}': reached.add(key) if p.grad.abs().sum() > 0 else None
            )
    train(model, data)
    assert reached == names


@pytest.mark.parametrize(
    ('blocks', 'options', 'message'),
    [
        ({'network_d': None}, {}, "'train.gan_opt'.*'network_d'"),
        ({'network_r': None}, {}, "'train.cface_opt'.*'network_r'"),
        ({}, dict.fromkeys(LOSSES), 'no loss'),
    ],
)
def test_what_the_switches_need_is_named(blocks: Any, options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        gan(blocks, **options)


@pytest.mark.parametrize(
    ('make', 'missing', 'message'),
    [(gan, 'compare_gt', 'CompareFaceDataset.*use_compare'), (joint, 'identity', 'identity')],
)
def test_what_a_batch_lacks_is_named(data: dict[str, Any], make: Any, missing: str, message: str) -> None:
    del data[missing]
    with pytest.raises(UserError, match=message):
        train(make(), data)
