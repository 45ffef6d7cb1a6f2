"""The decoder and the critic: equal to BasicSR's with the formula of its compiled operator, and what they add."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from basicsr.archs.stylegan2_arch import StyleGAN2Discriminator, StyleGAN2Generator
from torch import Tensor, nn

from fsr_plugins.archs.stylegan2 import StyleGAN2Critic, StyleGAN2Decoder
from fsr_plugins.registry import build

#: 16 channels instead of 512.
NARROW = 1 / 32


def numbers(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def decoder(size: int = 32, grouped: bool = False) -> StyleGAN2Decoder:
    torch.manual_seed(0)
    net = StyleGAN2Decoder(size, num_style_feat=24, num_mlp=2, narrow=NARROW, grouped=grouped)
    return stirred(net)


def stirred(net: nn.Module) -> nn.Module:
    """With what begins at 0 away from it, biases and strengths of noise."""
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=numbers(p.numel())))
    return net


def z_of(num: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(num, 24, generator=numbers(seed))


@pytest.fixture
def basicsr_without_extension(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """BasicSR's compiled operator by its formula; its up- and down-sampling runs on a CPU as it is."""

    def fused_leaky_relu(x: Tensor, bias: Tensor, negative_slope: float = 0.2, scale: float = 2**0.5) -> Tensor:
        return scale * F.leaky_relu(x + bias.view(1, -1, *[1] * (x.ndim - 2)), negative_slope)

    for module in ('basicsr.ops.fused_act.fused_act', 'basicsr.archs.stylegan2_arch'):
        monkeypatch.setattr(f'{module}.fused_leaky_relu', fused_leaky_relu)
    yield


def shapes(net: nn.Module) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in net.state_dict().items()}


@pytest.mark.parametrize('size', [4, 128, 256, 1024])
@pytest.mark.parametrize('channel_multiplier', [1, 2])
def test_names_and_shapes_are_basicsrs(size: int, channel_multiplier: int) -> None:
    with torch.device('meta'):
        net = StyleGAN2Decoder(size, channel_multiplier=channel_multiplier)
        theirs = StyleGAN2Generator(size, channel_multiplier=channel_multiplier)
        critic = StyleGAN2Critic(size, channel_multiplier)
        their_critic = StyleGAN2Discriminator(size, channel_multiplier)
    assert shapes(net) == shapes(theirs)
    assert shapes(critic) == shapes(their_critic)
    assert {key for key, _ in net.named_parameters()} == {key for key, _ in theirs.named_parameters()}
    assert (net.num_latent, net.num_layers) == (theirs.num_latent, theirs.num_layers)


def test_sizes_of_the_paper() -> None:
    with torch.device('meta'):
        net = build('archs', {'type': 'StyleGAN2Decoder'})
    parameters = dict(net.named_parameters())
    affine = net.style_affine_parameters()
    assert net.num_latent == 12
    assert sum(p.numel() for p in parameters.values()) == pytest.approx(29.33e6, rel=1e-3)
    assert len(affine) == 34
    assert set(affine) == {key for key in parameters if '.modulation.' in key}
    assert sum(parameters[key].numel() for key in affine) == pytest.approx(4.20e6, rel=1e-3)


