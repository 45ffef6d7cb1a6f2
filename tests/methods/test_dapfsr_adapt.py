"""DAP-FSR's adaptation: what is trained of the decoder, of which faces, in which rounds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tiny import networks_of
from tiny_dapfsr import (
    BRIGHT,
    ENCODER,
    LATENTS,
    PLAIN,
    SIZE,
    STRENGTH,
    assert_resumes,
    changed,
    dapfsr,
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
from torch import Tensor

from fsr_plugins.checkpoints import save_network
from fsr_plugins.degradations.bicubic import BicubicDown
from fsr_plugins.errors import UserError
from fsr_plugins.methods.dapfsr.archs import DAPFSR
from fsr_plugins.methods.dapfsr.damma import Mixing
from fsr_plugins.methods.dapfsr.models import DAPAdaptModel
from fsr_plugins.registry import build_network

ADAM = {'type': 'Adam', 'lr': 1e-2}
#: Noise of none, for the layers of the tiny decoder.
NOTHING = [torch.zeros(1)] * (LATENTS - 1)


@pytest.fixture(scope='module', autouse=True)
def tiny_classes() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(scope='module')
def percept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The block of a FeatureLoss."""
    return write_features(tmp_path_factory.mktemp('features') / 'critic.pth')


def adapting(
    percept: dict[str, Any] | None, encoder: dict[str, Any] = PLAIN, path: dict[str, str] | None = None, **options: Any
) -> DAPAdaptModel:
    torch.manual_seed(0)
    block = dapfsr(encoder)
    train_options = {'optim': ADAM, 'pixel_opt': {'type': 'MSELoss'}, 'perceptual_opt': percept, 'alpha_lr': 10.0}
    train_options |= {'num_mixed': 3, **options}
    return DAPAdaptModel(
        tiny.stage(
            train_options,
            network_sr=block,
            network_source=block if path and 'pretrain_network_source' in path else None,
            path=path or {},
            val=BRIGHT,
        )
    )


STYLE_AFFINE = {
    f'decoder.{layer}.modulation.{kind}'
    for layer in (
        'style_conv1.modulated_conv',
        'to_rgb1.modulated_conv',
        *(f'style_convs.{number}.modulated_conv' for number in range(4)),
        *(f'to_rgbs.{number}.modulated_conv' for number in range(2)),
    )
    for kind in ('weight', 'bias')
}


@pytest.mark.parametrize(
    ('encoder', 'options'),
    [(ENCODER, {}), (PLAIN, {'aug': 'adain'}), (PLAIN, {'aug': 'direct'}), (PLAIN, {'mixing': 'hard'})],
    ids=['soft', 'adain', 'direct', 'hard'],
)
def test_only_the_styles_affine_layers_change(
    percept: dict[str, Any], encoder: dict[str, Any], options: dict[str, Any]
) -> None:
    """By name, tensor by tensor, the statistics of the encoder's BN and the fixed noise included."""
    model = adapting(percept, encoder, **options)
    before = state_of(model.net_sr)
    train(model, faces(2), 3)
    assert changed(model.net_sr, before) == STYLE_AFFINE
    model.assert_frozen_unchanged()
    assert not model.network.encoder.training


def test_the_whole_decoder_may_be_trained_but_for_its_mapping_network(percept: dict[str, Any]) -> None:
    model = adapting(percept, trainable='all')
    before = state_of(model.net_sr)
    train(model, faces(2), 3)
    of_decoder = {name for name, _ in model.net_sr.named_parameters() if name.startswith('decoder.')}
    mapping = {name for name in of_decoder if name.startswith('decoder.style_mlp.')}
    assert len(mapping) == 4
    assert changed(model.net_sr, before) == {name for name in of_decoder - mapping if not STRENGTH.fullmatch(name)}
    assert held(model.net_sr, model.optimizers_by_net['net_sr']) == of_decoder - mapping
    model.assert_frozen_unchanged()


class Seen:
    """What the decoder is trained with in each iteration: LR, HR, and the network as it was before."""

    def __init__(self, model: DAPAdaptModel) -> None:
        self.lq: list[Tensor] = []
        self.hr: list[Tensor] = []
        self.nets: list[DAPFSR] = []
        model.net_sr.register_forward_pre_hook(lambda net, given: self.see(net, given[0]))
        model.losses.pixel_opt.register_forward_pre_hook(lambda _, given: self.hr.append(given[1]))

    def see(self, net: Any, lq: Tensor) -> None:
        self.lq.append(lq)
        self.nets.append(copy.deepcopy(net))


