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
    return StoreCache(store, 'checksum').found(_text, store.content_checksum)


def _text(known: object) -> str | None:
    return known if isinstance(known, str) else None


def faces_checksum(store: Store, parsing: bool = True) -> str:
    """SHA-256 in hex over all that a store gives: its images, and identities, points and parsing maps where held.

    Args:
        parsing: False leaves the maps out, for those who do not read them.

    Raises:
        UserError: an image or a parsing map cannot be read.
    """
    digest = hashlib.sha256(store_checksum(store).encode())
    for held in (store.identities, store.landmarks):
        digest.update(b'' if held is None else held.tobytes())
    for part in store.parts if parsing else ():
        digest.update(_parsing_checksum(part).encode())
    return digest.hexdigest()


def _parsing_checksum(store: Store) -> str:
    if not store.has_parsing:
        return ''

    def find() -> str:
        digest = hashlib.sha256()
        for key in store.keys:
            digest.update(store.parsing(key).tobytes())
        return digest.hexdigest()

    return StoreCache(store, 'parsing').found(_text, find)
