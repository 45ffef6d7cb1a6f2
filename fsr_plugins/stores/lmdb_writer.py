"""Writing an LMDB that is either complete or not there."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import lmdb
import numpy as np

from fsr_plugins.atomic import disk_error
from fsr_plugins.errors import UserError
from fsr_plugins.lmdb_env import release
from fsr_plugins.stores.encoding import EncodedFace, Encoding, encode_face
from fsr_plugins.stores.lmdb import IDENTITIES, LANDMARKS, META_INFO, PARSING, content_checksum
from fsr_plugins.stores.manifest import NAME, Holding, Manifest, Origin, compact_sizes
from fsr_plugins.stores.once import is_elsewhere
from fsr_plugins.stores.partial import partial_folder
from fsr_plugins.stores.records import FaceLike, holdings

logger = logging.getLogger(__name__)

_COMMIT_BYTES = 32 << 20
_KEY_BYTES = 480  # LMDB allows 511, of which the prefix of a parsing map takes some


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """Says in a sentence that LMDB cannot write.

    Raises:
        DiskError: the disk is full or fails.
    """
    try:
        yield
    except lmdb.MapFullError:
        raise
    except lmdb.Error as error:
        reason = str(error).rpartition(': ')[2]
        full = ' (LMDB says so of a full disk, too)' if reason == os.strerror(errno.EIO) else ''
        raise disk_error(path, f'{reason}{full}') from error


class LmdbWriter:
    """A context in which faces are added; on leaving it without an exception the LMDB appears under its name.

    Args:
        path: Ends in ``.lmdb`` and does not exist.
        encoding: ``raw`` (uint8 HWC bytes, fastest to read) or ``png`` (a third of the size, readable by BasicSR).
        map_size: The first size of the map in bytes; it is doubled whenever it is full.
        origin: For the manifest.
        documents: Texts to put beside the data, by file name.

    Raises:
        UserError: the path exists, cannot be made or is called otherwise, a key comes twice or is too long, or nothing
            was added.
        DiskError: the disk is full; nothing is left.
        ValueError: an image is not uint8 (H, W, 3), or faces differ in what they hold.
    """

    def __init__(
        self,
        path: Path | str,
        encoding: Encoding = 'raw',
        *,
        map_size: int = 64 << 20,
        origin: Origin | None = None,
        documents: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix != '.lmdb':
            raise UserError(f"The LMDB '{self.path}' must have a name that ends in .lmdb.")
        if os.path.lexists(self.path):
            raise UserError(f"'{self.path}' exists already; remove it or choose another place.")
        self.encoding: Encoding = encoding
        self._origin, self._documents = origin, documents or {}
        self._cleanup = ExitStack()
        self._partial = self._cleanup.enter_context(partial_folder(self.path))
        # Pages are zeroed first (LMDB's default): the same faces give the same file, byte for byte.
        try:
            with _on_disk(self.path):
                self._env = lmdb.open(str(self._partial), map_size=map_size, lock=False)
        except BaseException:
            self._cleanup.close()
            raise
        self._map_size = map_size
        self._waiting: list[tuple[bytes, bytes | memoryview]] = []
        self._waiting_bytes = 0
        self._faces: dict[str, tuple[int, int]] = {}
        self._people: dict[str, int] = {}
        self._points: dict[str, np.ndarray] = {}
        self._holds: tuple[Holding, ...] | None = None

    def __enter__(self) -> LmdbWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._env.close()
            self._cleanup.close()

    def add(self, face: FaceLike) -> None:
        """Adds a face; see the class for what is refused."""
        self.add_encoded(encode_face(face, self.encoding))

    def add_encoded(self, face: EncodedFace) -> None:
        """:meth:`add` for a face whose bytes are in this LMDB's encoding already."""
        self._holds = holdings(face, self._holds)
        if face.key in self._faces:
            raise UserError(f"The key '{face.key}' comes twice; keys of a store are unique.")
        if not face.key or '\0' in face.key or '\n' in face.key or len(face.key.encode()) > _KEY_BYTES:
            raise UserError(f'The key {face.key!r} is empty, too long or has control characters; rename the image.')
        if self.encoding == 'png' and '.' in face.key:
            raise UserError(
                f"The key '{face.key}' has a dot, at which BasicSR would cut it; rename it or use the encoding raw."
            )
        self._faces[face.key] = (face.height, face.width)
        key = face.key.encode()
        self._put(key, face.image)
        if face.parsing is not None:
            self._put(PARSING + key, face.parsing)
        if face.identity is not None:
            self._people[face.key] = face.identity
        if face.landmarks is not None:
            self._points[face.key] = face.landmarks

    def _put(self, key: bytes, value: bytes | memoryview) -> None:
        self._waiting.append((key, value))
        self._waiting_bytes += len(value)
        if self._waiting_bytes >= _COMMIT_BYTES:
            self._commit()

    def _commit(self) -> None:
        while self._waiting:
            try:
                with _on_disk(self.path), self._env.begin(write=True) as transaction:
                    for key, value in self._waiting:
                        transaction.put(key, value)
            except lmdb.MapFullError:
                # The transaction is rolled back as a whole, so it can be repeated as a whole.
                self._map_size *= 2
                self._env.set_mapsize(self._map_size)
            else:
                self._waiting.clear()
                self._waiting_bytes = 0

    def _finish(self) -> None:
        if not self._faces:
            raise UserError(f"There are no faces to write to '{self.path}'.")
        keys = sorted(self._faces)
        if self._people:
            self._put(IDENTITIES, np.array([self._people[key] for key in keys], np.int64).tobytes())
        if self._points:
            self._put(LANDMARKS, np.stack([self._points[key] for key in keys]).tobytes())
        self._commit()
        checksum = content_checksum(self._env, keys)
        with _on_disk(self.path):
            self._env.sync(True)
        self._env.close()
        sizes = [self._faces[key] for key in keys]
        manifest = Manifest(
            kind='lmdb',
            encoding=self.encoding,
            count=len(keys),
            keys=keys,
            sizes=compact_sizes(sizes),
            holds=list(self._holds or ()),
            checksum=checksum,
            bytes=(self._partial / 'data.mdb').stat().st_size,
            origin=self._origin,
        )
        (self._partial / NAME).write_text(manifest.model_dump_json(), encoding='utf-8')
        if self.encoding == 'png':
            lines = [f'{key}.png ({height},{width},3) 1\n' for key, (height, width) in zip(keys, sizes, strict=True)]
            (self._partial / META_INFO).write_text(''.join(lines), encoding='utf-8')
        for name, text in self._documents.items():
            (self._partial / name).write_text(text, encoding='utf-8')
        self._partial.rename(self.path)
        release(self.path)
        # What stands for faces that are yet to be made is nothing to tell of.
        level = logging.DEBUG if is_elsewhere(str(self.path)) else logging.INFO
        logger.log(level, 'Wrote %d faces to %s.', len(keys), self.path)


def write_lmdb(
    path: Path | str, faces: Iterable[FaceLike], encoding: Encoding = 'raw', *, origin: Origin | None = None
) -> int:
    """Writes all faces to an LMDB and returns their number; see :class:`LmdbWriter`."""
    count = 0
    with LmdbWriter(path, encoding, origin=origin) as writer:
        for face in faces:
            writer.add(face)
            count += 1
    return count