@pytest.mark.parametrize(
    ('options', 'number'),
    [
        ({'aug': 'direct'}, 0), ({'mixing': 'none'}, 0), ({'aug': 'direct', 'mixing': 'soft'}, 0),
        ({'mixing': 'hard'}, 3), ({'mixing': 'soft'}, 3), ({'aug': 'adain'}, 3),
        ({'aug': 'adain', 'mixing': 'none'}, 3), ({'num_mixed': 1}, 1),
    ],
)  # fmt: skip
def test_as_many_faces_are_made_besides_the_exemplars_as_wanted(
    percept: dict[str, Any], options: dict[str, Any], number: int
) -> None:
    model, data = adapting(percept, **options), faces(2)
    seen = Seen(model)
    train(model, data, 2)
    for lq, hr in zip(seen.lq, seen.hr, strict=True):
        assert len(lq) == len(hr) == 2 + number
        assert torch.equal(hr[:2], image(data['gt']))
        torch.testing.assert_close(lq, BicubicDown(4)(hr))
        assert not hr.requires_grad
        assert hr.min() >= 0 and hr.max() <= 1
    assert (model.mixing is None) == (number == 0)


def test_hard_mixing_draws_faces_whose_last_layers_are_the_exemplars(percept: dict[str, Any]) -> None:
    model = adapting(percept, mixing='hard')
    seen, mixing = Seen(model), None
    for current in (1, 2):
        train(model, faces(2), first=current)
        assert mixing is None or mixing is model.mixing
        mixing = model.mixing
        net = seen.nets[-1]
        with torch.no_grad():
            target = net.encoder(BicubicDown(4)(image(faces(2)['gt'])))[[0, 1, 0]]
            w = torch.cat([mixing.source[:, :3], target[:, 3:]], dim=1)
            made = net.decoder(w, input_is_latent=True, noise=NOTHING).clamp(0, 1)
        torch.testing.assert_close(seen.hr[-1][2:], made, rtol=1e-4, atol=1e-5)


def test_soft_mixing_learns_alpha_in_each_iteration(percept: dict[str, Any]) -> None:
    model, alphas = adapting(percept), [torch.tensor([1.0, 1, 1, 0, 0, 0])]
    for current in range(1, 4):
        log = train(model, faces(2), first=current)
        alphas.append(model.mixing.alpha)
        assert not torch.equal(*alphas[-2:])
        assert log['alpha'] == pytest.approx(float(alphas[-1].mean()))


def test_transferred_faces_have_the_colours_of_the_exemplars(percept: dict[str, Any]) -> None:
    model, data = adapting(percept, aug='adain'), faces(2)
    seen = Seen(model)
    train(model, data)
    with torch.no_grad():
        drawn = seen.nets[0].decoder(model.mixing.source, input_is_latent=True, noise=NOTHING)
    for face, number, made in zip(drawn, (0, 1, 0), seen.hr[0][2:], strict=True):
        style = image(data['gt'])[number]
        for channel in range(3):
            normal = (face[channel] - face[channel].mean()) / face[channel].std()
            expected = (normal * style[channel].std() + style[channel].mean()).clamp(0, 1)
            torch.testing.assert_close(made[channel], expected, rtol=1e-3, atol=1e-3)


def test_a_round_keeps_its_exemplars_whatever_order_they_come_in(percept: dict[str, Any]) -> None:
    model, data = adapting(percept), faces(2)
    train(model, data)
    target = model.mixing.target
    train(model, {**data, 'gt': data['gt'].flip(0)}, first=2)
    assert torch.equal(model.mixing.target, target)
    assert torch.equal(model.mixing.exemplar, image(data['gt']))  # the first of which is that of target's first


