"""DAMMA's mixing and its weight: against Eq. 6 to 9 by hand, and the gradient against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_dapfsr import DECODER, FEAT, LATENTS, SIZE, PlainDAPEncoder, state_of
from torch import Tensor, nn

from fsr_plugins.archs.stylegan2 import StyleGAN2Decoder
from fsr_plugins.losses.features import FeatureExtractor
from fsr_plugins.methods.dapfsr.archs import DAPFSR
from fsr_plugins.methods.dapfsr.damma import Mixing, mix, style_transferred

#: Layers of the extractor below.
LAYERS = ['0', '2']


def decoder() -> StyleGAN2Decoder:
    torch.manual_seed(0)
    return StyleGAN2Decoder(**{key: value for key, value in DECODER.items() if key != 'type'}).eval()


def network() -> DAPFSR:
    made = decoder()
    return DAPFSR(encoder=PlainDAPEncoder(), decoder=made).eval()  # type: ignore[arg-type]


def looking() -> nn.Sequential:
    """F, without kinks."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 5, 3, stride=2))


def codes(num: int = 3) -> tuple[Tensor, Tensor]:
    return tuple(torch.randn(2, num, LATENTS, FEAT, generator=torch.Generator().manual_seed(2)))  # type: ignore[return-value]


@pytest.mark.parametrize(('weight', 'which'), [(1.0, 1), (0.0, 0)])
def test_a_weight_of_1_is_the_source_and_of_0_the_exemplar(weight: float, which: int) -> None:
    both = codes()
    assert torch.equal(mix(*both, torch.full((LATENTS,), weight)), both[which])


