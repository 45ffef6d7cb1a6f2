"""Decoding every image of a store once, before anything is trained on it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fsr_plugins.data.folder_store import FolderStore
from fsr_plugins.data.lmdb_env import environment
from fsr_plugins.data.lmdb_store import LmdbStore
from fsr_plugins.data.lmdb_writer import content_checksum
from fsr_plugins.data.stores import Store
from fsr_plugins.errors import UserError

logger = logging.getLogger(__name__)

Sizes = npt.NDArray[np.int32]


def verify(store: Store, min_size: tuple[int, int] | int | None = None, threads: int | None = None) -> Sizes:
    """Decodes every image and parsing map and returns the images' sizes, int32 (n, 2) by key order.

    The result is kept in ``$XDG_CACHE_HOME/fsr_plugins`` (``~/.cache``) under the files' names, lengths and times, so
    that a second run only looks at those. Raw LMDBs are checked by lengths and checksum.

    Raises:
        UserError: naming the first image, in key order, that does not decode or is smaller than ``min_size`` (height,
            width), or a parsing map that is missing or of another size.
    """
    fingerprint = _fingerprint(store)
    record = _cache_folder() / f'{hashlib.sha256(os.path.realpath(store.path).encode()).hexdigest()[:32]}.json'
    sizes = _recall(record, fingerprint, len(store))
    if sizes is None:
        sizes = _measure(store, threads or os.cpu_count() or 1)
        _remember(record, fingerprint, sizes)
    if min_size is not None:
        minimum = (min_size, min_size) if isinstance(min_size, int) else min_size
        check_minimum(store, np.arange(len(store)), sizes, minimum)
    return sizes


def check_minimum(store: Store, positions: npt.NDArray[np.int64], sizes: Sizes, minimum: tuple[int, int]) -> None:
    """Refuses images, at ``positions`` in the store and of ``sizes`` there, under ``minimum`` (height, width).

    Raises:
        UserError: naming the first.
    """
    small = positions[(sizes[positions] < np.array(minimum)).any(axis=1)]
    if small.size:
        height, width = sizes[small[0]]
        raise UserError(
            f"The image '{store.where(store.keys[small[0]])}' is {width}x{height} (width x height), smaller than the "
            f'{minimum[1]}x{minimum[0]} that is needed; {small.size} of {len(positions)} are: remove them or crop less.'
        )


def _measure(store: Store, threads: int) -> Sizes:
    cv2.setNumThreads(0)
    with ThreadPoolExecutor(threads, thread_name_prefix='verify') as pool:
        measure = _measurer(store)
        sizes = np.array(list(pool.map(measure, store.keys)), np.int32).reshape(-1, 2)
    if isinstance(store, LmdbStore):
        expected, checksum = store.sizes(), store.manifest.checksum
        wrong = np.flatnonzero((sizes != expected).any(axis=1))
        if wrong.size:
            raise UserError(
                f"'{store.where(store.keys[wrong[0]])}' is not of the size its manifest says; prepare it again."
            )
        if checksum is not None and content_checksum(environment(store.folder), store.keys) != checksum:
            raise UserError(
                f"The images of the LMDB '{store.path}' do not have the checksum of its manifest; prepare it again."
            )
    return sizes


def _measurer(store: Store) -> Callable[[str], tuple[int, int]]:
    def measure(key: str) -> tuple[int, int]:
        height, width = store.image(key).shape[:2]
        if store.has_parsing and store.parsing(key).shape != (height, width):
            raise UserError(f"The parsing map of '{store.where(key)}' is not of its image's size {width}x{height}.")
        return height, width

    return measure


def _cache_folder() -> Path:
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'fsr_plugins'


def _files(store: Store) -> Iterator[str]:
    if isinstance(store, FolderStore):
        for key in store.keys:
            yield store.files[key]
            if store.has_parsing:
                yield str(store.parsing_path(key))
    elif isinstance(store, LmdbStore):
        yield str(store.folder / 'data.mdb')


def _fingerprint(store: Store) -> str:
    digest = hashlib.sha256(f'{os.path.realpath(store.path)}\n{len(store)}\n'.encode())
    for path in _files(store):
        try:
            status = os.stat(path)
        except OSError as error:
            raise UserError(f"'{path}' cannot be read: {error.strerror}.") from error
        digest.update(f'{path}\n{status.st_size} {status.st_mtime_ns}\n'.encode())
    return digest.hexdigest()


def _recall(record: Path, fingerprint: str, count: int) -> Sizes | None:
    if not record.is_file():
        return None
    try:
        known = json.loads(record.read_bytes())
        if known['fingerprint'] != fingerprint:
            return None
        return np.array(np.broadcast_to(np.array(known['sizes'], np.int32), (count, 2)))
    except (ValueError, KeyError, TypeError, OSError) as error:
        logger.warning('%s is unreadable (%s); the images are verified again.', record, error)
        return None


def _remember(record: Path, fingerprint: str, sizes: Sizes) -> None:
    uniform = bool((sizes == sizes[:1]).all())
    known = {'fingerprint': fingerprint, 'sizes': (sizes[:1] if uniform else sizes).tolist()}
    partial = record.with_suffix(f'.{os.getpid()}.partial')
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(known), encoding='utf-8')
        partial.replace(record)
    except OSError as error:
        logger.warning('%s cannot be written (%s); the images are verified anew next time.', record, error.strerror)
