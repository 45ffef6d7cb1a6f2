"""A folder of image files as a store, and the writing of one."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fsr_plugins.data.encoded import EncodedFace, encode_face
from fsr_plugins.data.images import EXTENSIONS, Image, read_image, read_labels
from fsr_plugins.data.manifest import NAME, Holding, Manifest, Origin, compact_sizes, read_manifest
from fsr_plugins.data.partial import partial_folder
from fsr_plugins.data.records import FaceLike, holdings
from fsr_plugins.data.stores import Store
from fsr_plugins.errors import UserError

TABLE = 'faces.csv'
_POINTS = [f'l{axis}{point}' for point in range(5) for axis in 'xy']
HEADER = ['key', 'identity', *_POINTS]


class FolderStore(Store):
    """``<dir>/*.png|jpg|…``, or ``<dir>/images/`` with ``<dir>/parsing/*.png`` and ``<dir>/faces.csv`` if there.

    A key is a file's name without its ending. ``faces.csv`` has the header key,identity,lx0,ly0,…,lx4,ly4; a column of
    which all cells are empty is not held. A prepared folder has ``manifest.json``, too.

    Raises:
        UserError: no image, two files of one key, a table that does not fit the images, or other images than the
            manifest names.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        root = Path(path)
        inner = root / 'images'
        self.folder = inner if inner.is_dir() else root
        self.files = _image_files(self.folder)
        self.keys = sorted(self.files)
        if not self.keys:
            raise UserError(f"The folder '{self.folder}' holds no images ({', '.join(sorted(EXTENSIONS))}).")
        maps = root / 'parsing'
        self._maps = maps if self.folder is inner and maps.is_dir() else None
        table = root / TABLE
        if self.folder is inner and table.is_file():
            self.identities, self.landmarks = _read_table(table, self.keys)
        described = self.folder is inner and (root / NAME).is_file()
        self._manifest = _read_manifest(root, self.keys) if described else None

    @property
    def has_parsing(self) -> bool:
        """Whether there is a folder ``parsing`` beside ``images``."""
        return self._maps is not None

    @property
    def manifest(self) -> Manifest:
        """As written in the folder. Without one: keys and what is held; sizes are known by decoding only."""
        if self._manifest is not None:
            return self._manifest
        held: dict[Holding, bool] = {
            'identity': self.identities is not None,
            'landmarks': self.landmarks is not None,
            'parsing': self.has_parsing,
        }
        holds = [name for name, there in held.items() if there]
        return Manifest(kind='folder', encoding='files', count=len(self), keys=list(self.keys), holds=holds)

    def image(self, key: str) -> Image:
        """See :meth:`Store.image`."""
        return read_image(self.files[key])

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
        from fsr_plugins.data.verify import verify

        return verify(self)

    def where(self, key: str) -> str:
        """The file's path."""
        return str(self.files.get(key, self.folder / key))


def _image_files(folder: Path) -> dict[str, str]:
    files: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in EXTENSIONS or path.name.startswith('.'):
            continue
        if path.stem in files:
            raise UserError(f"'{files[path.stem]}' and '{path}' have the same key '{path.stem}'; remove one of them.")
        files[path.stem] = str(path)
    return files


def _read_table(path: Path, keys: list[str]) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.float32] | None]:
    with path.open(newline='', encoding='utf-8') as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if header != HEADER:
            raise UserError(f"The header of '{path}' is {','.join(header)!r}; expected {','.join(HEADER)!r}.")
        table = {row[0]: row[1:] for row in rows if row}
    missing = [key for key in keys if key not in table]
    if missing:
        raise UserError(
            f"'{path}' has no row for the image '{missing[0]}' ({len(missing)} are missing); add or remove it."
        )
    try:
        cells = [table[key] for key in keys]
        people = None if not any(row[0] for row in cells) else np.array([int(row[0]) for row in cells], np.int64)
        marked = any(any(row[1:]) for row in cells)
        points = np.array([row[1:] for row in cells], np.float32).reshape(-1, 5, 2) if marked else None
    except (ValueError, IndexError) as error:
        raise UserError(f"'{path}' has a row that does not fit its header: {error}.") from error
    return people, points


def _read_manifest(root: Path, keys: list[str]) -> Manifest:
    manifest = read_manifest(root)
    different = sorted(set(manifest.keys).symmetric_difference(keys))
    if different:
        raise UserError(
            f"'{root}' holds {len(keys)} images and its manifest names {len(manifest.keys)}; '{different[0]}' is in "
            f"one of them only. Prepare it again, or remove '{root / NAME}' if the change was meant."
        )
    return manifest


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


def write_folder(path: Path | str, faces: Iterable[FaceLike], *, origin: Origin | None = None) -> int:
    """Writes PNGs in the layout :class:`FolderStore` reads, under a temporary name until all is there.

    Returns:
        The number of faces.

    Raises:
        UserError: ``path`` exists already, a key comes twice, or there are no faces.
        ValueError: faces differ in what they hold.
    """
    return write_encoded_folder(path, (encode_face(face, 'png') for face in faces), origin=origin)


def write_encoded_folder(
    path: Path | str,
    faces: Iterable[EncodedFace],
    *,
    origin: Origin | None = None,
    documents: Mapping[str, str] | None = None,
) -> int:
    """:func:`write_folder` for faces that are PNGs already; ``documents`` are texts to put beside, by file name."""
    target = Path(path)
    if target.exists():
        raise UserError(f"'{target}' exists already; remove it or choose another place.")
    with partial_folder(target) as partial:
        sizes, held = _write_faces(partial, faces)
        if not sizes:
            raise UserError(f"There are no faces to write to '{target}'.")
        keys = sorted(sizes)
        manifest = Manifest(
            kind='folder',
            encoding='files',
            count=len(keys),
            keys=keys,
            sizes=compact_sizes([sizes[key] for key in keys]),
            holds=list(held),  # type: ignore[arg-type]
            checksum=files_checksum((key, partial / 'images' / f'{key}.png') for key in keys),
            origin=origin,
        )
        (partial / NAME).write_text(manifest.model_dump_json(), encoding='utf-8')
        for name, text in (documents or {}).items():
            (partial / name).write_text(text, encoding='utf-8')
        partial.rename(target)
    return len(keys)


def _write_faces(folder: Path, faces: Iterable[EncodedFace]) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
    """Writes images, maps and table; returns the sizes by key and what is held."""
    (folder / 'images').mkdir()
    rows: dict[str, list[str]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    held: tuple[str, ...] | None = None
    for face in faces:
        held = _agreed(held, face)
        if face.key in rows:
            raise UserError(f"The key '{face.key}' comes twice; keys of a store are unique.")
        rows[face.key] = _write_face(folder, face)
        sizes[face.key] = (face.height, face.width)
    if held and set(held) & {'identity', 'landmarks'}:
        with (folder / TABLE).open('w', newline='', encoding='utf-8') as file:
            writer = csv.writer(file)
            writer.writerows([HEADER, *([key, *rows[key]] for key in sorted(rows))])
    return sizes, held or ()


def _agreed(held: tuple[str, ...] | None, face: EncodedFace) -> tuple[str, ...]:
    brought = holdings(face)
    if held is not None and brought != held:
        raise ValueError(
            f"The face '{face.key}' brings {brought}, those before it {held}; a store holds the same of all."
        )
    return brought


def _write_face(folder: Path, face: EncodedFace) -> list[str]:
    (folder / 'images' / f'{face.key}.png').write_bytes(face.image)
    if face.parsing is not None:
        (folder / 'parsing').mkdir(exist_ok=True)
        (folder / 'parsing' / f'{face.key}.png').write_bytes(face.parsing)
    points = [''] * 10 if face.landmarks is None else [f'{value:.6g}' for value in np.ravel(face.landmarks)]
    return ['' if face.identity is None else str(face.identity), *points]
