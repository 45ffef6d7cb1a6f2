"""Ready networks from a checkpoint alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from fsr_plugins.checkpoints.building import construct, sketch
from fsr_plugins.checkpoints.fitting import check_fit, fit
from fsr_plugins.checkpoints.layout import AVERAGED_FIRST, META, PARAMS, PARAMS_EMA, listed
from fsr_plugins.checkpoints.meta import meta_in
from fsr_plugins.checkpoints.others import HOLDERS, OthersNetwork, is_known_to_others, others_network
from fsr_plugins.checkpoints.reading import load_state, weights_in
from fsr_plugins.errors import UserError, shown
from fsr_plugins.registry import build_network, load_plugins, lookup
from fsr_plugins.values import Record

if TYPE_CHECKING:
    from fsr_plugins.checkpoints.meta_types import Meta


def load(
    path: str | Path, *, param_key: str | None = None, arch: str | None = None, sha256: str | None = None
) -> nn.Module:
    """The network of a checkpoint, ready to use: built from the file's ``meta``, in evaluation mode.

    ``meta`` is checked before anything is allocated, and the weights are compared with the network's names and shapes.
    A file without ``meta`` is another program's. If ``spandrel`` is installed, it recognises the network by its
    tensors.

    Args:
        path: a file written by this toolkit (``meta`` inside) or by another program, or the name of a bundled network.
            Only tensors and plain values are read; code is not run.
        param_key: ``params`` or ``params_ema``; by default the averaged weights where there are some.
        arch: the type that the network must have, and then a file of this toolkit; None: any.
        sha256: as for :func:`~fsr_plugins.checkpoints.load_state`.

    Returns:
        a network from NCHW RGB in [0, 1] to the same; what the file says of itself is its attribute ``meta``.

    Raises:
        UserError: there is no such file, or it is damaged. It has no ``meta`` and no known network, or a ``meta`` that
            is not understood. Its arch is another one, or no installed plugin registers it. Its values are not finite.
    """
    content = load_state(path, sha256=sha256)
    if arch is None and _is_of_others(content, path):
        return _others(content, path, param_key)
    load_plugins(methods=False)
    return network_in(_self_describing(content, path), f"'{path}'", param_key, arch)


def network_in(content: Record, source: str, param_key: str | None = None, arch: str | None = None) -> nn.Module:
    """The network of a content that :func:`described` gives; see :func:`load`.

    Args:
        source: how messages call the file.
    """
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
    net = construct(make, state, block, source, watched=outline is None)
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
    return _self_describing(load_state(path, sha256=sha256), path)


def about(path: str | Path) -> Meta:
    """What a checkpoint says of itself, or what is known of another program's network.

    Raises:
        UserError: see :func:`load`.
    """
    content = load_state(path)
    if _is_of_others(content, path):
        return _others(content, path, None).meta
    return cast('Meta', _self_describing(content, path)[META])


def _is_of_others(content: object, path: str | Path) -> bool:
    """Whether a file says nothing of itself."""
    return meta_in(content, f"'{path}'") is None and not (isinstance(content, dict) and META in content)


def _others(content: object, path: str | Path, param_key: str | None) -> OthersNetwork:
    """The network of a file that says nothing of itself."""
    if not is_known_to_others():
        hint = "Networks of other programs are known to spandrel: pip install 'fsr_plugins[spandrel]'."
        raise _unknown(content, path, hint)
    source = f"'{path}'"
    net = others_network(weights_in(content, source, param_key, (*AVERAGED_FIRST, *HOLDERS)), source)
    if net is None:
        raise _unknown(content, path, 'It holds no network that spandrel knows by its tensors, either.')
    return net


def _self_describing(content: Any, path: str | Path) -> Record:
    if meta_in(content, f"'{path}'") is None:
        raise _unknown(content, path)
    return content


def _unknown(content: object, path: str | Path, hint: str = '') -> UserError:
    said = content.get(META) if isinstance(content, dict) else None
    lacks = "no 'meta'" if said is None else "its 'meta' has no 'arch'"
    if isinstance(said, dict) and 'arch' in said:
        lacks = f"neither '{PARAMS}' nor '{PARAMS_EMA}'"
    held = f'; its keys are: {listed(content)}' if isinstance(content, dict) else ''
    return UserError(
        f'{path} does not say what network it holds ({lacks}{held}). Only files of this toolkit do; load others '
        f"by 'path.pretrain_network_<x>' in an option file.{f' {hint}' if hint else ''}"
    )
