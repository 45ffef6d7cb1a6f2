"""C-Face's content loss against Eq. 2 on features found by torchvision's own VGG, with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from fsr_plugins import weights
from fsr_plugins.errors import UserError
from fsr_plugins.losses import requirements
from fsr_plugins.losses.content import ContentLoss
from fsr_plugins.registry import build

#: Where the layers of torchvision's ``features`` are that the readings of the paper name.
PLACES = {'relu3_1': 11, 'relu3_4': 17, 'relu5_3': 33}


@pytest.fixture(scope='module')
def vgg(tmp_path_factory: pytest.TempPathFactory) -> nn.Sequential:
    """VGG-19's layers with random weights, and a torch hub folder with a file of them under the published name.

    The classifier, which no loss reads, takes no room in it: each tensor is one number, repeated.
    """
    torch.manual_seed(0)
    features = torchvision.models.vgg19(weights=None).features
    for layer in features:
        if isinstance(layer, nn.Conv2d):  # weights that keep the images apart, as trained ones do
            nn.init.kaiming_normal_(layer.weight)
    with torch.device('meta'):
        shapes = torchvision.models.vgg19(weights=None).classifier.state_dict()
    state = {f'features.{key}': value for key, value in features.state_dict().items()}
    state |= {f'classifier.{key}': torch.zeros(()).expand(value.shape) for key, value in shapes.items()}
    folder = tmp_path_factory.mktemp('torch') / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    torch.save(state, folder / 'vgg19-dcbb9e9d.pth')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TORCH_HOME', str(folder.parents[1]))
        patch.setattr(torch.hub, '_hub_dir', None)
        yield features.eval().requires_grad_(False)


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    numbers = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 32, 32, generator=numbers), torch.rand(2, 3, 32, 32, generator=numbers)


def by_hand(features: nn.Sequential, layer: str, sr: Tensor, gt: Tensor, channel_sum: bool) -> Tensor:
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    ours, theirs = (features[: PLACES[layer] + 1]((image - mean) / std) for image in (sr, gt))
    height, width = ours.shape[2:]
    total = ((ours - theirs) ** 2).sum() / (height * width) / len(sr)
    return total if channel_sum else total / ours.shape[1]


@pytest.mark.parametrize('layer', list(PLACES))
def test_equation_2(vgg: nn.Sequential, images: tuple[Tensor, Tensor], layer: str) -> None:
    loss = build('losses', {'type': 'ContentLoss', 'layer': layer, 'loss_weight': 0.5})
    for channel_sum in (True, False):
        loss.channel_sum = channel_sum
        torch.testing.assert_close(loss(*images), 0.5 * by_hand(vgg, layer, *images, channel_sum))
    assert loss(images[0], images[0]) == 0


def test_only_sr_gets_a_gradient_and_vgg_none(vgg: nn.Sequential, images: tuple[Tensor, Tensor]) -> None:
    sr, gt = (image.clone().requires_grad_() for image in images)
    loss = ContentLoss()
    loss(sr, gt).backward()
    expected = torch.autograd.grad(by_hand(vgg, 'relu3_1', sr, images[1], False), sr)[0]
    torch.testing.assert_close(sr.grad, expected)
    assert gt.grad is None
    assert all(p.grad is None and not p.requires_grad for p in loss.parameters())


def test_layers_and_networks_that_do_not_exist_are_named() -> None:
    with pytest.raises(UserError, match='relu3_5'):
        ContentLoss(layer='relu3_5')
    with pytest.raises(UserError, match='vgg20'):
        requirements({'type': 'ContentLoss', 'vgg_type': 'vgg20'})
    with pytest.raises(UserError, match='vgg11 lacks'):
        requirements({'type': 'ContentLoss', 'vgg_type': 'vgg11', 'layer': 'relu3_4'})


def test_absent_weights_say_how_to_train_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError('no network')

    monkeypatch.setenv('FSR_WEIGHTS', str(tmp_path / 'own'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    monkeypatch.setattr(weights.urllib.request, 'urlopen', refuse)
    with pytest.raises(UserError, match=r'ContentLoss.*vgg19-dcbb9e9d\.pth.*content_opt: null.*pixel_opt'):
        requirements({'type': 'ContentLoss'})
