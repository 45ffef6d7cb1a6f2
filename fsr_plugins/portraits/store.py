"""The built-in faces as a store, drawn when it is first opened."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from fsr_plugins.portraits.spec import SCHEME, parse_spec
from fsr_plugins.portraits.workers import draw
from fsr_plugins.stores.lmdb import LmdbStore
from fsr_plugins.stores.lmdb_env import release
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.once import only_one, place_to_build
from fsr_plugins.stores.opening import register_scheme
from fsr_plugins.stores.progress import progress

logger = logging.getLogger(__name__)


@register_scheme(SCHEME)
def open_portraits(text: str) -> LmdbStore:
    """Opens the store of a spec; draws it first if it is not there, while other processes that want it wait.

    Raises:
        UserError: the spec is wrong, or its place cannot be written.
    """
    spec = parse_spec(text)
    path = spec.path()
    store = _complete(path, spec.number)
    if store is not None:
        return store
    path = place_to_build(path)
    store = _complete(path, spec.number)
    if store is not None:
        return store
    with only_one(path):
        store = _complete(path, spec.number)  # another process may have drawn it meanwhile
        if store is not None:
            return store
        if path.exists():
            logger.warning('%s does not hold %d faces; it is drawn again.', path, spec.number)
            release(path)
            shutil.rmtree(path)
        logger.info('Drawing %d faces of %s/%s into %s (once).', spec.number, spec.domain, spec.split, path)
        write_lmdb(path, progress(draw(spec), spec.number, f'{spec.domain}/{spec.split}'), 'raw')
        return LmdbStore(path)


def _complete(path: Path, number: int) -> LmdbStore | None:
    if not path.exists():
        return None
    store = LmdbStore(path)
    return store if len(store) == number else None
