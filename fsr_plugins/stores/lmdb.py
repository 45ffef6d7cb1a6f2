"""An LMDB as a store: ours (PNG or raw pixels, with a manifest) and BasicSR's (PNG with ``meta_info.txt``)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import numpy as np
import numpy.typing as npt

from fsr_plugins.errors import DamagedError, UserError
from fsr_plugins.lmdb_env import environment
from fsr_plugins.stores.images import Image, decode_image, decode_labels
from fsr_plugins.stores.manifest import NAME, Manifest, read_manifest
from fsr_plugins.stores.store import Read, Store

#: Records beside the images begin with a zero byte, which no key does; BasicSR finds images by ``meta_info.txt`` alone.
IDENTITIES, LANDMARKS, PARSING = b'\0identities', b'\0landmarks', b'\0parsing/'

META_INFO = 'meta_info.txt'
_META_LINE = re.compile(r'(?P<file>.+) \((?P<h>[1-9]\d{0,8}),(?P<w>[1-9]\d{0,8}),(?P<c>\d+)\) \d+')


class LmdbStore(Store):
    """A folder ``*.lmdb``. An image is either a PNG or, for speed, its uint8 HWC RGB bytes as they are.

    Attributes:
        remedy: what is to be done with a damaged one.

    Raises:
        DamagedError: it is no LMDB, truncated, or does not fit its manifest.
        UserError: it is empty.
    """

    remedy = 'prepare or copy it again'

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self.folder = Path(path)
        self._manifest = self._described()
        self.keys = self._manifest.keys
        self._raw = self._manifest.encoding == 'raw'
        sizes = np.array(self._manifest.sizes, np.int32).reshape(-1, 2)
        self._sizes = np.ascontiguousarray(np.broadcast_to(sizes, (len(self), 2)))
        self._shapes = dict(zip(self.keys, [(h, w, 3) for h, w in self._sizes.tolist()], strict=True))
        with self._transaction() as transaction:
            holds = self._manifest.holds
            expected = len(self) * (2 if 'parsing' in holds else 1) + ('identity' in holds) + ('landmarks' in holds)
            entries = transaction.stat()['entries']
            if entries != expected:
                raise self._damaged(f'it has {entries} records, its manifest describes {expected}')
            if 'identity' in holds:
                self.identities = np.frombuffer(self._numbers(transaction, IDENTITIES, 8), np.int64).copy()
            if 'landmarks' in holds:
                points = np.frombuffer(self._numbers(transaction, LANDMARKS, 40), np.float32)
                self.landmarks = points.reshape(-1, 5, 2).copy()

    def _described(self) -> Manifest:
        if (self.folder / NAME).is_file():
            try:
                manifest = read_manifest(self.folder)
            except UserError as error:
                raise self._damaged(f"its '{NAME}' is no manifest of this toolkit") from error
            data = self.folder / 'data.mdb'
            size = data.stat().st_size if data.is_file() else 0
            if manifest.bytes is not None and size != manifest.bytes:
                raise self._damaged(f'data.mdb has {size} bytes, its manifest says {manifest.bytes}')
        elif (self.folder / META_INFO).is_file():
            manifest = _read_meta_info(self.folder / META_INFO)
        else:
            raise DamagedError(
                f"'{self.path}' is no LMDB of images: it has neither {NAME} nor {META_INFO}; {self.remedy}."
            )
        if not manifest.count:
            raise UserError(f"The LMDB '{self.path}' holds no images.")
        return manifest

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(f"The LMDB '{self.path}' is damaged: {what}; {self.remedy}.")

    @contextmanager
    def _transaction(self) -> Iterator[lmdb.Transaction]:
        try:
            with environment(self.folder, self.remedy).begin(buffers=True) as transaction:
                yield transaction
        except lmdb.Error as error:
            raise self._damaged(str(error)) from error

    def _record(self, transaction: lmdb.Transaction, key: bytes) -> memoryview:
        value: memoryview | None = transaction.get(key)  # type: ignore[assignment]  # of bytes only without buffers
        if value is None:
            name = key.decode().replace('\0', '')
            raise self._damaged(f"it has no record '{name}', which its manifest names")
        return value

    def _numbers(self, transaction: lmdb.Transaction, key: bytes, each: int) -> memoryview:
        """A record that has ``each`` bytes for every image."""
        value = self._record(transaction, key)
        if len(value) != each * len(self):
            name = key.decode().replace('\0', '')
            raise self._damaged(f"its record '{name}' has {len(value)} bytes, its manifest names {len(self)} images")
        return value

    @property
    def manifest(self) -> Manifest:
        """As written beside the data, or made from ``meta_info.txt``."""
        return self._manifest

    @property
    def has_parsing(self) -> bool:
        """Whether parsing maps are held."""
        return 'parsing' in self._manifest.holds

    def sizes(self) -> npt.NDArray[np.int32]:
        """See :meth:`Store.sizes`; from the manifest."""
        return self._sizes

    def files(self) -> Iterator[str]:
        """The data file."""
        yield str(self.folder / 'data.mdb')

    def content_checksum(self) -> str:
        """See :meth:`Store.content_checksum`; over the bytes as they are stored."""
        try:
            return content_checksum(environment(self.folder, self.remedy), self.keys)
        except lmdb.Error as error:
            raise self._damaged(str(error)) from error

    def image(self, key: str) -> Image:
        """See :meth:`Store.image`."""
        with self.reader() as read:
            return read(key).copy() if self._raw else read(key)

    @contextmanager
    def reader(self) -> Iterator[Read]:
        """Reads in one transaction; raw images are views of the mapped file."""
        with self._transaction() as transaction:

            def read(key: str) -> Image:
                shape = self._shapes[key]
                value = self._record(transaction, key.encode())
                if not self._raw:
                    return decode_image(value, self.where(key))
                if len(value) != shape[0] * shape[1] * 3:
                    raise self._damaged(f"its image '{key}' has {len(value)} bytes, its manifest says {shape}")
                return np.frombuffer(value, np.uint8).reshape(shape)

            yield read

    def parsing(self, key: str) -> Image:
        """See :meth:`Store.parsing`."""
        height, width, _ = self._shapes[key]
        if not self.has_parsing:
            raise UserError(f"The LMDB '{self.place}' holds no parsing maps; prepare it with them.")
        with self._transaction() as transaction:
            value = self._record(transaction, PARSING + key.encode())
            if not self._raw:
                return decode_labels(value, self.where(key))
            if len(value) != height * width:
                raise self._damaged(f"the parsing map of '{key}' is not of its image's size")
            return np.frombuffer(value, np.uint8).reshape(height, width).copy()


def _read_meta_info(path: Path) -> Manifest:
    keys: dict[str, tuple[int, int]] = {}
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is no text that can be read ({error}); make the LMDB again.") from error
    for line in lines:
        if not line.strip():
            continue
        found = _META_LINE.fullmatch(line.strip())
        if found is None:
            raise UserError(f"'{path}' has a line that is not 'name.png (h,w,c) level': {line!r}.")
        key = found['file'].split('.')[0]  # BasicSR's keys end at the first dot
        if key in keys:
            raise UserError(f"'{path}' names '{key}' twice (BasicSR cuts names at their first dot); rename the images.")
        keys[key] = (int(found['h']), int(found['w']))
    ordered = sorted(keys)
    return Manifest(kind='lmdb', encoding='png', count=len(keys), keys=ordered, sizes=[keys[key] for key in ordered])


def content_checksum(env: lmdb.Environment, keys: Iterable[str]) -> str:
    """SHA-256 in hex over every key and the stored bytes of its image, in the order of ``keys``."""
    digest = hashlib.sha256()
    with env.begin(buffers=True) as transaction:
        for key in keys:
            name = key.encode()
            digest.update(name)
            digest.update(transaction.get(name, b''))
    return digest.hexdigest()
