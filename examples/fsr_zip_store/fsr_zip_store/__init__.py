"""A store for fsr_plugins: the images in a zip archive, ``zip://faces.zip``. Importing this module registers it."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from threading import Lock

import numpy as np
import numpy.typing as npt

from fsr_plugins.errors import UserError
from fsr_plugins.stores.images import EXTENSIONS, Image, decode_image
from fsr_plugins.stores.manifest import Manifest
from fsr_plugins.stores.opening import register_scheme
from fsr_plugins.stores.store import Store
from fsr_plugins.stores.verify import verify


@register_scheme('zip')
class ZipStore(Store):
    """The images of a zip archive, in whatever folders. A key is a file's name without its ending.

    Raises:
        UserError: no archive, no image in it, or two images of one key.
    """

    has_parsing = False

    def __init__(self, spec: str) -> None:
        self.path = str(Path(spec.partition('://')[2]).expanduser())
        self.members: dict[str, str] = {}
        try:
            self.changed = os.stat(self.path).st_mtime_ns
            archive, _ = opened(self.path, self.changed, os.getpid())
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"'{spec}' cannot be opened as a zip archive: {error}.") from error
        for name in sorted(archive.namelist()):
            member = PurePosixPath(name)
            if member.suffix.lower() not in EXTENSIONS or member.name.startswith('.'):
                continue
            if self.members.setdefault(member.stem, name) != name:
                raise UserError(f"'{self.members[member.stem]}' and '{name}' in '{self.path}' have the same key.")
        self.keys = sorted(self.members)
        if not self.keys:
            raise UserError(f"'{self.path}' holds no images ({', '.join(sorted(EXTENSIONS))}).")

    @property
    def manifest(self) -> Manifest:
        """Image files, as in a folder; nothing is known of their sizes."""
        return Manifest(kind='zip', encoding='files', count=len(self), keys=list(self.keys))

    def content(self, key: str) -> bytes:
        """The bytes of an image file. One thread reads at a time; decoding, which takes longer, is done by many."""
        archive, lock = opened(self.path, self.changed, os.getpid())
        try:
            with lock:
                return archive.read(self.members[key])
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # the last: it is encrypted
            raise UserError(f"'{self.where(key)}' cannot be read: {error}; download the archive again.") from error

    def image(self, key: str) -> Image:
        """The image as uint8 HWC RGB."""
        return decode_image(self.content(key), self.where(key))

    def parsing(self, key: str) -> Image:
        """There are none."""
        raise UserError(f"'{self.path}' holds no parsing maps: remove the view 'parsing'.")

    def sizes(self) -> npt.NDArray[np.int32]:
        """Height and width of every image; all are decoded once, and what is found is remembered."""
        return verify(self)

    def files(self) -> Iterator[str]:
        """The archive: while it stays as it is, so does what is remembered."""
        yield self.path

    def content_checksum(self) -> str:
        """Over the bytes of the files, as that of a folder: the same faces have the same checksum, packed or not."""
        digest = hashlib.sha256()
        for key in self.keys:
            content = self.content(key)
            digest.update(f'{key}\n{len(content)}\n'.encode() + content)
        return digest.hexdigest()

    def where(self, key: str) -> str:
        """The image's place, for messages."""
        return f'{self.path}/{self.members[key]}'


@lru_cache(maxsize=64)
def opened(path: str, changed: int, process: int) -> tuple[zipfile.ZipFile, Lock]:
    """An archive and its lock, for one process: one that is forked off must not share the other's place in the file."""
    return zipfile.ZipFile(path), Lock()
