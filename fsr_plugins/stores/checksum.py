"""A store's content as one SHA-256, so that what is computed from it can be told from what other data would give."""

from __future__ import annotations

import hashlib

from fsr_plugins.stores.cache import StoreCache
from fsr_plugins.stores.store import Store
from fsr_plugins.stores.union import joint_checksum


def store_checksum(store: Store) -> str:
    """SHA-256 in hex over the images of a store, found by reading all of them, whatever a manifest says.

    What was read is remembered while the files keep their names, lengths and times (:mod:`fsr_plugins.stores.cache`).

    Raises:
        UserError: an image file cannot be read.
    """
    if len(store.parts) > 1:
        return joint_checksum(store_checksum(part) for part in store.parts)
    cache = StoreCache(store, 'checksum')
    found = cache.recall()
    if not isinstance(found, str):
        found = store.content_checksum()
        cache.remember(found)
    return found


def faces_checksum(store: Store) -> str:
    """SHA-256 in hex over all that a store gives: its images, and identities, points and parsing maps where held.

    Raises:
        UserError: an image or a parsing map cannot be read.
    """
    digest = hashlib.sha256(store_checksum(store).encode())
    for held in (store.identities, store.landmarks):
        digest.update(b'' if held is None else held.tobytes())
    for part in store.parts:
        digest.update(_parsing_checksum(part).encode())
    return digest.hexdigest()


def _parsing_checksum(store: Store) -> str:
    if not store.has_parsing:
        return ''
    cache = StoreCache(store, 'parsing')
    found = cache.recall()
    if not isinstance(found, str):
        digest = hashlib.sha256()
        for key in store.keys:
            digest.update(store.parsing(key).tobytes())
        found = digest.hexdigest()
        cache.remember(found)
    return found
