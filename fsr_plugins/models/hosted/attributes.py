"""What a model has in its attributes: what keeps a state of its own, and values that are kept here."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fsr_plugins.values import Record, State

#: What options and the engine say, and what an :class:`Intercepted` notes in the process that writes files.
_ASIDE = frozenset({'opt', 'device', 'noted'})
_PLAIN = bool | int | float | str | bytes | None
#: Kinds of NumPy's generators by name.
_KINDS: Mapping[str, type[np.random.BitGenerator]] = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}
#: Stands for what is kept by its own ``state_dict``.
_ELSEWHERE = ('elsewhere', None)


class NotKept(TypeError):
    """A value of which nobody knows how to keep it; the message is what it is."""


def _keeps_itself(value: object) -> bool:
    return hasattr(value, 'state_dict') and hasattr(value, 'load_state_dict')


def own_attributes(model: object) -> Record:
    """The attributes of a model that may change in training."""
    return {name: value for name, value in vars(model).items() if name not in _ASIDE}


def stateful(model: object) -> Record:
    """What has ``state_dict`` and ``load_state_dict`` among attributes, lists and mappings, each once, by its place."""
    found: Record = {}
    seen: set[int] = set()

    def walk(place: str, value: object) -> None:
        if id(value) in seen:
            return
        if _keeps_itself(value) and not isinstance(value, type):
            seen.add(id(value))
            found[place] = value
        elif isinstance(value, list | tuple | Mapping):
            seen.add(id(value))
            for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
                walk(f'{place}.{key}', item)

    for name, value in own_attributes(model).items():
        walk(name, value)
    return found


def held(modules: Mapping[str, nn.Module]) -> set[int]:
    """The identities of the tensors that modules keep."""
    return {id(tensor) for module in modules.values() for tensor in (*module.parameters(), *module.buffers())}


def take(model: object, aside: set[int]) -> tuple[State, list[str]]:
    """The values of a model's attributes as plain ones and tensors, and the names of those that cannot be kept.

    Args:
        aside: identities of tensors that are kept elsewhere.
    """
    kept: State = {}
    lost: list[str] = []
    for name, value in own_attributes(model).items():
        if callable(value) and not _keeps_itself(value):
            continue
        try:
            kept[name] = _taken(value, aside)
        except NotKept as what:
            lost.append(f'{name} ({what})')
    return kept, lost


def settings(model: object) -> State:
    """The attributes of a model just made that are plain values all through: most of them say what its options say."""
    return {name: value for name, value in take(model, set())[0].items() if _is_plain(value)}


def put_back(model: object, kept: State, device: torch.device) -> None:
    """Gives a model the values that :func:`take` took of another of its class; tensors stay where they are."""
    for name, value in kept.items():
        setattr(model, name, _given(value, getattr(model, name, None), device))


def own_state(model: object, modules: Mapping[str, nn.Module], made: State) -> State:
    """What of a model is in no state of a module, an optimiser or a scheduler.

    Args:
        modules: every module of the model, by its place.
        made: its :func:`settings` when it was made.
    """
    others = {
        place: each.state_dict()
        for place, each in stateful(model).items()
        if not isinstance(each, nn.Module | Optimizer | LRScheduler)
    }
    return {
        'attributes': take(model, held(modules))[0],
        'made': made,
        'others': others,
        'learning': {place: [each.requires_grad for each in module.parameters()] for place, module in modules.items()},
        'modes': {place: [part.training for part in module.modules()] for place, module in modules.items()},
    }


def load_own_state(
    model: object, modules: Callable[[], Mapping[str, nn.Module]], state: State, device: torch.device, made: State
) -> None:
    """Puts :func:`own_state` back, but attributes that were made otherwise: their options have changed since.

    Args:
        modules: gives every module of the model as it is by then, since attributes come first.
        made: as for :func:`own_state`, of this model.
    """
    before = state.get('made', {})
    # By their texts: a NaN is not equal to itself.
    changed = {name for name in before.keys() & made.keys() if repr(before[name]) != repr(made[name])}
    kept = {name: value for name, value in state['attributes'].items() if name not in changed}
    put_back(model, kept, device)
    found = stateful(model)
    for place, saved in state['others'].items():
        found[place].load_state_dict(saved)
    for place, module in modules().items():
        for parameter, learns in zip(module.parameters(), state['learning'].get(place, ()), strict=False):
            parameter.requires_grad_(learns)
        for part, training in zip(module.modules(), state['modes'].get(place, ()), strict=False):
            part.training = training


def _taken(value: object, aside: set[int]) -> tuple[str, object]:
    if _keeps_itself(value) or id(value) in aside:
        return _ELSEWHERE
    if isinstance(value, Tensor):
        return 'tensor', _whole(value.detach())
    if isinstance(value, _PLAIN | np.generic):
        return 'plain', _plain(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        return 'array', torch.from_numpy(np.ascontiguousarray(value).copy())
    if isinstance(value, deque):
        return 'deque', ([_taken(item, aside) for item in value], value.maxlen)
    if isinstance(value, list | tuple):
        return 'list' if isinstance(value, list) else 'tuple', [_taken(item, aside) for item in value]
    if isinstance(value, Mapping):
        return 'dict', [(_key(key), _taken(item, aside)) for key, item in value.items()]
    if isinstance(value, random.Random):
        return 'random', value.getstate()
    if isinstance(value, np.random.Generator):
        # Some kinds have arrays in it.
        return 'generator', _taken(dict(value.bit_generator.state), aside)
    if isinstance(value, torch.Generator):
        return 'torch', value.get_state()
    raise NotKept(f'a {type(value).__name__}')


def _is_plain(taken: object) -> bool:
    """Whether there is nothing but plain values in what :func:`_taken` gives."""
    kind, value = taken if isinstance(taken, tuple) else ('', None)
    if kind == 'dict':
        return all(_is_plain(item) for _, item in value)
    return kind == 'plain' or (kind in ('list', 'tuple') and all(map(_is_plain, value)))


def _whole(tensor: Tensor) -> Tensor:
    """A tensor that has its storage for itself: of a view, all that it is seen of would be written."""
    own = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if own else tensor.clone(memory_format=torch.contiguous_format)


def _plain(value: Any) -> object:
    """A value of one of the types that a file may hold: NumPy's numbers are floats too, and none of these."""
    if isinstance(value, np.generic):
        return value.item()
    kinds: tuple[Any, ...] = (bool, int, float, str, bytes)
    return next((kind(value) for kind in kinds if isinstance(value, kind)), None)


