"""StyleGAN2's losses by hand, against finite differences and against BasicSR's functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from basicsr.losses.gan_loss import GANLoss, g_path_regularize, r1_penalty
from torch import Tensor

from fsr_plugins.archs.stylegan2 import StyleGAN2Critic, StyleGAN2Decoder
from fsr_plugins.losses import PathLengthPenalty, R1Penalty
from fsr_plugins.registry import build


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize('real', [True, False])
@pytest.mark.parametrize('is_disc', [True, False])
def test_logistic_by_hand(real: bool, is_disc: bool) -> None:
    loss = build('losses', {'type': 'LogisticGANLoss', 'loss_weight': 0.3})
    logits = torch.tensor([[2.0], [-1.0], [0.5]])
    sign = -1 if real else 1
    expected = sum(softplus(sign * x) for x in (2.0, -1.0, 0.5)) / 3 * (1 if is_disc else 0.3)
    assert loss(logits, real, is_disc=is_disc).item() == pytest.approx(expected, rel=1e-6)
    theirs = GANLoss('wgan_softplus', loss_weight=0.3)
    torch.testing.assert_close(loss(logits, real, is_disc), theirs(logits, real, is_disc=is_disc))


def test_logistic_is_finite_far_out() -> None:
    loss = build('losses', {'type': 'LogisticGANLoss'})
    assert loss(torch.tensor([[-1000.0]]), True).item() == pytest.approx(1000)
    assert loss(torch.tensor([[1000.0]]), True).item() == 0


def test_r1_of_a_linear_and_a_quadratic_critic() -> None:
    images = drawn(4, 3, 2, 2).requires_grad_()
    direction = drawn(3, 2, 2, seed=2)
    penalty = R1Penalty(loss_weight=10, interval=16)
    linear = penalty((images * direction).sum(dim=(1, 2, 3)), images)
    assert linear.item() == pytest.approx(10 / 2 * 16 * direction.square().sum().item())
    # d (x a x) / dx = 2 a x
    quadratic = penalty((images.square() * direction).sum(dim=(1, 2, 3)), images)
    expected = 10 / 2 * 16 * (2 * images * direction).square().sum(dim=(1, 2, 3)).mean()
    torch.testing.assert_close(quadratic, expected)


def critic() -> StyleGAN2Critic:
    torch.manual_seed(0)
    return StyleGAN2Critic(8, narrow=1 / 128, stddev_group=2).double()


def test_r1_of_the_critic_against_finite_differences() -> None:
    net, images = critic(), drawn(2, 3, 8, 8).requires_grad_()
    penalty = R1Penalty(loss_weight=2, interval=1)
    value = penalty(net(images, raw=True), images)
    torch.testing.assert_close(value, r1_penalty(net(images, raw=True), images))
    steps = 1e-5 * torch.eye(images.numel(), dtype=torch.float64).view(-1, *images.shape)
    with torch.no_grad():  # one batch of two after the other, as the deviation belongs to the batch
        slopes = torch.stack([net(images + s, raw=True).sum() - net(images - s, raw=True).sum() for s in steps]) / 2e-5
    torch.testing.assert_close(value, slopes.square().sum() / 2, rtol=1e-5, atol=0)
    in_unit_range = (images.detach() / 2 + 0.5).requires_grad_()
    torch.testing.assert_close(penalty(net(in_unit_range), in_unit_range), 4 * value)


def against_steps(loss: Tensor, again: Callable[[], Tensor], p: Tensor, places: int = 6) -> None:
    """The gradient of a loss that is itself made of gradients, in some entries of a parameter."""
    (gradient,) = torch.autograd.grad(loss, p)
    flat = p.detach().view(-1)
    for place in range(0, flat.numel(), max(1, flat.numel() // places)):
        values = []
        for step in (1e-5, -2e-5):
            flat[place] += step
            values.append(again().item())
        flat[place] += 1e-5
        assert gradient.reshape(-1)[place].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize('name', ['conv_body.0.0.weight', 'conv_body.1.conv2.1.weight', 'conv_body.1.skip.1.weight'])
def test_gradient_of_r1(name: str) -> None:
    net, images = critic(), drawn(2, 3, 8, 8).requires_grad_()
    penalty = R1Penalty()

    def again() -> Tensor:
        return penalty(net(images), images)

    against_steps(again(), again, net.get_parameter(name))


def linear_generator(latents: Tensor, weight: Tensor) -> Tensor:
    """w (N, L, D) through (L, D, 3, 4, 2) to images (N, 3, 4, 2)."""
    return torch.einsum('nld,ldchw->nchw', latents, weight)


def test_path_length_of_a_linear_generator() -> None:
    latents, weight = drawn(3, 4, 5).requires_grad_(), drawn(4, 5, 3, 4, 2, seed=2)
    noise = drawn(3, 3, 4, 2, seed=3)
    penalty = PathLengthPenalty(loss_weight=2, interval=4, decay=0.01)
    found = penalty(linear_generator(latents, weight), latents, torch.tensor(0.7), noise)
    gradient = torch.einsum('nchw,ldchw->nld', noise / math.sqrt(8), weight)
    lengths = (gradient.square().sum(dim=(1, 2)) / 4).sqrt()
    mean = 0.99 * 0.7 + 0.01 * lengths.mean()
    torch.testing.assert_close(found.mean, mean, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.length, lengths.mean())
    torch.testing.assert_close(found.loss, 2 * 4 * (lengths - mean).square().mean(), rtol=1e-6, atol=0)
    assert not found.mean.requires_grad and not found.length.requires_grad


def test_running_mean_is_handed_on() -> None:
    latents, weight, noise = drawn(3, 4, 5).requires_grad_(), drawn(4, 5, 3, 4, 2, seed=2), drawn(3, 3, 4, 2, seed=3)
    penalty = PathLengthPenalty(decay=0.1)
    mean = torch.tensor(0.0)
    for _ in range(200):
        found = penalty(linear_generator(latents, weight), latents, mean, noise)
        mean = found.mean
    torch.testing.assert_close(mean, found.length)
    assert not penalty.state_dict()


def decoder() -> StyleGAN2Decoder:
    torch.manual_seed(0)
    return StyleGAN2Decoder(8, num_style_feat=6, num_mlp=1, narrow=1 / 128).double()


def test_path_length_is_basicsrs() -> None:
    net = decoder()
    images, latents = net(drawn(3, 6), randomize_noise=False, return_latents=True, raw=True)
    mean = torch.tensor(0.2, dtype=torch.float64)
    torch.manual_seed(5)
    theirs, _, their_mean = g_path_regularize(images, latents, mean)
    torch.manual_seed(5)
    found = PathLengthPenalty(loss_weight=1, interval=1)(images, latents, mean)
    torch.testing.assert_close(found.loss, theirs)
    torch.testing.assert_close(found.mean, their_mean)


@pytest.mark.parametrize('name', ['style_mlp.1.weight', 'style_convs.0.modulated_conv.weight', 'constant_input.weight'])
def test_gradient_of_the_path_length(name: str) -> None:
    net, noise = decoder(), drawn(3, 3, 8, 8, seed=3)
    penalty = PathLengthPenalty()

    def again() -> Tensor:
        images, latents = net(drawn(3, 6), randomize_noise=False, return_latents=True)
        return penalty(images, latents, torch.tensor(0.2), noise).loss

    against_steps(again(), again, net.get_parameter(name))


def test_lazy() -> None:
    assert [it for it in range(1, 50) if R1Penalty().due(it)] == [16, 32, 48]
    assert [it for it in range(1, 13) if PathLengthPenalty().due(it)] == [4, 8, 12]
    for cls in (R1Penalty, PathLengthPenalty):
        with pytest.raises(ValueError, match=f'{cls.__name__} needs an interval'):
            cls(interval=0)
