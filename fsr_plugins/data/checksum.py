"""A store's content as one SHA-256, so that what is computed from it can be told from what other data would give."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from fsr_plugins.data.folder_store import FolderStore
from fsr_plugins.data.known import Known
from fsr_plugins.data.lmdb_env import environment
from fsr_plugins.data.lmdb_store import LmdbStore
from fsr_plugins.data.lmdb_writer import content_checksum
from fsr_plugins.data.stores import Store
from fsr_plugins.data.union_store import UnionStore, joint_checksum
from fsr_plugins.errors import UserError


def store_checksum(store: Store) -> str:
    """SHA-256 in hex over the images of a store: the manifest's, or else found by reading all of them.

    What was read is remembered while the files keep their names, lengths and times (:mod:`fsr_plugins.data.known`).

    Raises:
        UserError: an image file cannot be read.
    """
    if isinstance(store, UnionStore):
        return joint_checksum(store_checksum(part) for part in store.parts)
    if store.manifest.checksum is not None:
        return store.manifest.checksum
    known = Known(store, 'checksum')
    found = known.recall()
    if not isinstance(found, str):
        found = _computed(store)
        known.remember(found)
    return found


def _computed(store: Store) -> str:
    if isinstance(store, LmdbStore):
        return content_checksum(environment(store.folder), store.keys)
    if isinstance(store, FolderStore):
        return _files_checksum((key, Path(store.files[key])) for key in store.keys)
    raise TypeError(f'{type(store).__name__} has no checksum, and no files that are known here')


def _files_checksum(files: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for key, path in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"'{path}' cannot be read: {error.strerror}.") from error
        # Lengths keep what belongs to one file apart from the next.
        digest.update(f'{key}\n{len(content)}\n'.encode())
        digest.update(content)
    return digest.hexdigest()
