"""Checking a block with a key ``type``: its other keys are arguments of the registered class."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from torch import nn

from fsr_plugins.config.problems import Problems
from fsr_plugins.config.yamlfile import Keys
from fsr_plugins.errors import UserError, shown
from fsr_plugins.registry import lookup

#: Registries whose classes may hold another of theirs, or a list of them, given as blocks; for a block of another kind
#: a class of any registry says in ``nested``, by the argument's name, what finds the target of its ``type``.
_NESTING = ('losses', 'degradations')
#: What a block's ``type`` names: a class or a function.
Target = Callable[..., object]
#: A registry's name, or what finds the target by name and raises UserError.
Finder = str | Callable[[str], Target]
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def check_block(block: object, keys: Keys, problems: Problems, find: Finder, given: int = 0) -> Target | None:
    """Checks a ``type:`` block against the signature of what it names.

    Args:
        find: a registry's name, or what finds the class by name and raises UserError.
        given: number of leading parameters that the toolkit passes itself.
    Returns:
        The class, or None if the block names none.
    """
    target = find_type(block, keys, problems, find)
    if target is not None and isinstance(block, dict):
        arguments = {key: value for key, value in block.items() if key != 'type'}
        check_arguments(target, arguments, keys, problems, given=given)
        nested = getattr(target, 'nested', {})
        for key, value in arguments.items():
            if key in nested and isinstance(value, dict):
                check_block(value, (*keys, key), problems, nested[key])
            elif find in _NESTING:
                for place, part in _parts(value, (*keys, key)):
                    if isinstance(part, dict) and isinstance(part.get('type'), str):
                        check_block(part, place, problems, find)
    return target


def _parts(value: object, keys: Keys) -> list[tuple[Keys, object]]:
    """An argument's value with its place, or each entry's of a list."""
    if isinstance(value, list):
        return [((*keys, str(number)), item) for number, item in enumerate(value)]
    return [(keys, value)]


def find_type(block: object, keys: Keys, problems: Problems, find: Finder) -> Target | None:
    """The class that a block's ``type`` names, or None after noting why there is none."""
    if not isinstance(block, dict):
        problems.add(keys, f"is {shown(block)}, but must be a mapping with a key 'type' and arguments.")
        return None
    name = block.get('type')
    if not isinstance(name, str):
        problems.add((*keys, 'type'), 'is missing: it names the class to build.' if name is None else 'must be a name.')
        return None
    try:
        return lookup(find, name) if isinstance(find, str) else find(name)
    except UserError as error:
        problems.add((*keys, 'type'), f'is {shown(name)}: {error}')
        return None


def parameters(target: Target) -> tuple[dict[str, inspect.Parameter], bool]:
    """The named parameters of a class or function, and whether it takes any other.

    Where a class passes ``**kwargs`` on, those of the next class up count too.
    """
    if not inspect.isclass(target):
        own = inspect.signature(target).parameters.values()
        return {p.name: p for p in own if p.kind in _NAMED}, any(p.kind is p.VAR_KEYWORD for p in own)
    named: dict[str, inspect.Parameter] = {}
    for cls in target.__mro__:
        if '__init__' not in vars(cls):
            continue
        if cls in (object, nn.Module):
            return named, bool(named) or vars(cls)['__init__'] is not target.__init__
        found = list(inspect.signature(vars(cls)['__init__']).parameters.values())[1:]
        named = {**{p.name: p for p in found if p.kind in _NAMED}, **named}
        if not any(p.kind is p.VAR_KEYWORD for p in found):
            return named, False
    return named, False


def check_arguments(
    target: Target, arguments: Mapping[str, object], keys: Keys, problems: Problems, *, given: int = 0
) -> None:
    """Checks names and, where annotated, types of the arguments a block gives to ``target``."""
    named, open_ended = parameters(target)
    named = dict(list(named.items())[given:])
    name = target.__name__
    hints = _hints(target)
    missing = [key for key, each in named.items() if each.default is inspect.Parameter.empty and key not in arguments]
    for key, value in arguments.items():
        if key in named:
            _check_value(value, hints.get(key, named[key].annotation), named[key].default, (*keys, key), problems)
        elif not open_ended:
            problems.unknown((*keys, key), set(named), name, missing)
    for key in missing:
        problems.add((*keys, key), f'is missing: {name} needs it.')


def _hints(target: Target) -> dict[str, object]:
    try:
        if not inspect.isclass(target):
            return typing.get_type_hints(target)
        merged: dict[str, object] = {}
        for cls in reversed(target.__mro__):
            if '__init__' in vars(cls) and cls is not object:
                merged.update(typing.get_type_hints(vars(cls)['__init__']))
        return merged
    except (NameError, TypeError):  # names that only a type checker imports
        return {}


def _check_value(value: object, hint: Any, default: object, keys: Keys, problems: Problems) -> None:
    if hint is inspect.Parameter.empty or isinstance(hint, str):
        # unannotated, as BasicSR's archs are: a text where the default is a number is a mistake
        if isinstance(value, str) and isinstance(default, bool | int | float):
            wanted = 'true or false' if isinstance(default, bool) else 'a number'
            problems.add(keys, f'is {shown(value)}, but must be {wanted}.')
        return
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError):
        return
    try:
        # as JSON: strict about numbers and texts, and a list may stand for a tuple, as in YAML
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problems.explain(error, value, keys, 'it')