def test_each_layer_is_mixed_by_its_own_weight() -> None:
    target, source = codes()
    alpha = torch.linspace(0, 1, LATENTS)
    expected = np.empty((3, LATENTS, FEAT))
    for layer, weight in enumerate(alpha.tolist()):  # Eq. 6
        expected[:, layer] = (1 - weight) * target[:, layer].numpy() + weight * source[:, layer].numpy()
    np.testing.assert_allclose(mix(target, source, alpha).numpy(), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def begin(num: int, exemplars: int = 1, swapped_layers: int = 3) -> tuple[Mixing, Tensor, DAPFSR]:
    net, lq = network(), torch.rand(exemplars, 3, 4, 4)
    return Mixing.begin(net, lq, torch.rand(exemplars, 3, SIZE, SIZE), num, swapped_layers), net.encoder(lq), net


def test_alpha_0_takes_the_last_three_layers_from_the_exemplar() -> None:
    mixing, latents, _ = begin(2)
    made = mixing.mixed()
    assert torch.equal(made[:, -3:], latents[:, -3:].expand(2, -1, -1))
    assert torch.equal(made[:, :-3], mixing.source[:, :-3])


@pytest.mark.parametrize(('swapped_layers', 'expected'), [(0, [1] * 6), (1, [1] * 5 + [0]), (6, [0] * 6)])
def test_as_many_layers_are_swapped_as_wanted(swapped_layers: int, expected: list[int]) -> None:
    assert begin(1, swapped_layers=swapped_layers)[0].alpha.tolist() == expected


def test_several_exemplars_are_spread_over_the_faces() -> None:
    mixing, latents, _ = begin(5, exemplars=2)
    torch.testing.assert_close(mixing.target, latents[[0, 1, 0, 1, 0]])


def test_source_codes_have_the_statistics_of_w_and_all_layers_share_a_draw() -> None:
    torch.manual_seed(0)
    num = 4000
    mixing, _, net = begin(num)
    assert torch.equal(mixing.source, mixing.source[:, :1].expand(-1, LATENTS, -1))
    drawn, encoder = mixing.source[:, 0], net.encoder
    error = encoder.latent_std / num**0.5
    assert ((drawn.mean(dim=0) - encoder.latent_mean).abs() < 5 * error).all()
    assert ((drawn.std(dim=0) - encoder.latent_std).abs() < 5 * error).all()
    assert np.abs(np.corrcoef(drawn.numpy().T) - np.eye(FEAT)).max() < 5 / num**0.5


class ByHand:
    """Eq. 7 in float64."""

    def __init__(self, exemplar: Tensor) -> None:
        self.decoder, self.seen = decoder().double(), looking().double()
        self.target, self.source = (each.double() for each in codes())
        self.exemplar = exemplar.double()

    def features(self, images: Tensor) -> list[np.ndarray]:
        first = self.seen[0](images)
        return [first.numpy(), self.seen[2](self.seen[1](first)).numpy()]

    @torch.no_grad()
    def loss(self, alpha: np.ndarray) -> float:
        weight = torch.from_numpy(alpha)[:, None]
        mixed = (1 - weight) * self.target + weight * self.source
        made, content = (
            self.features(self.decoder(w, input_is_latent=True, randomize_noise=False)) for w in (mixed, self.source)
        )
        style = self.features(self.exemplar[[n % len(self.exemplar) for n in range(3)]])
        total = 0.0
        for m, c, s in zip(made, content, style, strict=True):
            total += np.mean((m - c) ** 2)  # Eq. 8
            total += np.mean((m.mean((2, 3)) - s.mean((2, 3))) ** 2)  # Eq. 9
            total += np.mean((m.std((2, 3)) - s.std((2, 3))) ** 2)
        return total

    def gradient(self, alpha: np.ndarray, step: float = 1e-6) -> np.ndarray:
        sides = [alpha + sign * step * np.eye(LATENTS) for sign in (1, -1)]
        return np.array([(self.loss(up) - self.loss(down)) / (2 * step) for up, down in zip(*sides, strict=True)])


@pytest.mark.parametrize('exemplars', [1, 2])
@pytest.mark.parametrize('alpha', [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0], [0.1, 0.3, 0.5, 0.6, 0.7, 0.9]])
def test_alpha_goes_down_the_gradient_of_equation_7(alpha: list[float], exemplars: int) -> None:
    exemplar = torch.rand(exemplars, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    hand, before = ByHand(exemplar), np.array(alpha)
    gradient = hand.gradient(before)
    assert np.abs(gradient).min() > 1e-6  # of every layer
    rate = 0.3 / np.abs(gradient).max()
    mixing = Mixing(hand.target, hand.source, torch.from_numpy(before), exemplar)
    mixing.learn(hand.decoder, FeatureExtractor(looking().double(), LAYERS), rate)
    np.testing.assert_allclose(mixing.alpha.numpy(), np.clip(before - rate * gradient, 0, 1), rtol=0, atol=1e-6)


def learned(rate: float, steps: int = 1) -> tuple[Mixing, Any]:
    mixing, _, net = begin(3)
    extractor = FeatureExtractor(looking(), LAYERS)
    before = state_of(net), state_of(extractor)
    for _ in range(steps):
        with torch.no_grad():  # as in training
            mixing.learn(net.decoder, extractor, rate)
    return mixing, [(net, before[0]), (extractor, before[1])]


def test_learning_alpha_touches_nothing_else() -> None:
    mixing, nets = learned(rate=1.0)
    assert not torch.equal(mixing.alpha, torch.tensor([1.0, 1, 1, 0, 0, 0]))
    for net, before in nets:
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
        assert all(parameter.grad is None for parameter in net.parameters())
    for tensor in mixing.state().values():
        assert not tensor.requires_grad and tensor.is_leaf


def test_alpha_stays_between_0_and_1() -> None:
    mixing, _ = learned(rate=1e4, steps=2)
    assert ((mixing.alpha == 0) | (mixing.alpha == 1)).all()
    assert mixing.alpha.tolist() != [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize('exemplars', [1, 2])
def test_transferred_faces_have_the_colours_of_the_exemplars(exemplars: int) -> None:
    content, style = torch.rand(5, 3, 8, 8), torch.rand(exemplars, 3, 12, 12) * 0.3 + 0.1
    made = style_transferred(content, style).numpy()
    for number, face in enumerate(made):
        theirs = style[number % exemplars].numpy()
        np.testing.assert_allclose(face.mean((1, 2)), theirs.mean((1, 2)), rtol=1e-4)
        np.testing.assert_allclose(face.std((1, 2), ddof=1), theirs.std((1, 2), ddof=1), rtol=1e-3)
        for channel in range(3):  # what is moved and scaled is the content
            assert np.corrcoef(face[channel].ravel(), content[number, channel].numpy().ravel())[0, 1] > 0.9999


def test_a_grey_face_is_transferred_without_a_division_by_zero() -> None:
    style = torch.rand(1, 3, 8, 8)
    made = style_transferred(torch.full((2, 3, 8, 8), 0.5), style)
    torch.testing.assert_close(made, style.mean((2, 3), keepdim=True).expand(2, 3, 8, 8))
