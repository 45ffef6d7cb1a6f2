"""Ready networks from a checkpoint alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import nn

from fsr_plugins.checkpoints.building import construct, sketch
from fsr_plugins.checkpoints.fitting import check_fit, fit
from fsr_plugins.checkpoints.layout import META, PARAMS, PARAMS_EMA, listed
from fsr_plugins.checkpoints.meta import meta_in
from fsr_plugins.checkpoints.reading import load_state, weights_in
from fsr_plugins.errors import UserError, shown
from fsr_plugins.registry import build_network, load_plugins, lookup
from fsr_plugins.values import Record


def load(
    path: str | Path, *, param_key: str | None = None, arch: str | None = None, sha256: str | None = None
) -> nn.Module:
    """The ready network a checkpoint holds: built from what the file says of itself, in evaluation mode.

    What it says is checked, and its weights are compared with the network's names and shapes, before anything is
    allocated.

    Args:
        path: a file written by this toolkit (``meta`` inside), or the name of a bundled network. Only tensors and plain
            values are read; code is not run.
        param_key: ``params`` or ``params_ema``; by default the averaged weights where there are some.
        arch: the type that the network must have; None: any.
        sha256: as for :func:`~fsr_plugins.checkpoints.load_state`.

    Returns:
        a network from NCHW RGB in [0, 1] to the same; what the file says of itself is its attribute ``meta``.

    Raises:
        UserError: no such file, damaged, not self-describing or saying what is not understood, of another arch, of one
            that no installed plugin registers, or with values that are no finite numbers.
    """
    load_plugins()
    content, source = described(path, sha256=sha256), f"'{path}'"
    meta = content[META]
    block = meta['arch']
    try:
        lookup('archs', block['type'])
    except UserError as error:
        module = meta.get('module')
        known = f' The module {shown(module)} registers it: name it by --plugins, if you trust it.' if module else ''
        raise UserError(f'{source} cannot be opened: {error}{known}') from error
    if arch is not None and block['type'] != arch:
        raise UserError(f'{source} holds a network of type {block["type"]}, not {arch}: give another file or type.')
    state = weights_in(content, source, param_key or (PARAMS_EMA if PARAMS_EMA in content else PARAMS))
    make = partial(build_network, block)
    outline = sketch(make, state, block, source)
    if outline is not None:
        check_fit(outline, state, source)
    net = construct(make, state, block, source)
    fit(net, state, source)
    net.meta = meta
    return net.eval().requires_grad_(False)


def described(path: str | Path, *, sha256: str | None = None) -> Record:
    """The content of a checkpoint that says what network it holds: ``params``, perhaps ``params_ema``, and ``meta``.

    Args:
        sha256: as for :func:`~fsr_plugins.checkpoints.load_state`.

    Raises:
        UserError: no such file, damaged, not self-describing, or saying what is not understood.
    """
    content = load_state(path, sha256=sha256)
    if meta_in(content, f"'{path}'") is None:
        said = content.get(META) if isinstance(content, dict) else None
        lacks = "no 'meta'" if said is None else "its 'meta' has no 'arch'"
        if isinstance(said, dict) and 'arch' in said:
            lacks = f"neither '{PARAMS}' nor '{PARAMS_EMA}'"
        held = f'; its keys are: {listed(content)}' if isinstance(content, dict) else ''
        raise UserError(
            f'{path} does not say what network it holds ({lacks}{held}). Only files of this toolkit do; load others '
            "by 'path.pretrain_network_<x>' in an option file."
        )
    return content
