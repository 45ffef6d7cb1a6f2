"""Old names of options: they work for one release, with a warning that names the new one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from fsr_plugins.data.options import RENAMED
from fsr_plugins.errors import UserError
from fsr_plugins.values import Options

logger = logging.getLogger(__name__)

#: Until when old names work.
_UNTIL = '0.3'
_DATASETS = 'datasets'
#: What makes a file a suite, and where it describes datasets.
_ENTRIES, _OF_SUITE = 'entries', {('train',), ('test',)}
_Keys = tuple[str, ...]


def renamed(values: Options, places: Mapping[_Keys, str], name: str, warn: bool) -> tuple[Options, dict[_Keys, str]]:
    """An option file's values and places with the present names of keys.

    Args:
        values: a whole document; blocks below a key ``datasets`` are looked at, wherever it stands.
        places: where each key stands.
        name: what messages name where a key's place is not known.
        warn: whether old names are told of.

    Raises:
        UserError: a block has an old name and the new one too.
    """
    moved = dict(_old_keys(values, ()))
    for keys, new in moved.items():
        place, shown = places.get(keys, name), '.'.join(keys)
        if (*keys[:-1], new) in places:
            raise UserError(f"{place}: key '{shown}' is the old name of '{new}', which is there too: give one of them.")
        if warn:
            logger.warning(
                "%s: key '%s' is called '%s' now; the old name works until version %s.", place, shown, new, _UNTIL
            )
    if not moved:
        return values, dict(places)

    def current(keys: _Keys) -> _Keys:
        for old, new in moved.items():
            if keys[: len(old)] == old:
                return (*old[:-1], new, *keys[len(old) :])
        return keys

    def rebuilt(value: object, keys: _Keys) -> object:
        if isinstance(value, dict):
            return {moved.get((*keys, key), key): rebuilt(item, (*keys, key)) for key, item in value.items()}
        return value

    whole = {moved.get((key,), key): rebuilt(value, (key,)) for key, value in values.items()}
    return whole, {current(keys): place for keys, place in places.items()}


def _old_keys(value: object, keys: _Keys, suite: bool = False) -> Iterator[tuple[_Keys, str]]:
    """Every key that has an old name, by its way from the top, and the new name."""
    if not isinstance(value, dict):
        return
    suite = suite or (not keys and _ENTRIES in value)
    of_dataset = (len(keys) > 1 and keys[-2] == _DATASETS) or (suite and keys in _OF_SUITE)
    for key, item in value.items():
        if of_dataset and key in RENAMED:
            yield (*keys, key), RENAMED[key]
        else:
            yield from _old_keys(item, (*keys, key), suite)


def renamed_key(keys: _Keys, value: object, place: str) -> tuple[_Keys, object]:
    """:func:`renamed` for a single key and its value, as ``--set`` gives them."""
    nested = {keys[-1]: value}
    for key in reversed(keys[:-1]):
        nested = {key: nested}
    found, _ = renamed(nested, {}, place, True)
    current: list[str] = []
    for _ in keys:
        ((key, found),) = found.items()
        current.append(key)
    return tuple(current), found


def with_its_own_names(block: Options, known: set[str]) -> Options:
    """A dataset's block for a class that itself has an option of an old name, as one from outside may."""
    back = {new: old for old, new in RENAMED.items() if old in known and new not in known}
    return {back.get(key, key): value for key, value in block.items()}
