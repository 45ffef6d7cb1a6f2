"""DAP-FSR's encoder: what learns and what stays, losses by hand, what is handed on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tiny_dapfsr import (
    BRIGHT,
    DECODER,
    ENCODER,
    FEAT,
    PLAIN,
    assert_resumes,
    changed,
    faces,
    figures_of,
    image,
    loader,
    registered,
    state_of,
    train,
    write_features,
)
from torch import Tensor

import fsr_plugins
from fsr_plugins.degradations.bicubic import BicubicDown
from fsr_plugins.errors import RunError, UserError
from fsr_plugins.registry import load_plugins

load_plugins()

import torchvision  # noqa: E402  # isort: skip  after the mends

from fsr_plugins.methods.dapfsr.models import DAPEncoderModel  # noqa: E402

SAMPLES = 500
ADAM = {'type': 'Adam', 'lr': 1e-3}


@pytest.fixture(scope='module', autouse=True)
def tiny_classes() -> Iterator[None]:
    with registered():
        yield


def encoder_model(encoder: dict[str, Any] = PLAIN, **options: Any) -> DAPEncoderModel:
    blocks = {key: options.pop(key) for key in ('path', 'manual_seed') if key in options}
    torch.manual_seed(0)
    train_options = {'optim': ADAM, 'pixel_opt': {'type': 'MSELoss'}, 'latent_samples': SAMPLES, **options}
    train_options.setdefault('backbone_weights', None)
    return DAPEncoderModel(tiny.stage(train_options, network_e=encoder, network_g=DECODER, val=BRIGHT, **blocks))


def statistics(model: Any, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Of w of as many z, drawn by the seed of the option file."""
    z = torch.randn(SAMPLES, FEAT, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        w = model.net_g.style_mlp(z)
    return w.mean(dim=0), w.std(dim=0)


def assert_statistics(model: Any, expected: tuple[Tensor, Tensor]) -> None:
    for own, wanted in zip((model.net_e.latent_mean, model.net_e.latent_std), expected, strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('seed', [0, 7])
def test_encoder_keeps_the_statistics_of_the_decoders_w(seed: int) -> None:
    model = encoder_model(manual_seed=seed)
    expected, before = statistics(model, seed), state_of(model.net_e)
    assert_statistics(model, expected)
    train(model, faces(4), 3)
    assert_statistics(model, expected)
    assert changed(model.net_e, before).isdisjoint({'latent_mean', 'latent_std'})


def test_only_the_encoder_learns() -> None:
    model = encoder_model(encoder=ENCODER)
    encoder, decoder = state_of(model.net_e), state_of(model.net_g)
    train(model, faces(2))
    model.assert_frozen_unchanged()
    assert changed(model.net_g, decoder) == set()
    assert not [parameter for parameter in model.net_g.parameters() if parameter.grad is not None]
    learned = changed(model.net_e, encoder)
    assert learned >= {'head.ales.0.latent.weight', 'backbone.resnet.bn1.running_mean'}


def test_losses_of_the_encoder_by_hand(tmp_path: Path) -> None:
    block = {**write_features(tmp_path / 'critic.pth'), 'loss_weight': 0.5}
    model, data = encoder_model(perceptual_opt=block, pixel_opt={'type': 'MSELoss', 'loss_weight': 2}), faces(4)
    net_e, critic, gt = copy.deepcopy(model.net_e), fsr_plugins.load(tmp_path / 'critic.pth'), image(data['gt'])
    with torch.no_grad():
        w = net_e(BicubicDown(4)(gt))
        noise = [model.net_g.noises.get_buffer(f'noise{layer}') for layer in range(model.net_g.num_layers)]
        sr = model.net_g.synthesis(w, noise) / 2 + 0.5
        ours, theirs = (critic.conv_body[0](x * 2 - 1) for x in (sr, gt))
        l_percept = (ours - theirs).square().mean()
        ours, theirs = critic.conv_body[1](ours), critic.conv_body[1](theirs)
        l_percept += (ours - theirs).square().mean()  # Eq. 4, a layer
    expected = {'l_mse': 2 * float((sr - gt).square().mean()), 'l_percept': 0.5 * float(l_percept)}
    assert train(model, data) == pytest.approx(expected, rel=1e-4)


def test_encoder_and_decoder_are_handed_on_as_one(tmp_path: Path) -> None:
    model, data = encoder_model(path={'models': str(tmp_path)}), faces(3)
    train(model, data, 2)
    assert model.result_label(model.opt) == 'net_sr'
    assert 'net_sr' not in model.save_networks('2')
    files = model.save_networks('latest')
    assert set(files) == {*model.trainable(), 'net_sr'}
    loaded = fsr_plugins.load(files['net_sr'])
    assert loaded.meta['arch'] == {'type': 'DAPFSR', 'encoder': PLAIN, 'decoder': DECODER}
    for label, net in (('encoder', model.net_e), ('decoder', model.net_g)):
        own = getattr(loaded, label).state_dict()
        assert all(torch.equal(own[name], tensor) for name, tensor in net.state_dict().items())
    found = model.validate(loader(data, slice(0, 2), slice(2, 3)))
    with torch.no_grad():
        sr = loaded(BicubicDown(4)(image(data['gt'])))
    assert found['result'] == pytest.approx({'bright': figures_of(sr)}, abs=1e-4)
    assert set(found) == {'bicubic', 'result'}


def test_validation_leaves_the_modes_of_the_networks() -> None:
    model, data = encoder_model(), faces(2)
    modes = {label: getattr(model, label).training for label in model.networks}
    before = state_of(model.net_e)
    model.validate(loader(data, slice(0, 2)))
    assert {label: getattr(model, label).training for label in model.networks} == modes
    assert changed(model.net_e, before) == set()


def test_the_averaged_encoder_is_handed_on(tmp_path: Path) -> None:
    model = encoder_model(path={'models': str(tmp_path)}, ema_decay=0.5)
    train(model, faces(3))
    loaded = fsr_plugins.load(model.save_networks('latest')['net_sr'])
    averaged = model.average['net_e'].net.state_dict()
    assert all(torch.equal(tensor, averaged[name]) for name, tensor in loaded.encoder.state_dict().items())
    assert not torch.equal(averaged['head.latents.weight'], model.net_e.head.latents.weight)


def test_resumed_encoder_training_is_that_without_a_break() -> None:
    assert_resumes(lambda: encoder_model(ema_decay=0.9), faces(4))


def test_backbone_begins_with_the_weights_of_a_file(tmp_path: Path) -> None:
    torch.manual_seed(9)
    published = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(published, tmp_path / 'resnet18.pth')
    model = encoder_model(encoder=ENCODER, backbone_weights=str(tmp_path / 'resnet18.pth'), ema_decay=0.9)
    for net in (model.net_e, model.average['net_e'].net):
        own = net.backbone.resnet.state_dict()
        assert all(torch.equal(tensor, published[name]) for name, tensor in own.items())
        assert torch.equal(net.latent_mean, model.net_e.latent_mean)


def test_a_backbone_that_cannot_be_had_says_how_to_go_without(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'absent\.pth.*train\.backbone_weights: null'):
        encoder_model(encoder=ENCODER, backbone_weights=str(tmp_path / 'absent.pth'))


def test_an_encoder_that_was_trained_keeps_its_backbone(tmp_path: Path) -> None:
    first = encoder_model(path={'models': str(tmp_path)})
    train(first, faces(3))
    path = {'pretrain_network_e': str(first.save_networks('latest')['net_e'])}
    model = encoder_model(path=path, manual_seed=5, backbone_weights='imagenet')  # which is not fetched
    assert_statistics(model, statistics(model, 5))
    assert changed(model.net_e, state_of(first.net_e)) == {'latent_mean', 'latent_std'}


def test_a_decoder_that_is_changed_is_noticed() -> None:
    model = encoder_model()
    train(model, faces(2))
    model.net_g.noises.noise0.add_(1)
    with pytest.raises(RunError, match='frozen network net_g'):
        model.assert_frozen_unchanged()
