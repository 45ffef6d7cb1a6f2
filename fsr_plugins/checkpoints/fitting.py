"""Bringing weights into a network, and saying in what they differ."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import Tensor, nn

from fsr_plugins.checkpoints.layout import PARAMS, listed, unwrapped
from fsr_plugins.checkpoints.reading import read_weights
from fsr_plugins.errors import UserError

logger = logging.getLogger(__name__)

_INSTEAD = 'Give the weights of this arch, or its arguments in the network block.'


def differences(net: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """In words, every tensor in which ``weights`` and ``net`` differ by name or shape; empty if they fit."""
    own = net.state_dict()
    lines = [f"'{key}' is missing from the file" for key in own if key not in weights]
    lines += [f"'{key}' is not in the network" for key in weights if key not in own]
    lines += [
        f"'{key}' is {tuple(weights[key].shape)} in the file, {tuple(own[key].shape)} in the network"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    return lines


def load_weights(net: nn.Module, path: str, *, param_key: str | None = PARAMS, strict: bool = True) -> None:
    """Loads a checkpoint into ``net``, which is in no wrapper.

    Args:
        strict: every tensor must fit; otherwise those that do are loaded and the others are logged.

    Raises:
        UserError: the weights belong to another arch; the first differing tensors are named.
    """
    fit(net, read_weights(path, param_key), path, strict=strict)


def fit(
    net: nn.Module, state: Mapping[str, Tensor], source: str, *, strict: bool = True, instead: str = _INSTEAD
) -> None:
    """Brings a state dict into ``net``; a prefix before every name that the network's names lack is cut off.

    Args:
        source: how messages call where it comes from.
        strict: as for :func:`load_weights`.
        instead: what messages tell to give instead.

    Raises:
        UserError: it belongs to another arch; the first differing tensors are named, or what there is if none fits.
    """
    own = net.state_dict()
    weights = unwrapped(state, own.keys())
    different = differences(net, weights)
    if different and strict:
        if own and weights.keys().isdisjoint(own):
            different = [f'it has none of its tensors, which begin with {next(iter(own))!r}; it has {listed(weights)}']
        raise UserError(
            f'{source} does not fit {type(net).__name__}: {"; ".join(different[:3])}'
            f'{f"; and {len(different) - 3} more" if len(different) > 3 else ""}. {instead}'
        )
    for line in different:
        logger.warning('%s: %s; not loaded.', source, line)
    fitting = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    net.load_state_dict(fitting, strict=strict)
