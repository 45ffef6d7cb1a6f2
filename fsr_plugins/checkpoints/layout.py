"""How network files are laid out: BasicSR's layout with ``meta``, and the layouts of other people."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard, TypeVar

from torch import Tensor

from fsr_plugins.checkpoints.tensors import check_finite, kind_of, shown
from fsr_plugins.errors import UserError
from fsr_plugins.values import Record

#: The weights, the averaged weights, and what the file says of itself.
PARAMS, PARAMS_EMA, META = 'params', 'params_ema', 'meta'
#: Under which keys a file may hold a state dict; of several the first is taken.
HOLDERS = (PARAMS, PARAMS_EMA, 'g_ema', 'net_state_dict', 'state_dict')
#: The same where averaged weights are wanted.
AVERAGED_FIRST = (PARAMS_EMA, PARAMS, 'g_ema', 'net_state_dict', 'state_dict')
#: What DataParallel and torch.compile put before every name.
WRAPPERS = ('module.', '_orig_mod.')
#: How many prefixes are cut off at most: each is cut off every name.
_MOST_PREFIXES = 8
#: Where PyTorch keeps what belongs to a state dict, and under which name the toolkit does in it.
_METADATA, _SAYS = '_metadata', 'fsr_plugins'
#: The suffix of the file that a stage ends with.
_LATEST = 'latest'
#: How many keys of a file a message shows.
_SHOWN = 8

StateDict = dict[str, Tensor]


Value = TypeVar('Value')


def self_described(content: Record) -> Record:
    """A network file's content whose state dicts say what the file says of itself, too.

    A program that only hands on ``params`` would lose it. It lies where PyTorch keeps what belongs to a state dict: in
    the attribute ``_metadata``, under the empty name, which is the whole network's. PyTorch reads versions there alone.

    Args:
        content: it may hold ``meta``; a missing one is no error.
    """
    if META not in content:
        return dict(content)
    said = {key: OrderedDict(content[key]) for key in (PARAMS, PARAMS_EMA) if is_state_dict(content.get(key))}
    for state in said.values():
        vars(state)[_METADATA] = {'': {_SAYS: content[META]}}
    return {**content, **said}


def said_of(state: object) -> object:
    """What :func:`self_described` has made a state dict say; None for another one."""
    known = getattr(state, _METADATA, None)
    whole = known.get('') if isinstance(known, Mapping) else None
    return whole.get(_SAYS) if isinstance(whole, Mapping) else None


def is_state_dict(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    """Whether a value is a mapping from names to tensors, and not empty."""
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(key, str) and isinstance(item, Tensor) for key, item in value.items())


def state_in(content: object, source: str, holders: Sequence[str] = HOLDERS) -> StateDict:
    """The state dict that a file holds: under the first of ``holders`` that is there, else the file's content itself.

    Args:
        content: what was read of the file.
        source: how messages call the file.

    Raises:
        UserError: there is none, or a tensor of it holds NaN or an infinity; the message names what is no tensor in it,
            or lists the keys that are there.
    """
    places: list[object] = [content]
    if isinstance(content, Mapping):
        places = [content[key] for key in holders if key in content] + places
    for place in places:
        if is_state_dict(place):
            check_finite(place, source)
            return dict(place)
    raise UserError(
        f'{source} holds no network weights: none is under {", ".join(repr(key) for key in holders)}, and it is no '
        f'bare state dict. {_held(places)}'
    )


def _held(places: Sequence[object]) -> str:
    """What is in a file that holds no weights: what spoils the first state dict that it nearly holds, or its keys."""
    for place in places:
        if isinstance(place, Mapping) and any(isinstance(value, Tensor) for value in place.values()):
            for key, value in place.items():
                if not isinstance(value, Tensor):
                    return f'{shown(key)} is {kind_of(value)}, no tensor.'
                if not isinstance(key, str):
                    return f'The name of a tensor in it is no text: {shown(key)}.'
    content = places[-1]
    return f'Its keys are: {listed(content)}.' if isinstance(content, Mapping) else f'It is {kind_of(content)}.'


def listed(keys: Collection[object]) -> str:
    """The first keys of a file for a message, and how many more there are."""
    more = f' and {len(keys) - _SHOWN} more' if len(keys) > _SHOWN else ''
    return (', '.join(shown(key) for key in list(keys)[:_SHOWN]) or 'none') + more


def unwrapped(state: Mapping[str, Value], own: Collection[str] | None = None) -> dict[str, Value]:
    """The state dict without a prefix that stands before every name and that the network's own names lack.

    Args:
        own: the network's names; None: only what wrappers of torch put before every name is cut off.
    """
    names = dict(state)
    for _ in range(_MOST_PREFIXES if names else 0):
        prefix, dot, _ = next(iter(names)).partition('.')
        prefix += dot
        if not dot or not all(name.startswith(prefix) and name != prefix for name in names):
            return names
        bare = {name.removeprefix(prefix): value for name, value in names.items()}
        # The network's names have to lack the prefix, and a wrapper or another prefix to hide them.
        has_it = own is not None and any(name.startswith(prefix) for name in own)
        hides = own is not None and any(name in own for name in bare)
        if has_it or not (prefix in WRAPPERS or hides):
            return names
        names = bare
    return names


def network_file(folder: Path, label: str, suffix: str = _LATEST) -> Path:
    """The file of the network ``net_<x>`` in a stage's folder ``models``; by default the one it ended with."""
    return folder / f'{label}_{suffix}.pth'


def label_of(file: Path) -> str:
    """The network of a file that a stage ended with: ``net_<x>``."""
    return file.name.removesuffix(f'_{_LATEST}.pth')
