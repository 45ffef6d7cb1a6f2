"""A folder of image files as a store."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fsr_plugins.errors import UserError
from fsr_plugins.images import shown
from fsr_plugins.stores.folder_files import find_images
from fsr_plugins.stores.images import EXTENSIONS, Image, read_image, read_labels
from fsr_plugins.stores.manifest import NAME, Manifest, read_manifest
from fsr_plugins.stores.store import Store
from fsr_plugins.stores.verify import verify

TABLE = 'faces.csv'
_POINTS = [f'l{axis}{point}' for point in range(5) for axis in 'xy']
HEADER = ['key', 'identity', *_POINTS]


class FolderStore(Store):
    """``<dir>/*.png|jpg|…``, or ``<dir>/images/`` with ``<dir>/parsing/*.png`` and ``<dir>/faces.csv`` if there.

    A key is a file's name without its ending, and below folders (``recursive``) its path. ``faces.csv`` has
    the header key,identity,lx0,ly0,…,lx4,ly4; a column of which all cells are empty is not held. A prepared folder
    has ``manifest.json``, too.

    Args:
        recursive: take the images of all subfolders too. Otherwise a message says that they are left out.

    Raises:
        UserError: no image, two files of one key, a name that is not UTF-8, a table that does not fit the images, or
            other images than the manifest names.
    """

    def __init__(self, path: Path | str, recursive: bool = False) -> None:
        self.path = str(path)
        root = Path(path)
        inner = root / 'images'
        self.folder = inner if inner.is_dir() else root
        files = find_images(self.folder, recursive, root if self.folder is inner else None)
        self.files_by_key = files.by_key
        self.keys = sorted(self.files_by_key)
        if not self.keys:
            left_out = f' Left out are {"; ".join(files.left_out)}.' if files.left_out else ''
            raise UserError(
                f"The folder '{shown(self.folder)}' holds no images ({', '.join(sorted(EXTENSIONS))}).{left_out}"
            )
        files.tell(self.folder)
        maps = root / 'parsing'
        self._maps = maps if self.folder is inner and maps.is_dir() else None
        table = root / TABLE
        if self.folder is inner and table.is_file():
            self.identities, self.landmarks = _read_table(table, self.keys)
        self._manifest: Manifest | None = None
        if self.folder is inner and (root / NAME).is_file():
            self._manifest = read_manifest(root)
            named = self._manifest.keys
            if different := sorted(set(named).symmetric_difference(self.keys)):
                raise UserError(
                    f"'{root}' holds {len(self.keys)} images and its manifest names {len(named)}; '{different[0]}' is "
                    f"in one of them only. Prepare it again, or remove '{root / NAME}' if the change was meant."
                )

    @property
    def has_parsing(self) -> bool:
        """Whether there is a folder ``parsing`` beside ``images``."""
        return self._maps is not None

    @property
    def manifest(self) -> Manifest:
        """As written in the folder. Without one: keys and what is held; sizes are known by decoding only."""
        if self._manifest is not None:
            return self._manifest
        return Manifest(kind='folder', encoding='files', count=len(self), keys=list(self.keys), holds=self.holds)

    def image(self, key: str) -> Image:
        """See :meth:`Store.image`."""
        return read_image(self.files_by_key[key])

    def parsing(self, key: str) -> Image:
        """See :meth:`Store.parsing`."""
        path = self.parsing_path(key)
        if not path.is_file():
            raise UserError(f"The parsing map '{path}' is missing; add it, or do without the view 'parsing'.")
        return read_labels(path)

    def parsing_path(self, key: str) -> Path:
        """Where the key's parsing map belongs."""
        return (self._maps or self.folder.parent / 'parsing') / f'{key}.png'

    def sizes(self) -> npt.NDArray[np.int32]:
        """See :meth:`Store.sizes`."""
        return verify(self)

    def files(self) -> Iterator[str]:
        """Images and parsing maps, key by key."""
        if not self.has_parsing:
            yield from map(self.files_by_key.__getitem__, self.keys)
            return
        for key in self.keys:
            yield self.files_by_key[key]
            yield str(self.parsing_path(key))

    def content_checksum(self) -> str:
        """See :meth:`Store.content_checksum`; over the bytes of the files as they are."""
        return files_checksum((key, Path(self.files_by_key[key])) for key in self.keys)

    def where(self, key: str) -> str:
        """The file's path."""
        return str(self.files_by_key.get(key, self.folder / key))


def _read_table(path: Path, keys: list[str]) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.float32] | None]:
    try:
        with path.open(newline='', encoding='utf-8') as file:
            table = filter(None, csv.reader(file))
            header = next(table, [])
            # Tuples of texts, without those of points where there are none: half a million lists take seconds.
            rows = [(row[0], row[1] if len(row) > 1 else '', tuple(row[2:]) if any(row[2:]) else ()) for row in table]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"'{path}' is no table that can be read ({error}); make it again, or remove it.") from error
    if header != HEADER:
        raise UserError(f"The header of '{path}' is {','.join(header)[:200]!r}; expected {','.join(HEADER)!r}.")
    if [row[0] for row in rows] != keys:  # as a rule they are in order
        by_key = {row[0]: row for row in rows}
        missing = [key for key in keys if key not in by_key]
        if missing:
            raise UserError(
                f"'{path}' has no row for the image '{missing[0]}' ({len(missing)} are missing); add or remove it."
            )
        rows = [by_key[key] for key in keys]
    try:
        numbers = [row[1] for row in rows]
        people = np.array([int(number) for number in numbers], np.int64) if any(numbers) else None
        marked = any(row[2] for row in rows)
        points = np.array([row[2] for row in rows], np.float32).reshape(len(rows), 5, 2) if marked else None
    except (ValueError, IndexError, OverflowError) as error:
        raise UserError(f"'{path}' has a row that does not fit its header: {error}.") from error
    return people, points


def files_checksum(files: Iterable[tuple[str, Path]]) -> str:
    """SHA-256 in hex over every key and the bytes of its file, in the order given.

    Raises:
        UserError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for key, path in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"'{path}' cannot be read: {error.strerror}.") from error
        # Lengths keep what belongs to one file apart from the next.
        digest.update(f'{key}\n{len(content)}\n'.encode())
        digest.update(content)
    return digest.hexdigest()
