"""A store's content as one SHA-256, so that what is computed from it can be told from what other data would give."""

from __future__ import annotations

from pathlib import Path

from fsr_plugins.data.folder_store import FolderStore, files_checksum
from fsr_plugins.data.known import Known
from fsr_plugins.data.lmdb_env import environment
from fsr_plugins.data.lmdb_store import LmdbStore
from fsr_plugins.data.lmdb_writer import content_checksum
from fsr_plugins.data.stores import Store
from fsr_plugins.data.union_store import UnionStore, joint_checksum


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
        found = computed_checksum(store)
        known.remember(found)
    return found


def computed_checksum(store: Store) -> str:
    """:func:`store_checksum` of one folder or LMDB, from its images whatever its manifest says."""
    if isinstance(store, LmdbStore):
        return content_checksum(environment(store.folder), store.keys)
    if isinstance(store, FolderStore):
        return files_checksum((key, Path(store.files[key])) for key in store.keys)
    raise TypeError(f'{type(store).__name__} has no checksum, and no files that are known here')
