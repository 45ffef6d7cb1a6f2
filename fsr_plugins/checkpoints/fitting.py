"""Bringing weights into a network, and saying in what they differ."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fsr_plugins.checkpoints.layout import PARAMS, listed, unwrapped
from fsr_plugins.checkpoints.reading import read_weights
from fsr_plugins.checkpoints.tensors import check_finite, shown
from fsr_plugins.errors import UserError

logger = logging.getLogger(__name__)

_INSTEAD = 'Give the weights of this arch, or its arguments in the network block.'


def differences(net: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """In words, every tensor in which ``weights`` and ``net`` differ by name, shape or kind; empty if they fit."""
    own = net.state_dict()
    lines = [f'{shown(key)} is missing from the file' for key in own if key not in weights]
    lines += [f'{shown(key)} is not in the network' for key in weights if key not in own]
    for key in own:
        if key not in weights:
            continue
        theirs, ours = weights[key], own[key]
        if theirs.shape != ours.shape:
            lines.append(f'{shown(key)} is {tuple(theirs.shape)} in the file, {tuple(ours.shape)} in the network')
        elif _kind(theirs.dtype) != _kind(ours.dtype):
            lines.append(f'{shown(key)} is {theirs.dtype} in the file, {ours.dtype} in the network')
    return lines


def _kind(dtype: torch.dtype) -> tuple[bool, bool, bool]:
    """Numbers of one kind are converted into each other; of another kind they would be other numbers."""
    return dtype.is_floating_point, dtype.is_complex, dtype == torch.bool


def load_weights(
    net: nn.Module, path: str, *, param_key: str | None = PARAMS, strict: bool = True, sha256: str | None = None
) -> None:
    """Loads a checkpoint into ``net``, which is in no wrapper.

    Args:
        strict: every tensor must fit; otherwise those that do are loaded and the others are logged.
        sha256: as for :func:`~fsr_plugins.checkpoints.load_state`.

    Raises:
        UserError: the file is damaged or holds values that are no finite numbers; the weights belong to another arch:
            the first differing tensors are named.
    """
    fit(net, read_weights(path, param_key, sha256), path, strict=strict)


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
            Or a value is no finite number, or none any more in the network's precision.
    """
    own = net.state_dict()
    weights = unwrapped(state, own.keys())
    for line in check_fit(net, weights, source, strict=strict, instead=instead):
        logger.warning('%s: %s; not loaded.', source, line)
    fitting = {
        key: value.to(own[key].dtype)
        for key, value in weights.items()
        if key in own and own[key].shape == value.shape and _kind(own[key].dtype) == _kind(value.dtype)
    }
    check_finite(fitting, source)
    net.load_state_dict(fitting, strict=strict)


def check_fit(
    net: nn.Module, state: Mapping[str, Tensor], source: str, *, strict: bool = True, instead: str = _INSTEAD
) -> list[str]:
    """Compares names, shapes and kinds as :func:`fit` does and loads nothing; what may differ is given in words.

    Raises:
        UserError: see :func:`fit`.
    """
    own = net.state_dict()
    weights = unwrapped(state, own.keys())
    different = differences(net, weights)
    if different and strict:
        if own and weights.keys().isdisjoint(own):
            first = next(iter(own))
            different = [f'it has none of its tensors, which begin with {first!r}; it has {listed(weights)}']
        raise UserError(
            f'{source} does not fit {type(net).__name__}: {"; ".join(different[:3])}'
            f'{f"; and {len(different) - 3} more" if len(different) > 3 else ""}. {instead}'
        )
    return different
