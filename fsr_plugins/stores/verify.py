"""Decoding every image of a store once, before anything is trained on it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import numpy.typing as npt

from fsr_plugins.errors import UserError
from fsr_plugins.stores.cache import StoreCache
from fsr_plugins.stores.checksum import store_checksum
from fsr_plugins.stores.store import Store

Sizes = npt.NDArray[np.int32]

#: Images that are handed to the threads together; each costs memory until it is done.
_AT_ONCE = 4096
#: Faulty images that a message tells of.
_TOLD = 5


def verify(store: Store, min_size: tuple[int, int] | int | None = None, threads: int | None = None) -> Sizes:
    """Decodes every image and parsing map and returns the images' sizes, int32 (n, 2) by key order.

    The result is remembered (:mod:`fsr_plugins.stores.cache`), so that a second run only looks at the files' names,
    lengths and times. What a manifest says of sizes and checksum is compared.

    Raises:
        UserError: naming the images, in key order, that do not decode and the parsing maps that are missing or of
            another size; else the first image smaller than ``min_size`` (height, width).
    """
    if len(store.parts) > 1:
        sizes = np.concatenate([verify(part, threads=threads) for part in store.parts])
    else:
        count = len(store)

        def find() -> list[list[int]]:
            found = _measure(store, threads or os.cpu_count() or 1)
            kept: list[list[int]] = (found[:1] if (found == found[:1]).all() else found).tolist()
            return kept

        def known(recalled: object) -> list[list[int]] | None:
            return recalled if isinstance(recalled, list) and len(recalled) in (1, count) else None

        sizes = _spread(StoreCache(store, 'sizes').found(known, find), count)
    if min_size is not None:
        minimum = (min_size, min_size) if isinstance(min_size, int) else min_size
        check_minimum(store, np.arange(len(store)), sizes, minimum)
    return sizes


def check_minimum(
    store: Store, positions: npt.NDArray[np.int64], sizes: Sizes, minimum: tuple[int, int], why: str = ''
) -> None:
    """Refuses images, at ``positions`` in the store and of ``sizes`` there, under ``minimum`` (height, width).

    Args:
        why: where the minimum comes from, if no option says it.

    Raises:
        UserError: naming the first.
    """
    small = positions[(sizes[positions] < np.array(minimum)).any(axis=1)]
    if small.size:
        height, width = sizes[small[0]]
        raise UserError(
            f"The image '{store.where(store.keys[small[0]])}' is {width}x{height} (width x height), smaller than the "
            f'{minimum[1]}x{minimum[0]} that is needed{f" ({why})" if why else ""}; {small.size} of '
            f'{len(positions)} are: remove them or crop less.'
        )


def _spread(known: list[list[int]], count: int) -> Sizes:
    """The sizes as remembered, one for all or one an image, as int32 (count, 2)."""
    return np.array(np.broadcast_to(np.array(known, np.int32), (count, 2)))


def _measure(store: Store, threads: int) -> Sizes:
    def measure(key: str) -> tuple[int, int]:
        try:
            height, width = store.image(key).shape[:2]
            if store.has_parsing and store.parsing(key).shape != (height, width):
                raise UserError(f"The parsing map of '{store.where(key)}' is not of its image's size {width}x{height}.")
        except UserError as error:
            faults.append((key, error))
            return 0, 0
        return height, width

    faults: list[tuple[str, UserError]] = []

    cv2.setNumThreads(0)
    with ThreadPoolExecutor(threads, thread_name_prefix='verify') as pool:
        starts = range(0, len(store), _AT_ONCE)
        found = [size for start in starts for size in pool.map(measure, store.keys[start : start + _AT_ONCE])]
    if faults:
        raise _joint(faults, len(store))
    sizes = np.array(found, np.int32).reshape(-1, 2)
    _compare(store, sizes)
    return sizes


def _joint(faults: list[tuple[str, UserError]], count: int) -> UserError:
    """One error of all faults, in key order; of many the first are told."""
    errors = [error for _, error in sorted(faults, key=lambda fault: fault[0])]
    if len(errors) == 1:
        return errors[0]
    more = f' … and {len(errors) - _TOLD} more.' if len(errors) > _TOLD else ''
    told = ' '.join(str(error) for error in errors[:_TOLD])
    return type(errors[0])(f'{len(errors)} of {count} images cannot be used. {told}{more}')


def _compare(store: Store, sizes: Sizes) -> None:
    """The sizes found and the content against the manifest, as far as it says."""
    manifest = store.manifest
    if manifest.sizes:
        expected = _spread([list(size) for size in manifest.sizes], len(store))
        wrong = np.flatnonzero((sizes != expected).any(axis=1))
        if wrong.size:
            raise UserError(
                f"'{store.where(store.keys[wrong[0]])}' is not of the size its manifest says; prepare it again."
            )
    if manifest.checksum is not None and store_checksum(store) != manifest.checksum:
        raise UserError(f"The images of '{store.path}' do not have the checksum of its manifest; prepare it again.")
