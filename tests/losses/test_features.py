"""Features against torchvision's own layers and values by hand; what a frozen network leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from fsr_plugins import weights
from fsr_plugins.archs.recognition import Recogniser
from fsr_plugins.archs.stylegan2 import StyleGAN2Critic
from fsr_plugins.errors import UserError
from fsr_plugins.losses import FeatureLoss, requirements
from fsr_plugins.losses.features import FeatureExtractor, features_factory, make_features, style_distance
from fsr_plugins.registry import ARCH_REGISTRY, build


class InPlace(nn.Module):
    """Adds ten to its input, in place."""

    def forward(self, x: Tensor) -> Tensor:
        return x.add_(10)


@ARCH_REGISTRY.register()
class FeatureTestNet(nn.Module):
    """Doubles the image, works in place on that, and would fail if it ran to its end; one part never runs."""

    def __init__(self, gain: float = 2.0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 1, groups=3), InPlace(), nn.Dropout(0.9))
        self.unused = nn.Conv2d(3, 3, 1)
        nn.init.constant_(self.body[0].weight, gain)
        nn.init.zeros_(self.body[0].bias)

    def forward(self, x: Tensor) -> Tensor:
        self.body(x)
        raise ValueError('ran to its end')


@ARCH_REGISTRY.register()
class FeatureTestRecogniser(Recogniser):
    """Sees images of 4x3."""

    face_size = (4, 3)
    embedding_size = 5

    def __init__(self, adapt: str = 'resize') -> None:
        super().__init__(adapt)
        self.conv = nn.Conv2d(3, 5, 1)

    def embed(self, faces: Tensor) -> Tensor:
        return self.conv(faces).mean(dim=(2, 3))


def checkpoint(path: Path, net: nn.Module, **arguments: Any) -> str:
    arch = {'type': type(net).__name__, **arguments}
    torch.save({'params': net.state_dict(), 'meta': {'arch': arch}}, path)
    return str(path)


@pytest.fixture()
def block(tmp_path: Path) -> dict[str, Any]:
    path = checkpoint(tmp_path / 'net_d_latest.pth', FeatureTestNet(), gain=2.0)
    return {'type': 'FeatureTestNet', 'path': path, 'layers': ['body.2', 'body.0']}


@pytest.fixture()
def images() -> tuple[Tensor, Tensor]:
    sr, gt = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return sr, gt


def test_features_by_hand(block: dict[str, Any], images: tuple[Tensor, Tensor]) -> None:
    last, first = make_features(block)(images[0])
    torch.testing.assert_close(first, 2 * images[0])  # although the next layer works in place
    torch.testing.assert_close(last, 2 * images[0] + 10)  # no dropout


def test_loss_by_hand(block: dict[str, Any], images: tuple[Tensor, Tensor]) -> None:
    loss = build('losses', {'type': 'FeatureLoss', 'features': block, 'loss_weight': 0.5})
    sr, gt = (image.clone().requires_grad_() for image in images)
    value = loss(sr, gt)
    # Both layers differ by twice the images' difference: the mean of its square four times, twice, halved.
    assert value.item() == pytest.approx(0.5 * 2 * 4 * ((images[0] - images[1]) ** 2).mean().item(), rel=1e-5)
    value.backward()
    torch.testing.assert_close(sr.grad, 0.5 * 2 * 4 * 2 * (images[0] - images[1]) / sr.numel())
    assert gt.grad is None
    assert all(weight.grad is None for weight in loss.extractor.parameters())


def test_the_network_is_frozen_and_no_part_of_the_loss(block: dict[str, Any]) -> None:
    loss = FeatureLoss(block).train()
    assert not list(loss.parameters())
    assert not loss.state_dict()
    assert not any(module.training for module in loss.extractor.train().modules())
    assert not any(weight.requires_grad for weight in loss.extractor.parameters())
    nn.Sequential(loss).to('meta')
    assert {weight.device.type for weight in loss.extractor.parameters()} == {'meta'}


def test_float32_under_autocast(block: dict[str, Any], images: tuple[Tensor, Tensor]) -> None:
    loss = FeatureLoss(block)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(*images)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(*images))
    assert loss(images[0].bfloat16(), images[1]).dtype == torch.float32


def test_layers_that_cannot_be_taken_are_named(block: dict[str, Any], images: tuple[Tensor, Tensor]) -> None:
    for layers, message in (
        (['body.4'], r"no layer 'body\.4'.*Did you mean 'body\.\d'"),
        (['xyz'], 'Its parts are body, unused'),
        ([], 'name each once'),
        (['body.0', 'body.0'], 'name each once'),
    ):
        with pytest.raises(UserError, match=message):
            make_features({**block, 'layers': layers})
    with pytest.raises(ValueError, match='ran to its end'):
        make_features({**block, 'layers': ['unused']})(images[0])
    idle = nn.MultiheadAttention(3, 1).requires_grad_(False)  # runs its part by its weights, not by calling it
    with pytest.raises(UserError, match="'part.out_proj' of Attention does not run"):
        FeatureExtractor(Attention(idle), ['part.out_proj'])(images[0])
    with pytest.raises(UserError, match="'part' of Attention gives no single tensor"):
        FeatureExtractor(Attention(idle), ['part'])(images[0])


class Attention(nn.Module):
    """Its part gives two tensors."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(2).transpose(1, 2)
        return self.part(pixels, pixels, pixels)[0]


