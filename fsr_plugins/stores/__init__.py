"""Stores: uint8 RGB faces by key, and what belongs to them, in folders, LMDBs, unions and what plugins bring."""

from fsr_plugins.stores.checksum import store_checksum
from fsr_plugins.stores.opening import SCHEMES, open_store, register_scheme
from fsr_plugins.stores.store import Store
from fsr_plugins.stores.union import UnionStore
from fsr_plugins.stores.verify import verify

__all__ = ['SCHEMES', 'Store', 'UnionStore', 'open_store', 'register_scheme', 'store_checksum', 'verify']
