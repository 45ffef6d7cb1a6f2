"""Bringing weights into a network, and saying in what they differ."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import Tensor, nn

from fsr_plugins.checkpoints.layout import PARAMS, unwrapped
from fsr_plugins.checkpoints.reading import read_weights
from fsr_plugins.errors import UserError

logger = logging.getLogger(__name__)


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
    own = net.state_dict()
    weights = unwrapped(read_weights(path, param_key), own.keys())
    different = differences(net, weights)
    if different and strict:
        raise UserError(
            f'{path} does not fit {type(net).__name__}: {"; ".join(different[:3])}'
            f'{f"; and {len(different) - 3} more" if len(different) > 3 else ""}. '
            'Give the weights of this arch, or its arguments in the network block.'
        )
    for line in different:
        logger.warning('%s: %s; not loaded.', path, line)
    fitting = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    net.load_state_dict(fitting, strict=strict)
