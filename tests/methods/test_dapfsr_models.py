"""DAP-FSR's encoder and the warm-up: what learns and what stays, losses by hand, what is handed on."""

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
    LATENTS,
    PLAIN,
    assert_resumes,
    changed,
    faces,
    figures_of,
    held,
    image,
    loader,
    registered,
    state_of,
    train,
    write_features,
)
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

import fsr_plugins
from fsr_plugins.degradations.bicubic import BicubicDown
from fsr_plugins.errors import RunError, UserError
from fsr_plugins.registry import load_plugins

load_plugins()

import torchvision  # noqa: E402  # isort: skip  after the mends

from fsr_plugins.methods.dapfsr.models import DAPEncoderModel  # noqa: E402
from fsr_plugins.methods.dapfsr.warm_up import DAPWarmUpModel, LatentPosterior  # noqa: E402

SAMPLES = 500
ADAM = {'type': 'Adam', 'lr': 1e-3}


@pytest.fixture(scope='module', autouse=True)
def tiny_classes() -> Iterator[None]:
    with registered():
        yield


def encoder_model(cls: type = DAPEncoderModel, encoder: dict[str, Any] = PLAIN, **options: Any) -> Any:
    blocks = {key: options.pop(key) for key in ('path', 'manual_seed') if key in options}
    torch.manual_seed(0)
    train_options = {'optim': ADAM, 'pixel_opt': {'type': 'MSELoss'}, 'latent_samples': SAMPLES, **options}
    train_options.setdefault('backbone_weights', None)
    if cls is DAPWarmUpModel:
        blocks['network_q'] = {'type': 'LatentPosterior', 'num_style_feat': FEAT}
    return cls(tiny.stage(train_options, network_e=encoder, network_g=DECODER, val=BRIGHT, **blocks))


def statistics(model: Any, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Of w of as many z, drawn by the seed of the option file."""
    z = torch.randn(SAMPLES, FEAT, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        w = model.net_g.style_mlp(z)
    return w.mean(dim=0), w.std(dim=0)


def assert_statistics(model: Any, expected: tuple[Tensor, Tensor]) -> None:
    for own, wanted in zip((model.net_e.latent_mean, model.net_e.latent_std), expected, strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('cls', 'seed'), [(DAPEncoderModel, 0), (DAPEncoderModel, 7), (DAPWarmUpModel, 0)])
def test_encoder_keeps_the_statistics_of_the_decoders_w(cls: type, seed: int) -> None:
    model = encoder_model(cls, manual_seed=seed)
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


@pytest.mark.parametrize('cls', [DAPEncoderModel, DAPWarmUpModel])
def test_encoder_and_decoder_are_handed_on_as_one(cls: type, tmp_path: Path) -> None:
    model, data = encoder_model(cls, path={'models': str(tmp_path)}), faces(3)
    train(model, data, 2)
    assert cls.result_label(model.opt) == 'net_sr'
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


@pytest.mark.parametrize('cls', [DAPEncoderModel, DAPWarmUpModel])
def test_validation_leaves_the_modes_of_the_networks(cls: type) -> None:
    model, data = encoder_model(cls), faces(2)
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
    assert not torch.equal(averaged['body.3.weight'], model.net_e.body[3].weight)


@pytest.mark.parametrize('cls', [DAPEncoderModel, DAPWarmUpModel])
def test_resumed_encoder_training_is_that_without_a_break(cls: type) -> None:
    assert_resumes(lambda: encoder_model(cls, ema_decay=0.9), faces(4))


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


def test_warm_up_trains_all_but_the_mapping_network() -> None:
    model = encoder_model(DAPWarmUpModel)
    decoder, encoder, posterior = (state_of(net) for net in (model.net_g, model.net_e, model.net_q))
    train(model, faces(4), 2)
    model.assert_frozen_unchanged()
    wanted = {name for name, _ in model.net_g.named_parameters() if not name.startswith('style_mlp.')}
    assert changed(model.net_g, decoder) == held(model.net_g, model.optimizers_by_net['net_g']) == wanted
    assert {name for name, _ in model.net_e.named_parameters()} <= changed(model.net_e, encoder)
    assert changed(model.net_q, posterior) == {'log_std'}


def test_divergence_is_that_of_normal_distributions() -> None:
    net = LatentPosterior(FEAT)
    nn.init.normal_(net.log_std)
    code = torch.randn(3, FEAT)
    own, standard = Normal(code, net.log_std.exp().expand(3, -1)), Normal(torch.zeros(3, FEAT), torch.ones(3, FEAT))
    torch.testing.assert_close(net(code)[1], kl_divergence(own, standard).mean())


def test_codes_are_drawn_with_the_learned_deviation() -> None:
    torch.manual_seed(0)
    net, code, num = LatentPosterior(FEAT), torch.linspace(-1, 1, FEAT), 4000
    nn.init.normal_(net.log_std)
    with torch.no_grad():
        drawn, std = net(code.expand(num, -1))[0], net.log_std.exp()
    assert ((drawn.mean(dim=0) - code).abs() < 5 * std / num**0.5).all()
    assert ((drawn.std(dim=0) - std).abs() < 5 * std / num**0.5).all()


@torch.no_grad()
def test_losses_of_the_warm_up_by_hand() -> None:
    model, data = encoder_model(DAPWarmUpModel, prior_weight=0.3, agree_weight=0.7), faces(4)
    net_e, net_g, gt = copy.deepcopy(model.net_e), copy.deepcopy(model.net_g), image(data['gt'])
    e = net_e.body(BicubicDown(4)(gt)).unflatten(1, (LATENTS, FEAT))  # Eq. 2
    code, std = e.mean(dim=1), model.net_q.log_std.exp().expand(4, -1)
    torch.manual_seed(2)
    w = net_e.latent_mean + net_e.latent_std * (code + std * torch.randn(4, FEAT))
    sr = net_g(w, input_is_latent=True, randomize_noise=False)
    prior = kl_divergence(Normal(code, std), Normal(torch.zeros(4, FEAT), torch.ones(4, FEAT))).mean()
    expected = {
        'l_mse': float((sr - gt).square().mean()),
        'l_prior': 0.3 * float(prior),
        'l_agree': 0.7 * float(e.var(dim=1, correction=0).mean()),
    }
    torch.manual_seed(2)
    with torch.enable_grad():
        assert train(model, data) == pytest.approx(expected, rel=1e-4)
