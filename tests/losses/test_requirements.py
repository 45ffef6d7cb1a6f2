"""Losses that need pretrained weights say so before they are built."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from fsr_plugins import weights
from fsr_plugins.errors import UserError
from fsr_plugins.losses import requirements
from fsr_plugins.registry import build
from fsr_plugins.weights import WeightFile, locate

PERCEPTUAL = {'type': 'PerceptualLoss', 'layer_weights': {'conv1_1': 1.0}, 'vgg_type': 'vgg11'}


@pytest.fixture()
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network, empty folders; returns torch hub's."""

    def refuse(*args: object, **options: object) -> None:
        raise OSError('no network')

    monkeypatch.setenv('FSR_WEIGHTS', str(tmp_path / 'own'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    monkeypatch.setattr(weights.urllib.request, 'urlopen', refuse)
    return tmp_path / 'torch' / 'hub' / 'checkpoints'


def test_most_need_nothing() -> None:
    assert requirements({'type': 'L1Loss', 'loss_weight': 1.0}) == []
    assert requirements({'type': 'SequenceLoss', 'loss': {'type': 'MSELoss'}}) == []


def test_perceptual_loss_needs_vgg() -> None:
    (weight,) = requirements({'type': 'PerceptualLoss', 'layer_weights': {'conv5_4': 1.0}})
    assert (weight.filename, weight.sha256) == ('vgg19-dcbb9e9d.pth', 'dcbb9e9d')
    assert requirements({'type': 'SequenceLoss', 'loss': {'type': 'PerceptualLoss', 'layer_weights': {}}}) == [weight]
    with pytest.raises(UserError, match='vgg20'):
        requirements({**PERCEPTUAL, 'vgg_type': 'vgg20'})


def test_absent_vgg_is_one_line(offline: Path, tmp_path: Path) -> None:
    (weight,) = requirements(PERCEPTUAL)
    with pytest.raises(UserError) as caught:
        locate(weight)
    message = str(caught.value)
    assert '\n' not in message
    for part in ('PerceptualLoss', "'vgg11-8a719046.pth'", '8a719046', str(tmp_path / 'own')):
        assert part in message


@pytest.mark.slow
def test_a_file_put_where_the_message_says_is_used(
    offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BasicSR's loss, which reads torch hub's folder, gets the file from ours."""
    network = torchvision.models.vgg11(weights=None)
    (tmp_path / 'own').mkdir()
    placed = tmp_path / 'own' / 'vgg11-8a719046.pth'
    torch.save(network.state_dict(), placed)
    (weight,) = requirements(PERCEPTUAL)
    # A stand-in has another checksum than the published file.
    found = weights.file_sha256(placed)
    monkeypatch.setattr(torch.hub, 'HASH_REGEX', torch.hub.re.compile('(never)'))
    locate(WeightFile(weight.name, weight.url, found, weight.filename, for_hub=weight.for_hub))
    assert (offline / weight.filename).is_file()
    loss = build('losses', PERCEPTUAL)
    torch.testing.assert_close(loss.vgg.vgg_net.conv1_1.weight, network.features[0].weight)
