"""Weights of BasicSR's layout and of rosinality's, the latter by its published names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from basicsr.archs.stylegan2_arch import StyleGAN2Discriminator, StyleGAN2Generator
from torch import Tensor

from fsr_plugins.archs.stylegan2 import StyleGAN2Critic, StyleGAN2Decoder, convert
from fsr_plugins.archs.stylegan2.checkpoints import load
from fsr_plugins.errors import UserError

SIZE, DIM, C = 16, 24, 16
OPTIONS = {'num_style_feat': DIM, 'num_mlp': 2, 'narrow': C / 512}
State = dict[str, Tensor]


def decoder() -> StyleGAN2Decoder:
    return StyleGAN2Decoder(SIZE, **OPTIONS)


def critic() -> StyleGAN2Critic:
    return StyleGAN2Critic(SIZE, narrow=C / 512)


def kernel() -> Tensor:
    line = torch.tensor([1.0, 3, 3, 1])
    return torch.outer(line, line) / 64


def modulated(theirs: str, ours: str, num_out: int, side: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        (f'{theirs}.conv.weight', f'{ours}.modulated_conv.weight', (1, num_out, C, side, side)),
        (f'{theirs}.conv.modulation.weight', f'{ours}.modulated_conv.modulation.weight', (C, DIM)),
        (f'{theirs}.conv.modulation.bias', f'{ours}.modulated_conv.modulation.bias', (C,)),
    ]


def style_conv(theirs: str, ours: str) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        *modulated(theirs, ours, C, 3),
        (f'{theirs}.noise.weight', f'{ours}.weight', (1,)),
        (f'{theirs}.activate.bias', f'{ours}.activate.bias', (C,)),
    ]


def to_rgb(theirs: str) -> list[tuple[str, str, tuple[int, ...]]]:
    return [*modulated(theirs, theirs, 3, 1), (f'{theirs}.bias', f'{theirs}.bias', (1, 3, 1, 1))]


def rosinality_decoder() -> tuple[State, State]:
    """A decoder of 16 pixels in that layout, and what it has to become."""
    rows = [(f'style.{i}.{kind}', f'style_mlp.{i}.{kind}', (DIM, DIM)[: 1 + (kind == 'weight')])
            for i in (1, 2) for kind in ('weight', 'bias')]  # fmt: skip
    rows += [('input.input', 'constant_input.weight', (1, C, 4, 4))]
    rows += style_conv('conv1', 'style_conv1') + to_rgb('to_rgb1')
    for layer in range(4):
        rows += style_conv(f'convs.{layer}', f'style_convs.{layer}')
    rows += to_rgb('to_rgbs.0') + to_rgb('to_rgbs.1')
    for layer, side in enumerate((4, 8, 8, 16, 16)):
        rows += [(f'noises.noise_{layer}', f'noises.noise{layer}', (1, 1, side, side))]
    theirs, ours = filled(rows)
    for name in ('convs.0.conv.blur', 'convs.2.conv.blur', 'to_rgbs.0.upsample', 'to_rgbs.1.upsample'):
        theirs[f'{name}.kernel'] = 4 * kernel()
    return theirs, ours


def rosinality_critic() -> tuple[State, State]:
    rows = [('convs.0.0.weight', (C, 3, 1, 1)), ('convs.0.1.bias', (C,))]
    for block in (1, 2):
        rows += [(f'convs.{block}.conv1.0.weight', (C, C, 3, 3)), (f'convs.{block}.conv1.1.bias', (C,))]
        rows += [(f'convs.{block}.conv2.1.weight', (C, C, 3, 3)), (f'convs.{block}.conv2.2.bias', (C,))]
        rows += [(f'convs.{block}.skip.1.weight', (C, C, 1, 1))]
    rows += [('final_conv.0.weight', (C, C + 1, 3, 3)), ('final_conv.1.bias', (C,))]
    rows += [('final_linear.0.weight', (C, 16 * C)), ('final_linear.0.bias', (C,))]
    rows += [('final_linear.1.weight', (1, C)), ('final_linear.1.bias', (1,))]
    theirs, ours = filled([(name, name.replace('convs.', 'conv_body.'), shape) for name, shape in rows])
    for block in (1, 2):
        theirs[f'convs.{block}.conv2.0.kernel'] = theirs[f'convs.{block}.skip.0.kernel'] = kernel()
    return theirs, ours


def filled(rows: list[tuple[str, str, tuple[int, ...]]]) -> tuple[State, State]:
    values = {theirs: torch.randn(shape) for theirs, _, shape in rows}
    return values, {ours: values[theirs] for theirs, ours, _ in rows}


def same(found: State, expected: State) -> bool:
    return found.keys() == expected.keys() and all(found[key].equal(expected[key]) for key in found)


@pytest.mark.parametrize('wrapped', [None, 'params', 'params_ema'])
def test_basicsrs_layout(wrapped: str | None) -> None:
    for net, theirs in (
        (decoder(), StyleGAN2Generator(SIZE, **OPTIONS)),
        (critic(), StyleGAN2Discriminator(SIZE, narrow=C / 512)),
    ):
        state = theirs.state_dict()
        found = convert({wrapped: state} if wrapped else state, net)
        assert same(found, state)
        net.load_state_dict(found)
        assert same(net.state_dict(), state)


def test_rosinalitys_layout() -> None:
    theirs, ours = rosinality_decoder()
    their_critic, our_critic = rosinality_critic()
    other = {key: torch.zeros_like(value) for key, value in theirs.items() if not key.endswith('kernel')}
    checkpoint = {'g': other, 'd': their_critic, 'g_ema': theirs, 'latent_avg': torch.zeros(DIM)}
    net, net_d = decoder(), critic()
    wrapped = ({f'{prefix}{key}': value for key, value in theirs.items()} for prefix in ('module.', '_orig_mod.'))
    for given in (theirs, checkpoint, *wrapped):
        found = convert(given, net)
        assert same(found, ours)
        net.load_state_dict(found)
    for given in (their_critic, checkpoint):
        found = convert(given, net_d)
        assert same(found, our_critic)
        net_d.load_state_dict(found)


def test_a_file_is_loaded(tmp_path: Path) -> None:
    theirs, ours = rosinality_decoder()
    torch.save({'g_ema': theirs}, tmp_path / 'g.pt')
    net = decoder()
    load(net, tmp_path / 'g.pt')
    assert same(net.state_dict(), ours)


def test_missing_and_unknown_keys_are_named(tmp_path: Path) -> None:
    theirs, _ = rosinality_decoder()
    theirs['conv1.gain'] = theirs.pop('conv1.noise.weight')
    torch.save(theirs, tmp_path / 'g.pt')
    with pytest.raises(UserError, match=r"g\.pt' does not fit .* lacks 'style_conv1.weight' and .* 'style_conv1.gain'"):
        load(decoder(), tmp_path / 'g.pt')
    larger = StyleGAN2Decoder(32, **OPTIONS)
    with pytest.raises(UserError, match=r"lacks 'style_convs.4.weight'.*and \d+ more.*same size"):
        convert(rosinality_decoder()[0], larger)
    with pytest.raises(UserError, match='does not fit StyleGAN2Critic'):
        convert(rosinality_decoder()[0], critic())


def test_other_shapes_and_values_are_named() -> None:
    theirs, _ = rosinality_decoder()
    with pytest.raises(UserError, match="other shapes than StyleGAN2Decoder for 'constant_input.weight'"):
        convert({**theirs, 'input.input': torch.zeros(1, 2 * C, 4, 4)}, decoder())
    with pytest.raises(UserError, match="'style.1.bias' is a str, no tensor"):
        convert({**theirs, 'style.1.bias': 'text'}, decoder())


def test_another_filter_is_refused() -> None:
    theirs, _ = rosinality_decoder()
    theirs['to_rgbs.1.upsample.kernel'] = torch.ones(4, 4)
    with pytest.raises(UserError, match=r"another filter \('to_rgbs.1.upsample.kernel'\).*resample_kernel"):
        convert(theirs, decoder())
