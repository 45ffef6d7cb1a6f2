"""Pixels that are kept once they are decoded: in memory, or in a file that is mapped into it."""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import shutil
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from fsr_plugins.atomic import cache_folder
from fsr_plugins.stores.checksum import store_checksum
from fsr_plugins.stores.images import Image
from fsr_plugins.stores.manifest import Manifest
from fsr_plugins.stores.once import is_elsewhere, leaves_nothing
from fsr_plugins.stores.store import Read, Store
from fsr_plugins.threads import available_memory

logger = logging.getLogger(__name__)

#: Where pixels are kept. ``auto``: in memory where a quarter of what is free suffices and no other process wants them,
#: else in a file where a quarter of what is free on the disk suffices, else nowhere.
CacheMode = Literal['auto', 'ram', 'disk', 'off']
_SHARE = 4
_SUFFIX = '.pixels'
_MAGIC = b'FSRPIX01'
#: Bytes of all files together beyond which the oldest are removed: this part of the disk.
_PART_OF_DISK = 5


class CachedPixels(Store):
    """A store whose images are decoded once; everything else is the other store's.

    Each image lies in a place of its own with the CRC of its pixels beside it. A process looks at that once for each
    image; where it does not fit, because nothing is there yet or a write was cut short, the image is decoded. So any
    number of threads and processes may fill one file, and be killed while they do.

    Args:
        store: one whose images have to be decoded.
        mode: where to keep them.
        several: whether other processes of this machine read the same.
    """

    def __init__(self, store: Store, mode: CacheMode, several: bool = False) -> None:
        self.store, self._mode, self._several = store, mode, several
        self.path, self.keys = store.path, store.keys
        self.identities, self.landmarks = store.identities, store.landmarks
        self._lock = threading.Lock()
        self._pixels: _Pixels | None = None
        self._chosen, self._memory = False, 0

    def __getstate__(self) -> tuple[Store, CacheMode, bool]:
        return self.store, self._mode, self._several

    def __setstate__(self, state: tuple[Store, CacheMode, bool]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    @property
    def underlying(self) -> Store:
        """The other store."""
        return self.store.underlying

    @property
    def manifest(self) -> Manifest:
        """The other store's."""
        return self.store.manifest

    @property
    def has_parsing(self) -> bool:
        """The other store's."""
        return self.store.has_parsing

    def image(self, key: str) -> Image:
        """See :meth:`Store.image`; this neither keeps nor takes what is kept."""
        return self.store.image(key)

    def parsing(self, key: str) -> Image:
        """See :meth:`Store.parsing`."""
        return self.store.parsing(key)

    def sizes(self) -> npt.NDArray[np.int32]:
        """See :meth:`Store.sizes`."""
        return self.store.sizes()

    def files(self) -> Iterator[str]:
        """See :meth:`Store.files`."""
        return self.store.files()

    def content_checksum(self) -> str:
        """See :meth:`Store.content_checksum`."""
        return self.store.content_checksum()

    def where(self, key: str) -> str:
        """See :meth:`Store.where`."""
        return self.store.where(key)

    @contextmanager
    def reader(self) -> Iterator[Read]:
        """Decodes what is not kept yet, and keeps it."""
        with self.store.reader() as read:
            pixels = self._kept()
            yield read if pixels is None else lambda key: pixels.get(key, read)

    def memory(self) -> int:
        """The bytes of this process's memory that the pixels will take when all are kept."""
        self._kept()
        return self._memory

    def _kept(self) -> _Pixels | None:
        with self._lock:
            if not self._chosen:
                self._chosen = True
                sizes = self.store.sizes()
                total = int(sizes.astype(np.int64).prod(axis=1).sum()) * 3
                place = _place(self._mode, total, self._several)
                if place == 'ram':
                    self._pixels, self._memory = _Pixels(self.keys, sizes, None), total
                elif place == 'disk':
                    self._pixels = _on_disk(self.store, sizes)
            return self._pixels


def cached(store: Store, mode: CacheMode, several: bool) -> Store:
    """The store with its pixels kept, or itself where that saves nothing: its images are not encoded, or go away."""
    saves = mode != 'off' and store.manifest.encoding != 'raw' and not is_elsewhere(store.path)
    return CachedPixels(store, mode, several) if saves else store


def folder() -> Path:
    """Where files of pixels lie: ``$XDG_CACHE_HOME/fsr_plugins/pixels``."""
    return cache_folder() / 'pixels'


def _place(mode: CacheMode, total: int, several: bool) -> Literal['ram', 'disk', 'off']:
    if mode != 'auto':
        return 'off' if mode == 'disk' and leaves_nothing() else mode
    if not several and total * _SHARE <= available_memory():
        return 'ram'
    if leaves_nothing():
        return 'off'
    existing = next(above for above in (folder(), *folder().parents) if above.exists())
    return 'disk' if total * _SHARE <= shutil.disk_usage(existing).free else 'off'


class _Pixels:
    """The places of images in one piece of memory: their CRCs first, then their pixels.

    Args:
        file: mapped into memory and shared; None: this process's own memory.
    """

    def __init__(self, keys: Sequence[str], sizes: npt.NDArray[np.int32], file: Path | None) -> None:
        count = len(keys)
        lengths = sizes.astype(np.int64).prod(axis=1) * 3
        head = len(_MAGIC) + 4 * count
        self._places = {key: place for place, key in enumerate(keys)}
        self._sizes = sizes
        self._starts = head + np.concatenate([[0], np.cumsum(lengths)])
        if file is None:
            memory = mmap.mmap(-1, int(self._starts[-1]))
        else:
            with open(file, 'r+b') as opened:
                memory = mmap.mmap(opened.fileno(), int(self._starts[-1]))
        self._all = np.frombuffer(memory, np.uint8)
        self._crcs = self._all[len(_MAGIC) : head].view(np.uint32)
        self._seen = np.zeros(count, bool)

    def get(self, key: str, read: Read) -> Image:
        """The image, not to be written to; decoded by ``read`` where it is not kept."""
        place = self._places[key]
        height, width = self._sizes[place]
        kept = self._all[self._starts[place] : self._starts[place + 1]].reshape(height, width, 3)
        if not self._seen[place]:
            known = int(self._crcs[place])
            if known == 0 or _crc(kept) != known:
                image = read(key)
                if image.shape != kept.shape:
                    return image  # the file has changed since sizes were looked at; the dataset will say so
                kept[:] = image
                self._crcs[place] = _crc(kept)
            self._seen[place] = True
        kept.flags.writeable = False
        return kept


def _crc(pixels: Image) -> int:
    """Never 0, which stands for nothing."""
    return zlib.crc32(pixels.data) or 1


def _on_disk(store: Store, sizes: npt.NDArray[np.int32]) -> _Pixels | None:
    """The file of a store's pixels, made if it is missing; None, with a warning, if it cannot be made."""
    digest = hashlib.sha256(f'{store_checksum(store)}\n{len(store)}\n'.encode() + sizes.tobytes()).hexdigest()
    path = folder() / f'{digest[:40]}{_SUFFIX}'
    length = len(_MAGIC) + 4 * len(store) + int(sizes.astype(np.int64).prod(axis=1).sum()) * 3
    try:
        if not _is_whole(path, length):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f'.{path.name}.{os.getpid()}')
            try:
                with open(partial, 'wb') as file:
                    file.write(_MAGIC)
                    # Room is taken now: to find out in the middle of a training that there is none ends the process.
                    if hasattr(os, 'posix_fallocate'):
                        os.posix_fallocate(file.fileno(), 0, length)
                    else:
                        file.truncate(length)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        os.utime(path)
        _prune(path)
        return _Pixels(store.keys, sizes, path)
    except OSError as error:
        logger.warning('%s cannot be kept (%s): the images of %s are decoded each time.', path, error, store.path)
        return None


def _is_whole(path: Path, length: int) -> bool:
    if not path.is_file() or path.stat().st_size != length:
        return False
    with open(path, 'rb') as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _prune(newest: Path) -> None:
    """Removes the files that were used longest ago, but for the newest, where all together are too large."""
    files = sorted(newest.parent.glob(f'*{_SUFFIX}'), key=lambda path: path.stat().st_mtime, reverse=True)
    room = shutil.disk_usage(newest.parent).total // _PART_OF_DISK
    for path in files:
        room -= path.stat().st_size
        if room < 0 and path != newest:
            with suppress(OSError):  # who has it mapped keeps it
                path.unlink()