def test_a_discriminator_gives_features_of_any_batch(tmp_path: Path) -> None:
    """Its last part compares images in groups of four; the features come before it."""
    torch.manual_seed(0)
    critic = StyleGAN2Critic(size=16, narrow=0.02)
    path = checkpoint(tmp_path / 'net_d_latest.pth', critic, size=16, narrow=0.02)
    images = torch.rand(5, 3, 16, 16)
    block = {'type': 'StyleGAN2Critic', 'path': path, 'layers': ['conv_body.0', 'conv_body.1']}
    first, second = make_features(block)(images)
    with torch.no_grad():
        expected = critic.conv_body[0](images * 2 - 1)
        torch.testing.assert_close(first, expected)
        torch.testing.assert_close(second, critic.conv_body[1](expected))


def test_a_recogniser_adapts_the_images(tmp_path: Path, images: tuple[Tensor, Tensor]) -> None:
    net = FeatureTestRecogniser()
    torch.save(net.state_dict(), tmp_path / 'published.pth')
    block = {'type': 'FeatureTestRecogniser', 'path': str(tmp_path / 'published.pth'), 'layers': ['conv']}
    resized = nn.functional.interpolate(images[0], (4, 3), mode='bilinear', antialias=True)
    torch.testing.assert_close(make_features(block)(images[0])[0], net.conv(resized * 2 - 1).detach())
    cut = images[0][:, :, 6:10, 6:9]
    torch.testing.assert_close(
        make_features({**block, 'adapt': 'centercrop'})(images[0])[0], net.conv(cut * 2 - 1).detach()
    )


def test_the_average_is_taken_where_there_is_one(tmp_path: Path, images: tuple[Tensor, Tensor]) -> None:
    content = {'params': FeatureTestNet().state_dict(), 'params_ema': FeatureTestNet(3.0).state_dict()}
    torch.save({**content, 'meta': {'arch': {'type': 'FeatureTestNet'}}}, tmp_path / 'net.pth')
    block = {'type': 'FeatureTestNet', 'path': str(tmp_path / 'net.pth'), 'layers': ['body.0']}
    torch.testing.assert_close(make_features(block)(images[0])[0], 3 * images[0])


def test_a_wrapped_network_is_read(block: dict[str, Any], tmp_path: Path, images: tuple[Tensor, Tensor]) -> None:
    state = {f'_orig_mod.module.{key}': value for key, value in FeatureTestNet(3.0).state_dict().items()}
    torch.save({'params': state, 'meta': {'arch': {'type': 'FeatureTestNet'}}}, tmp_path / 'net.pth')
    extractor = make_features({**block, 'path': str(tmp_path / 'net.pth'), 'layers': ['body.0']})
    torch.testing.assert_close(extractor(images[0])[0], 3 * images[0])


def test_files_and_blocks_that_do_not_fit(block: dict[str, Any], tmp_path: Path) -> None:
    torch.save(FeatureTestNet().state_dict(), tmp_path / 'bare.pth')
    other = StyleGAN2Critic(size=16, narrow=0.02)
    wrong = checkpoint(tmp_path / 'wrong.pth', other)
    torch.save({'params': other.state_dict(), 'meta': {'arch': {'type': 'FeatureTestNet'}}}, tmp_path / 'mixed.pth')
    for change, message in (
        ({'path': str(tmp_path / 'bare.pth')}, "no 'meta'"),
        ({'path': wrong}, 'holds a network of type StyleGAN2Critic, not FeatureTestNet'),
        ({'path': str(tmp_path / 'mixed.pth')}, 'does not fit FeatureTestNet'),
        ({'type': 'FeatureTestNett'}, "Did you mean 'FeatureTestNet'"),
        ({'type': None}, "needs a key 'type'"),
        ({'adapt': 'resize'}, 'adapt'),
    ):
        with pytest.raises(UserError, match=message):
            make_features({**block, **change})
    with pytest.raises(UserError, match="need 'path'"):
        requirements({'type': 'FeatureLoss', 'features': {'type': 'FeatureTestNet', 'layers': ['body.0']}})
    with pytest.raises(UserError, match=r'none\.pth'):
        requirements({'type': 'FeatureLoss', 'features': {**block, 'path': 'none.pth'}})
    (weight,) = requirements({'type': 'FeatureLoss', 'features': block})
    assert weight.path == block['path']


