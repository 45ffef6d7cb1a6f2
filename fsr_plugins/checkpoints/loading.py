"""Ready networks from a checkpoint alone."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from fsr_plugins.checkpoints.fitting import load_weights
from fsr_plugins.checkpoints.layout import META, PARAMS, PARAMS_EMA, arch_of
from fsr_plugins.checkpoints.reading import load_state
from fsr_plugins.errors import UserError
from fsr_plugins.registry import build_network, load_plugins
from fsr_plugins.values import Record


def load(path: str | Path, *, param_key: str | None = None, arch: str | None = None) -> nn.Module:
    """The ready network a checkpoint holds: built from what the file says of itself, in evaluation mode.

    Args:
        path: a file written by this toolkit (``meta`` inside). Only tensors and plain values are read; code is not run.
        param_key: ``params`` or ``params_ema``; by default the averaged weights where there are some.
        arch: the type that the network must have; None: any.

    Returns:
        a network from NCHW RGB in [0, 1] to the same; what the file says of itself is its attribute ``meta``.

    Raises:
        UserError: no such file, damaged, not self-describing, of another arch, or of one that no installed plugin
            registers.
    """
    load_plugins()
    content = described(path)
    meta = content[META]
    if arch is not None and meta['arch'].get('type') != arch:
        raise UserError(
            f"'{path}' holds a network of type {meta['arch'].get('type')}, not {arch}: give another file or type."
        )
    net = build_network(meta['arch'])
    load_weights(net, str(path), param_key=param_key or (PARAMS_EMA if PARAMS_EMA in content else PARAMS))
    net.meta = meta
    return net.eval().requires_grad_(False)


def described(path: str | Path) -> Record:
    """The content of a checkpoint that says what network it holds: ``params``, perhaps ``params_ema``, and ``meta``.

    Raises:
        UserError: no such file, damaged or not self-describing.
    """
    content = load_state(path)
    if arch_of(content) is None:
        raise UserError(
            f"{path} does not say what network it holds (no 'meta'). Only files of this toolkit do; load others by "
            "'path.pretrain_network_<x>' in an option file."
        )
    return content
