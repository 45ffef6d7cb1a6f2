"""Whether parsing maps hold the ids that the view ``parsing`` is of."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fsr_plugins.errors import UserError
from fsr_plugins.faces.parts import PARTS
from fsr_plugins.stores.cache import StoreCache
from fsr_plugins.stores.store import Store
from fsr_plugins.threads import available_cores

#: The highest of CelebAMask-HQ's ids; 0 is the background.
LAST_PART = len(PARTS) - 1


def check_parts(store: Store, keys: Sequence[str]) -> None:
    """Refuses maps with other ids: a network that looks parts up by them would fail in the middle of training.

    What is found is remembered, as :func:`~fsr_plugins.stores.verify.verify` does.

    Args:
        store: holds maps.
        keys: the images in use.

    Raises:
        UserError: naming the first image with such a map.
    """
    if all(_highest(part) <= LAST_PART for part in store.parts):
        return
    for key in keys:
        if (highest := int(store.parsing(key).max())) > LAST_PART:
            raise UserError(
                f"The parsing map of '{store.where(key)}' holds the id {highest}: CelebAMask-HQ's go from 0, the "
                f'background, to {LAST_PART}. Make it again, or do without the view.'
            )


def _highest(store: Store) -> int:
    def find() -> int:
        with ThreadPoolExecutor(available_cores(), thread_name_prefix='parts') as pool:
            return max(pool.map(lambda key: int(store.parsing(key).max()), store.keys))

    def known(recalled: object) -> int | None:
        return recalled if isinstance(recalled, int) else None

    return StoreCache(store, 'highest_part').found(known, find)