def test_what_a_block_may_hold_is_known_without_a_file() -> None:
    """An option file is checked before another stage has made the weights."""
    assert FeatureLoss.nested['features'] is features_factory
    assert features_factory('VGG').__name__ == 'the features of VGG'
    with pytest.raises(UserError, match='MobileFaceNet'):
        features_factory('MobileFacenet')


# ---- VGG ----


@pytest.fixture(scope='module')
def vgg(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Sequential, str]:
    """VGG-11's layers with random weights, and a file of them as torchvision would publish it."""
    torch.manual_seed(0)
    features = torchvision.models.vgg11(weights=None).features
    for layer in features:
        if isinstance(layer, nn.Conv2d):  # weights that keep the images apart, as trained ones do
            nn.init.kaiming_normal_(layer.weight)
    path = tmp_path_factory.mktemp('weights') / 'vgg11.pth'
    torch.save({f'features.{key}': value for key, value in features.state_dict().items()}, path)
    return features.eval(), str(path)


def test_equals_torchvisions_vgg(vgg: tuple[nn.Sequential, str], images: tuple[Tensor, Tensor]) -> None:
    features, path = vgg
    wanted = {'conv1_1': 0, 'relu1_1': 1, 'pool2': 5, 'relu4_1': 12}
    ours = make_features({'type': 'VGG', 'vgg_type': 'vgg11', 'layers': list(wanted), 'path': path})(images[0])
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    for tensor, place in zip(ours, wanted.values(), strict=True):
        with torch.no_grad():
            torch.testing.assert_close(tensor, features[: place + 1]((images[0] - mean) / std))


def test_only_the_layers_needed_are_kept(vgg: tuple[nn.Sequential, str]) -> None:
    loss = FeatureLoss({'type': 'VGG', 'vgg_type': 'vgg11', 'layers': ['relu2_1'], 'path': vgg[1]})
    assert [name for name, _ in loss.extractor.net.named_children()][-1] == 'relu2_1'


def test_networks_and_layers_that_do_not_exist_are_named() -> None:
    with pytest.raises(UserError, match=r'relu4_9.*vgg11 lacks'):
        make_features({'type': 'VGG', 'vgg_type': 'vgg11', 'layers': ['relu1_1', 'relu4_9']})
    with pytest.raises(UserError, match='vgg20'):
        make_features({'type': 'VGG', 'vgg_type': 'vgg20'})


def test_a_file_of_another_network_is_refused(vgg: tuple[nn.Sequential, str]) -> None:
    with pytest.raises(UserError, match="does not hold torchvision's weights of vgg19"):
        make_features({'type': 'VGG', 'path': vgg[1]})


@pytest.mark.parametrize('path', [None, 'none.pth'])
def test_absent_weights_say_what_to_do(path: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError('no network')

    monkeypatch.setenv('FSR_WEIGHTS', str(tmp_path / 'own'))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(weights.urllib.request, 'urlopen', refuse)
    block = {'type': 'VGG', 'path': path}
    parts = ['none.pth'] if path else ['vgg19-dcbb9e9d.pth', str(tmp_path / 'own')]
    for use in (lambda: requirements({'type': 'FeatureLoss', 'features': block}), lambda: make_features(block)):
        with pytest.raises(UserError) as caught:
            use()
        assert all(part in str(caught.value) for part in [*parts, 'type: MobileFaceNet', 'type: StyleGAN2Critic'])
        assert '\n' not in str(caught.value)


# ---- style ----


def test_style_equals_numpy() -> None:
    numbers = torch.Generator().manual_seed(0)
    first, second = (
        [torch.randn(count, channels, side, side, generator=numbers) * 3 + 1 for channels, side in ((4, 8), (6, 4))]
        for count in (3, 1)
    )
    expected = 0.0
    for ours, theirs in zip(first, second, strict=True):
        a, b = ours.numpy().astype(np.float64), theirs.numpy().astype(np.float64)
        expected += np.mean((a.mean((2, 3)) - b.mean((2, 3))) ** 2) + np.mean((a.std((2, 3)) - b.std((2, 3))) ** 2)
    assert style_distance(first, second).item() == pytest.approx(expected, rel=1e-5)
    pairs = [tensor.expand(3, -1, -1, -1) for tensor in second]
    assert style_distance(first, pairs).item() == pytest.approx(expected, rel=1e-5)


def test_the_place_of_things_is_no_style() -> None:
    features = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    assert style_distance([features], [features.flip(3)]).item() == pytest.approx(0, abs=1e-20)


def test_gradient_of_style_also_of_a_dead_channel() -> None:
    features = torch.rand(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    other = features.flip(0) * 2
    assert torch.autograd.gradcheck(lambda x: style_distance([x], [other]), features.clone().requires_grad_())
    features[:, 1] = 0
    features.requires_grad_()
    style_distance([features], [other]).backward()
    assert torch.isfinite(features.grad).all()


def test_style_of_embeddings_is_their_distance() -> None:
    first, second = torch.rand(2, 4, 5).unbind()
    torch.testing.assert_close(style_distance([first], [second]), (first - second).square().mean())
