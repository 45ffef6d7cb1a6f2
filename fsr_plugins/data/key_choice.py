"""Which images of a store a dataset uses, by their keys: the options ``keys`` and ``exclude_keys``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fsr_plugins.arguments import home_path
from fsr_plugins.data.options import Keys
from fsr_plugins.errors import UserError
from fsr_plugins.stores.store import Store


def choose_by_key(
    store: Store, wanted: Keys | None, unwanted: Keys | None, dataset: str = 'dataset'
) -> npt.NDArray[np.int64]:
    """Positions of the images in use, ascending int64: all that ``wanted`` names but those that ``unwanted`` names.

    Each is a list of patterns or the path of a ``*.txt`` file with one key a line. A pattern is a key of the store, or
    has the wildcards ``*``, ``?`` and ``[…]`` of :func:`fnmatch.fnmatchcase`; what is a key means that image alone.

    Args:
        store: Where the images are.
        wanted: None: all.
        unwanted: None: none.
        dataset: Name of the dataset, for messages.

    Raises:
        UserError: an entry names no image, no image is left, or a file cannot be read.
    """
    if wanted is None and unwanted is None:
        return np.arange(len(store))
    places = {key: place for place, key in enumerate(store.keys)}
    where = f"of the dataset '{dataset}' fits no key of '{store.place}', e.g. '{store.keys[0]}'; correct it."
    chosen = np.ones(len(store), bool) if wanted is None else _named('keys', wanted, places, where)
    if unwanted is not None:
        chosen &= ~_named('exclude_keys', unwanted, places, where)
    if not chosen.any():
        raise UserError(f"'keys' and 'exclude_keys' of the dataset '{dataset}' leave no image of '{store.place}'.")
    return np.flatnonzero(chosen)


def _named(option: str, given: Keys, places: Mapping[str, int], where: str) -> npt.NDArray[np.bool_]:
    """Which images an option names, bool (n,) by key order."""
    entries = _read(option, given) if isinstance(given, str) else given
    named = np.zeros(len(places), bool)
    named[[places[entry] for entry in entries if entry in places]] = True
    for entry in (entry for entry in entries if entry not in places):
        if isinstance(given, str):  # its lines are keys: a bracket there is a bracket
            raise UserError(f"The line '{entry}' of '{given}' in '{option}' {where}")
        fits = re.compile(fnmatch.translate(entry)).match
        found = np.fromiter((fits(key) is not None for key in places), bool, len(places))
        if not found.any():
            raise UserError(f"'{entry}' in '{option}' {where}")
        named |= found
    return named


def _read(option: str, path: str) -> list[str]:
    try:
        lines = home_path(path).read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The list of keys '{path}' in '{option}' cannot be read: {error}.") from error
    listed = [line.strip() for line in lines if line.strip()]
    if not listed:
        raise UserError(f"The list of keys '{path}' in '{option}' is empty; write one key a line.")
    return listed
