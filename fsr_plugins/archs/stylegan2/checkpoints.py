"""Weights of StyleGAN2 that others have trained, for the networks of this toolkit."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from fsr_plugins.archs.stylegan2.discriminator import StyleGAN2Critic
from fsr_plugins.archs.stylegan2.fir import FIR
from fsr_plugins.archs.stylegan2.generator import StyleGAN2Decoder
from fsr_plugins.checkpoints import StateDict, listed, load_state, state_in, unwrapped
from fsr_plugins.errors import UserError

Network = StyleGAN2Decoder | StyleGAN2Critic

#: Under which keys a file may hold the state of a network, the averaged weights before the last ones.
_DECODER_ENTRIES = ('g_ema', 'params_ema', 'g', 'params')
_CRITIC_ENTRIES = ('d', 'params_ema', 'params')

#: Keys of rosinality/stylegan2-pytorch, and of what imitates it, in BasicSR's words.
_DECODER_WORDS = (
    (r'^style\.', 'style_mlp.'),
    (r'^input\.input$', 'constant_input.weight'),
    (r'^conv1\.', 'style_conv1.'),
    (r'^convs\.', 'style_convs.'),
    (r'^noises\.noise_', 'noises.noise'),
    (r'^(style_conv.*|to_rgb.*)\.conv\.', r'\1.modulated_conv.'),
    (r'^(style_conv.*)\.noise\.weight$', r'\1.weight'),
)
_CRITIC_WORDS = ((r'^convs\.', 'conv_body.'),)


def convert(checkpoint: object, net: Network, source: str = 'the checkpoint') -> StateDict:
    """The state of ``net`` from a checkpoint of BasicSR or of rosinality/stylegan2-pytorch.

    BasicSR's keys are those of this toolkit. Filters, which rosinality's files hold, are compared with the network's
    and left out.

    Args:
        checkpoint: a state dict, or a mapping that holds one: as ``params_ema`` or ``params`` (BasicSR, this toolkit),
            ``g_ema`` or ``g`` for a decoder, ``d`` for a critic (rosinality). Averaged weights go before others.
        net: what the state is for; it is not changed.
        source: how messages call the checkpoint.

    Returns:
        What ``net.load_state_dict`` takes, the tensors of the checkpoint themselves.

    Raises:
        UserError: keys that are missing or that nobody knows, values of another shape or that are no tensors, another
            filter.
    """
    is_decoder = isinstance(net, StyleGAN2Decoder)
    state = unwrapped(state_in(checkpoint, source, _DECODER_ENTRIES if is_decoder else _CRITIC_ENTRIES))
    _check_filters(state, net, source)
    translated = {}
    for key, value in state.items():
        if not key.endswith('.kernel'):
            for pattern, words in _DECODER_WORDS if is_decoder else _CRITIC_WORDS:
                key = re.sub(pattern, words, key)
            translated[key] = value
    _check_state(translated, net, source)
    return translated


def load(net: Network, path: str | Path) -> None:
    """Loads a file that :func:`convert` understands into ``net``.

    Raises:
        UserError: the file cannot be read, or as :func:`convert`.
    """
    net.load_state_dict(convert(load_state(path), net, f"'{path}'"))


def _check_filters(state: StateDict, net: Network, source: str) -> None:
    """Refuses filters other than the network's; how large they are depends on where they are kept."""
    own = next((module.kernel for module in net.modules() if isinstance(module, FIR)), None)
    for key, kernel in state.items():
        if own is None or not key.endswith('.kernel'):
            continue
        wanted = (own / own.sum()).cpu()
        if kernel.shape != wanted.shape or not torch.allclose(kernel.float().cpu() / kernel.sum().cpu(), wanted):
            raise UserError(
                f"{source} was trained with another filter ('{key}'): give {type(net).__name__} its resample_kernel."
            )


def _check_state(state: StateDict, net: Network, source: str) -> None:
    wanted = net.state_dict()
    name = type(net).__name__
    missing = [key for key in wanted if key not in state]
    unknown = [key for key in state if key not in wanted]
    if missing or unknown:
        parts = [f'{kind} {listed(keys)}' for kind, keys in (('lacks', missing), ('has unknown', unknown)) if keys]
        raise UserError(
            f'{source} does not fit {name}: it {" and ".join(parts)}. It must be of the same size and num_mlp, in the '
            'layout of BasicSR or of rosinality/stylegan2-pytorch.'
        )
    wrong = [key for key, value in state.items() if value.shape != wanted[key].shape]
    if wrong:
        raise UserError(
            f'{source} has other shapes than {name} for {listed(wrong)}: give {name} the channel_multiplier, narrow '
            'and num_style_feat it was trained with.'
        )