def _key(key: object) -> object:
    if not isinstance(key, _PLAIN | np.generic):
        raise NotKept(f'a mapping by {type(key).__name__}')
    return _plain(key)


def _given(saved: tuple[str, Any], now: Any, device: torch.device) -> Any:
    """The value that was saved; objects that are there, in the places of others, take it themselves."""
    kind, value = saved
    if kind == 'elsewhere':
        return now
    if kind == 'tensor':
        return _tensor(value, now, device)
    if kind == 'array':
        return value.numpy()
    if kind == 'deque':
        items, longest = value
        return deque(_items(items, now, device), longest)
    if kind in ('list', 'tuple'):
        return (list if kind == 'list' else tuple)(_items(value, now, device))
    if kind == 'dict':
        there = now if isinstance(now, Mapping) else {}
        pairs = [(key, _given(item, there.get(key), device)) for key, item in value]
        if isinstance(now, dict):
            now.clear()
            now.update(pairs)
            return now
        return dict(pairs)
    if kind == 'random':
        (now := now or random.Random()).setstate(value)
    elif kind == 'generator':
        state = _given(value, None, device)
        (now := now or np.random.Generator(_KINDS[state['bit_generator']]())).bit_generator.state = state
    elif kind == 'torch':
        (now := now or torch.Generator()).set_state(value)
    else:
        return value
    return now


def _items(saved: list[tuple[str, Any]], now: Any, device: torch.device) -> Iterator[Any]:
    there = list(now) if isinstance(now, list | tuple | deque) else []
    for number, item in enumerate(saved):
        yield _given(item, there[number] if number < len(there) else None, device)


def _tensor(saved: Tensor, now: Any, device: torch.device) -> Tensor:
    """Into the tensor that is there, if it is of that kind: an optimiser or another attribute may have it too."""
    alike = isinstance(now, Tensor) and now.shape == saved.shape and now.dtype == saved.dtype
    if not alike or 0 in now.stride():  # nor is one of which several elements are one number
        return saved.to(now.device if isinstance(now, Tensor) else device)
    with torch.no_grad():
        now.copy_(saved)
    return now
