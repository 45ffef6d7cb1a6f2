"""DAP-FSR's warm-up: codes made standard normal without a change of images, and what is trained and handed on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
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
    STRENGTH,
    assert_resumes,
    assert_same,
    changed,
    dapfsr,
    faces,
    held,
    image,
    registered,
    state_of,
    train,
)
from torch import Tensor

import fsr_plugins
from fsr_plugins.degradations.bicubic import BicubicDown
from fsr_plugins.errors import UserError
from fsr_plugins.methods.dapfsr.warm_up import DAPWarmUpModel
from fsr_plugins.methods.dapfsr.whitening import Moments, whiten
from fsr_plugins.registry import build_network


@pytest.fixture(scope='module', autouse=True)
def tiny_classes() -> Iterator[None]:
    with registered():
        yield


def test_moments_are_running_means_from_the_first_batch_on() -> None:
    moments, batches = Moments(FEAT, torch.device('cpu'), decay=0.7), torch.randn(3, 5, FEAT)
    for codes in batches:
        moments.update(codes)
    weights = np.repeat(np.array([0.49, 0.7, 1.0]) / 5, 5)  # of each code
    every = batches.double().numpy().reshape(-1, FEAT)
    np.testing.assert_allclose(moments.mean().numpy(), np.average(every, axis=0, weights=weights), rtol=1e-6)
    covariance = np.cov(every.T, aweights=weights, ddof=0)
    np.testing.assert_allclose(moments.covariance().numpy(), covariance, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    'encoder', [PLAIN, ENCODER, {**ENCODER, 'multi_scale': False}], ids=['plain', 'pyramid', 'pooled']
)
@torch.no_grad()
def test_codes_become_standard_normal_and_images_stay(encoder: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net, lq = build_network(dapfsr(encoder)).eval(), torch.rand(24, 3, 4, 4)
    mean, std = torch.linspace(-1, 1, FEAT), torch.linspace(0.5, 2, FEAT)
    net.encoder.latent_mean.copy_(mean)
    net.encoder.latent_std.copy_(std)
    for module in net.encoder.modules():  # as after training: codes far from each other
        if isinstance(module, torch.nn.Linear) and module.out_features in {FEAT, LATENTS * FEAT}:
            torch.nn.init.normal_(module.weight, std=1.0)
            torch.nn.init.normal_(module.bias)

    def codes() -> Tensor:
        return ((net.encoder(lq) - mean) / std).double()

    before, wanted, images = codes(), codes().mean(dim=1), net(lq)
    moments = Moments(FEAT, torch.device('cpu'))
    moments.update(wanted)
    untouched = state_of(net)
    whiten(net.encoder, net.decoder, moments)
    torch.testing.assert_close(net(lq), images, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(codes(), before, atol=0.1)
    found = codes().mean(dim=1).numpy()
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-2)
    # A channel of variance v becomes one of v / (v + floor), the floor being a thousandth of the mean v.
    values = np.linalg.eigvalsh(np.cov(wanted.numpy().T, ddof=0))
    expected = values / (values + 1e-3 * values.mean())
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(found.T, ddof=0)), np.sort(expected), rtol=0.02, atol=0.01)
    assert {name for name in changed(net, untouched) if name.startswith('decoder.')} == {
        f'decoder.{name}' for name in net.decoder.style_affine_parameters()
    }


def warm_up(encoder: dict[str, Any] = PLAIN, path: dict[str, str] | None = None, **options: Any) -> DAPWarmUpModel:
    torch.manual_seed(0)
    train_options = {'optim': {'type': 'Adam', 'lr': 1e-3}, 'pixel_opt': {'type': 'MSELoss'}, 'latent_samples': 100}
    return DAPWarmUpModel(
        tiny.stage(
            {**train_options, 'backbone_weights': None, **options},
            network_e=encoder,
            network_g=DECODER,
            path=path or {},
            val=BRIGHT,
        )
    )


def test_all_but_the_mapping_network_is_trained() -> None:
    model = warm_up()
    decoder, encoder = state_of(model.net_g), state_of(model.net_e)
    train(model, faces(4), 2)
    model.assert_frozen_unchanged()
    wanted = {name for name, _ in model.net_g.named_parameters() if not name.startswith('style_mlp.')}
    assert held(model.net_g, model.optimizers_by_net['net_g']) == wanted
    assert changed(model.net_g, decoder) == {name for name in wanted if not STRENGTH.fullmatch(name)}
    learned = changed(model.net_e, encoder)
    assert {name for name, _ in model.net_e.named_parameters()} <= learned
    assert learned.isdisjoint({'latent_mean', 'latent_std'})


@torch.no_grad()
def test_losses_by_hand() -> None:
    model, data = warm_up(agree_weight=0.7), faces(4)
    net_e, net_g, gt = copy.deepcopy(model.net_e), copy.deepcopy(model.net_g), image(data['gt'])
    e = net_e.offset(BicubicDown(4)(gt))
    code = e.mean(dim=1)
    sr = net_g(net_e.latent_mean + net_e.latent_std * code, input_is_latent=True, randomize_noise=False)
    expected = {'l_mse': (sr - gt).square().mean(), 'l_agree': 0.7 * e.var(dim=1, correction=0).mean()}
    with torch.enable_grad():
        log = train(model, data)
    assert log == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-4)
    torch.testing.assert_close(model.moments.mean().float(), code.mean(dim=0), rtol=1e-3, atol=1e-5)


def test_what_is_handed_on_is_whitened_and_training_goes_on_as_it_was(tmp_path: Path) -> None:
    model, data = warm_up(path={'models': str(tmp_path)}), faces(4)
    train(model, data, 2)
    before = copy.deepcopy(model.training_state())
    unchanged = model.save_networks('2')
    files = model.save_networks('latest')
    assert_same(before, model.training_state())
    assert set(files) == {'net_e', 'net_g', 'net_sr'}
    assert changed(fsr_plugins.load(unchanged['net_e']), state_of(model.net_e)) == set()
    net_e, net_g, net_sr = (fsr_plugins.load(files[label]) for label in ('net_e', 'net_g', 'net_sr'))
    assert changed(net_e, state_of(model.net_e)) == {'head.latents.weight', 'head.latents.bias'}
    assert changed(net_sr.encoder, net_e.state_dict()) == changed(net_sr.decoder, net_g.state_dict()) == set()
    lq = BicubicDown(4)(image(data['gt']))
    with torch.no_grad():
        trained = model.net_g(model.net_e.eval()(lq), input_is_latent=True, randomize_noise=False)
        torch.testing.assert_close(net_sr(lq), trained, rtol=1e-3, atol=1e-3)


def test_resumed_warm_up_is_that_without_a_break() -> None:
    assert_resumes(warm_up, faces(4))


@pytest.mark.parametrize(
    ('encoder', 'options', 'message'),
    [
        ({**ENCODER, 'predict_offset': False}, {}, "'predict_offset: true' in 'network_e'"),
        (PLAIN, {'ema_decay': 0.9}, "leave out 'train.ema_decay'"),
    ],
)
def test_what_cannot_be_whitened_is_refused(encoder: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        warm_up(encoder, **options)