@pytest.mark.parametrize('size', [4, 32])
@pytest.mark.parametrize('grouped', [True, False])
@pytest.mark.usefixtures('basicsr_without_extension')
def test_images_are_basicsrs(size: int, grouped: bool) -> None:
    net = decoder(size, grouped)
    theirs = StyleGAN2Generator(size, num_style_feat=24, num_mlp=2, narrow=NARROW)
    theirs.load_state_dict(net.state_dict())
    first, second, middle = z_of(), z_of(seed=2), z_of(1, seed=3)
    noise = net.make_noise(3, numbers())
    for styles, options in (
        ([first], {'randomize_noise': False}),
        ([first], {'noise': noise}),
        ([first, second], {'noise': noise, 'inject_index': 1}),
        ([first, second], {'noise': noise, 'inject_index': net.num_latent - 1, 'input_is_latent': True}),
        ([first], {'noise': noise, 'truncation': 0.6, 'truncation_latent': middle}),
        ([torch.randn(2, net.num_latent, 24)], {'randomize_noise': False, 'input_is_latent': True}),
    ):
        expected, _ = theirs(styles, **options)
        torch.testing.assert_close(net(styles, raw=True, **options), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(net(styles, **options), (expected + 1) / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(('size', 'num', 'group'), [(4, 2, 4), (32, 8, 4), (32, 6, 3), (8, 1, 4)])
@pytest.mark.usefixtures('basicsr_without_extension')
def test_logits_are_basicsrs(size: int, num: int, group: int) -> None:
    torch.manual_seed(0)
    net = stirred(StyleGAN2Critic(size, narrow=NARROW, stddev_group=group))
    theirs = StyleGAN2Discriminator(size, narrow=NARROW, stddev_group=group)
    theirs.load_state_dict(net.state_dict())
    images = torch.rand(num, 3, size, size, generator=numbers())
    expected = theirs(images * 2 - 1)
    assert expected.shape == (num, 1)
    torch.testing.assert_close(net(images), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(net(images * 2 - 1, raw=True), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('size', [4, 8, 64])
def test_images_of_every_size(size: int) -> None:
    net = decoder(size)
    image, latent = net(z_of(2), return_latents=True)
    assert image.shape == (2, 3, size, size)
    assert latent.shape == (2, net.num_latent, 24)
    torch.testing.assert_close(latent, net.style(z_of(2)).unsqueeze(1).expand_as(latent))


def test_noise_is_fresh_given_or_fixed() -> None:
    net = decoder()
    noise = net.make_noise(1, numbers())
    assert [tuple(layer.shape[2:]) for layer in noise] == [(4, 4), *[(s, s) for s in (8, 8, 16, 16, 32, 32)]]
    assert not net(z_of()).equal(net(z_of()))
    torch.testing.assert_close(
        net(z_of(), noise=noise), net(z_of(), noise=net.make_noise(1, numbers())), rtol=0, atol=0
    )
    fixed = net(z_of(), randomize_noise=False)
    assert fixed.equal(net(z_of(), randomize_noise=False))
    assert fixed.equal(net(z_of(), noise=list(net.noises.buffers())))
    assert not net(z_of(), noise=[*noise[:-1], None]).equal(net(z_of(), noise=[*noise[:-1], None]))


def test_mixing_uses_each_style_where_said() -> None:
    net = decoder()
    first, second = net.style(z_of()), net.style(z_of(seed=2))
    for index in (1, 4, net.num_latent - 1):
        image, latent = net([z_of(), z_of(seed=2)], randomize_noise=False, inject_index=index, return_latents=True)
        assert latent[:, :index].equal(first.unsqueeze(1).expand(-1, index, -1))
        assert latent[:, index:].equal(second.unsqueeze(1).expand(-1, net.num_latent - index, -1))
        torch.testing.assert_close(image, net(latent, input_is_latent=True, randomize_noise=False), rtol=0, atol=0)
    places = {
        int(net.latents([z_of(1), z_of(1, 2)]).eq(net.style(z_of(1)).unsqueeze(1)).all(2).sum()) for _ in range(100)
    }
    assert places == set(range(1, net.num_latent))


def test_every_layers_w_acts() -> None:
    """A w moves the image, and none of them moves what was made before it."""
    net = decoder(8)
    latent = net.latents(z_of(1)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net(latent, True, randomize_noise=False).square().sum(), latent)
    assert (gradient.abs().sum(dim=(0, 2)) > 0).all()


def test_truncation_draws_towards_the_mean() -> None:
    net = decoder()
    mean = net.latent_statistics(100, numbers()).mean
    full, half, none = (net.latents(z_of(), truncation=t, truncation_latent=mean) for t in (1, 0.5, 0))
    torch.testing.assert_close(half, (full + mean) / 2)
    torch.testing.assert_close(none, mean.expand_as(none))


def test_statistics_of_w_are_those_of_drawn_samples() -> None:
    net = decoder()
    found = net.latent_statistics(5000, numbers())
    generator = numbers()
    w = net.style(torch.cat([torch.randn(num, 24, generator=generator) for num in (4096, 904)])).detach()
    torch.testing.assert_close(found.mean, w.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.std, w.std(dim=0), rtol=1e-4, atol=1e-5)
    assert not found.mean.requires_grad
    again = net.latent_statistics(5000, numbers())
    assert found.mean.equal(again.mean) and found.std.equal(again.std)


def test_z_of_any_length_maps_alike() -> None:
    net = decoder()
    torch.testing.assert_close(net.style(z_of()), net.style(5 * z_of()), rtol=1e-4, atol=1e-5)
    per_layer = torch.stack([z_of(seed=layer) for layer in range(net.num_latent)], dim=1)
    latent = net.latents(per_layer)
    torch.testing.assert_close(latent[:, 2], net.style(z_of(seed=2)))


@pytest.mark.parametrize('grouped', [True, False])
def test_second_gradients_reach_every_parameter(grouped: bool) -> None:
    """Those that a path length has: not the biases of the image and not the last layer's noise of a linear image."""
    net = decoder(8, grouped)
    image, latent = net(z_of(), randomize_noise=False, return_latents=True)
    noise = torch.randn(image.shape, generator=numbers())
    (gradient,) = torch.autograd.grad((image * noise).sum(), latent, create_graph=True)
    gradient.square().sum().backward()
    grads = {key: p.grad for key, p in net.named_parameters()}
    assert all(grads[key].abs().sum() > 0 for key in net.style_affine_parameters())
    assert all(grads[key].abs().sum() > 0 for key in grads if key.endswith('modulated_conv.weight'))
    assert grads['style_mlp.1.weight'].abs().sum() > 0


def test_channels_last_is_the_same() -> None:
    net, critic = decoder(16), stirred(StyleGAN2Critic(16, narrow=NARROW))
    expected = net(z_of(4), randomize_noise=False)
    logits = critic(expected)
    net, critic = (module.to(memory_format=torch.channels_last) for module in (net, critic))
    torch.testing.assert_close(net(z_of(4), randomize_noise=False), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        critic(expected.contiguous(memory_format=torch.channels_last)), logits, rtol=1e-4, atol=1e-4
    )


def test_what_cannot_be_is_refused() -> None:
    for cls in (StyleGAN2Decoder, StyleGAN2Critic):
        for size in (2, 100, 2048):
            with pytest.raises(ValueError, match=f'size={size}'):
                cls(size)
        with pytest.raises(ValueError, match=r'narrow=0\.001'):
            cls(16, narrow=0.001)
    net = decoder(8)
    with pytest.raises(ValueError, match='two to mix, not 3'):
        net([z_of()] * 3)
    with pytest.raises(ValueError, match=r'\(3, 5, 24\)'):
        net(torch.zeros(3, 5, 24))
    with pytest.raises(ValueError, match='inject_index=4'):
        net([z_of(), z_of()], inject_index=4)
    with pytest.raises(ValueError, match='truncation_latent'):
        net(z_of(), truncation=0.5)
    with pytest.raises(ValueError, match='3 layers with noise and got it for 1'):
        net(z_of(), noise=[None])
    with pytest.raises(ValueError, match='not 1'):
        net.latent_statistics(1)
    critic = StyleGAN2Critic(8, narrow=NARROW)
    with pytest.raises(ValueError, match='size=8.*16x16'):
        critic(torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match='batch of 6'):
        critic(torch.zeros(6, 3, 8, 8))


def test_without_noise_an_image_is_that_of_the_middle() -> None:
    torch.manual_seed(0)
    net = StyleGAN2Decoder(16, num_style_feat=8, num_mlp=1, narrow=1 / 64)
    w = torch.randn(2, net.num_latent, 8)
    with torch.no_grad():
        for layer in (net.style_conv1, *net.style_convs):
            layer.weight.zero_()
        silent = net(w, input_is_latent=True)
        for layer in (net.style_conv1, *net.style_convs):
            layer.weight.fill_(0.5)
        assert not torch.equal(net(w, input_is_latent=True), silent)
        torch.testing.assert_close(net(w, input_is_latent=True, noise=net.no_noise()), silent)