def test_each_round_begins_anew(percept: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapting(percept, inner_iter=2)
    sources: list[Tensor] = []
    begun: list[bool] = []
    learn = Mixing.learn

    def watched(mixing: Mixing, *given: Any) -> None:
        sources.append(mixing.source)
        begun.append(mixing.alpha.tolist() == [1, 1, 1, 0, 0, 0])
        learn(mixing, *given)

    monkeypatch.setattr(Mixing, 'learn', watched)
    train(model, faces(2), 5)
    assert begun == [True, False, True, False, True]
    assert [torch.equal(*sources[at : at + 2]) for at in range(4)] == [True, False, True, False]


@pytest.mark.parametrize('options', [{}, {'mixing': 'hard'}, {'aug': 'adain'}], ids=['soft', 'hard', 'adain'])
@pytest.mark.parametrize('part', [2, 3], ids=['within_a_round', 'between_rounds'])
def test_resumed_adaptation_is_that_without_a_break(
    percept: dict[str, Any], options: dict[str, Any], part: int
) -> None:
    assert_resumes(lambda: adapting(percept, inner_iter=3, **options), faces(2), whole=5, part=part)


def test_picture_shows_source_faces_then_mixed_then_the_exemplars(percept: dict[str, Any]) -> None:
    model, data = adapting(percept, mixing='hard'), faces(2)
    assert model.preview() is None
    train(model, data)
    train(model, {**data, 'gt': data['gt'].flip(0)}, first=2)  # the round is of the order before
    numbers, picture = torch.get_rng_state(), model.preview()
    assert torch.equal(numbers, torch.get_rng_state())
    assert picture.shape == (3, 3 * SIZE, 3 * SIZE)
    assert picture.min() >= 0 and picture.max() <= 1
    rows = [torch.stack(row.split(SIZE, dim=2)) for row in picture.split(SIZE, dim=1)]
    exemplars = image(data['gt'])[[0, 1, 0]]
    with torch.no_grad():
        w = torch.cat([model.mixing.source[:, :3], model.mixing.target[:, 3:]], dim=1)
        drawn = [
            model.network.decoder(each, input_is_latent=True, noise=NOTHING).clamp(0, 1)
            for each in (model.mixing.source, w)
        ]
    for row, expected in zip(rows, [*drawn, exemplars], strict=True):
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


def test_nothing_of_adaptation_shows_before_it(tmp_path: Path, percept: dict[str, Any]) -> None:
    torch.manual_seed(8)
    source = build_network(dapfsr()).eval()
    file = str(tmp_path / 'net_sr.pth')
    save_network(Path(file), {'params': source}, {'arch': dapfsr()})
    model = adapting(percept, path={'pretrain_network_sr': file, 'pretrain_network_source': file})
    train(model, faces(2), 3)
    others = faces(3, seed=4)
    found = model.validate(loader(others, slice(0, 3)))
    assert set(found) == {'bicubic', 'source_only', 'result'}
    with torch.no_grad():
        before = source(BicubicDown(4)(image(others['gt'])))
    assert found['source_only']['bright'] == pytest.approx(figures_of(before), abs=1e-5)
    assert abs(found['result']['bright'] - found['source_only']['bright']) > 1e-3
    assert changed(model.net_source, source.state_dict()) == set()
    model.assert_frozen_unchanged()


def test_without_the_network_before_only_the_result_is_measured(percept: dict[str, Any]) -> None:
    assert set(networks_of(adapting(percept))) == {'result'}


def test_soft_mixing_needs_features() -> None:
    with pytest.raises(UserError, match=r"'train\.mixing: soft'.*'train\.perceptual_opt'.*'mixing: hard'"):
        adapting(None)


@pytest.mark.parametrize('options', [{'mixing': 'hard'}, {'mixing': 'none'}, {'aug': 'adain'}, {'aug': 'direct'}])
def test_without_soft_mixing_features_may_be_absent(options: dict[str, Any]) -> None:
    assert set(train(adapting(None, **options), faces(1))) == {'l_mse'}


@pytest.mark.parametrize('options', [{}, {'mixing': 'hard'}, {'aug': 'adain'}])
def test_low_precision(percept: dict[str, Any], options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    made = adapting(percept, **options)
    model = DAPAdaptModel({**made.opt, 'precision': 'bf16'})
    before = state_of(model.net_sr)
    train(model, faces(2), 2)
    assert changed(model.net_sr, before) == STYLE_AFFINE
    assert {tensor.dtype for tensor in model.mixing.state().values()} == {torch.float32}


def test_no_more_layers_are_swapped_than_there_are() -> None:
    adapting(None, mixing='hard', swapped_layers=LATENTS)
    with pytest.raises(UserError, match=f"'train\\.swapped_layers' is {LATENTS + 1}, but w has {LATENTS} layers"):
        adapting(None, mixing='hard', swapped_layers=LATENTS + 1)


@pytest.mark.parametrize('aug', ['mix', 'adain', 'direct'])
def test_made_faces_need_an_lr(aug: str) -> None:
    train_options = {'optim': ADAM, 'pixel_opt': {'type': 'MSELoss'}, 'aug': aug, 'mixing': 'hard'}
    opt = tiny.stage(train_options, network_sr=dapfsr(), val=BRIGHT) | {'degradation': None}
    if aug == 'direct':
        assert DAPAdaptModel(opt).degradation is None
        return
    with pytest.raises(UserError, match=r"'degradation'.*'train\.aug: direct'"):
        DAPAdaptModel(opt)
