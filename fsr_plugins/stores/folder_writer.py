"""Writing a folder of image files that is either complete or not there."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from fsr_plugins.errors import UserError
from fsr_plugins.stores.encoding import EncodedFace, encode_face
from fsr_plugins.stores.folder import HEADER, TABLE, files_checksum
from fsr_plugins.stores.manifest import NAME, Holding, Manifest, Origin, compact_sizes
from fsr_plugins.stores.partial import partial_folder
from fsr_plugins.stores.records import FaceLike, holdings


def write_folder(path: Path | str, faces: Iterable[FaceLike], *, origin: Origin | None = None) -> int:
    """Writes PNGs in the layout :class:`FolderStore` reads, under a temporary name until all is there.

    Returns:
        The number of faces.

    Raises:
        UserError: ``path`` exists already or cannot be made, a key comes twice, or there are no faces.
        DiskError: the disk is full; nothing is left.
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
    if os.path.lexists(target):
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
            holds=list(held),
            checksum=files_checksum((key, partial / 'images' / f'{key}.png') for key in keys),
            origin=origin,
        )
        (partial / NAME).write_text(manifest.model_dump_json(), encoding='utf-8')
        for name, text in (documents or {}).items():
            (partial / name).write_text(text, encoding='utf-8')
        partial.rename(target)
    return len(keys)


def _write_faces(folder: Path, faces: Iterable[EncodedFace]) -> tuple[dict[str, tuple[int, int]], tuple[Holding, ...]]:
    """Writes images, maps and table; returns the sizes by key and what is held."""
    (folder / 'images').mkdir()
    rows: dict[str, list[str]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    held: tuple[Holding, ...] | None = None
    for face in faces:
        held = holdings(face, held)
        if face.key in rows:
            raise UserError(f"The key '{face.key}' comes twice; keys of a store are unique.")
        (folder / 'images' / f'{face.key}.png').write_bytes(face.image)
        if face.parsing is not None:
            (folder / 'parsing').mkdir(exist_ok=True)
            (folder / 'parsing' / f'{face.key}.png').write_bytes(face.parsing)
        points = [''] * 10 if face.landmarks is None else [f'{value:.6g}' for value in np.ravel(face.landmarks)]
        rows[face.key] = ['' if face.identity is None else str(face.identity), *points]
        sizes[face.key] = (face.height, face.width)
    if held and set(held) & {'identity', 'landmarks'}:
        with (folder / TABLE).open('w', newline='', encoding='utf-8') as file:
            writer = csv.writer(file)
            writer.writerows([HEADER, *([key, *rows[key]] for key in sorted(rows))])
    return sizes, held or ()
