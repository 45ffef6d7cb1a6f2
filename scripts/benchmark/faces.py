"""The faces both sides read: PNG folders of GT and LQ, BasicSR's LMDBs of these, and our raw LMDB."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import numpy.typing as npt

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR

from basicsr.utils.lmdb_util import make_lmdb_from_imgs  # isort: skip
from basicsr.utils.matlab_functions import imresize  # isort: skip

from fsr_plugins.errors import UserError
from fsr_plugins.stores.images import EXTENSIONS, read_image
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.records import Face

GT_SIZE = 128
SCALE = 8

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Faces:
    """Where the same faces lie in every form that is measured."""

    gt: Path  #: folder of PNGs, GT_SIZE
    lq: Path  #: folder of PNGs, GT_SIZE / SCALE
    gt_lmdb: Path  #: BasicSR's, PNG inside
    lq_lmdb: Path
    raw_lmdb: Path  #: ours, uint8 inside


def prepare(root: Path, count: int, source: Path | None) -> Faces:
    """Writes ``count`` faces under ``root``.

    Args:
        source: folder of real faces, of which the centre is taken; None for the built-in ones.

    Raises:
        UserError: ``source`` holds no images, or one is too small.
    """
    faces = Faces(root / 'gt', root / 'lq', root / 'gt.lmdb', root / 'lq.lmdb', root / 'raw.lmdb')
    faces.gt.mkdir()
    faces.lq.mkdir()
    images = _built_in(root, count) if source is None else _real(source, count)
    written = {f'{number:06d}': image for number, image in enumerate(images)}
    for key, image in written.items():
        _write(faces.gt / f'{key}.png', image)
        _write(faces.lq / f'{key}.png', _reduced(image))
    _write_basicsr_lmdb(faces.gt, faces.gt_lmdb, written)
    _write_basicsr_lmdb(faces.lq, faces.lq_lmdb, written)
    write_lmdb(faces.raw_lmdb, (Face(key, image) for key, image in written.items()), 'raw')
    return faces


def _built_in(root: Path, count: int) -> Iterator[Image]:
    with mock.patch.dict('os.environ', {'FSR_DATASETS': str(root / 'datasets')}):
        store = open_store(f'portraits://studio/train?number={count}&size={GT_SIZE}&seed=0')
    return (store.image(key) for key in store.keys)


def _real(source: Path, count: int) -> Iterator[Image]:
    paths = sorted(path for path in source.rglob('*') if path.suffix.lower() in EXTENSIONS)
    if not paths:
        raise UserError(f"'{source}' holds no images; give --images a folder of faces of at least {GT_SIZE} px.")
    # A small folder is gone through again: what is measured is the number of files, not what is on them.
    for path in itertools.islice(itertools.cycle(paths), count):
        image = read_image(path)
        top, left = ((side - GT_SIZE) // 2 for side in image.shape[:2])
        if min(top, left) < 0:
            raise UserError(f"'{path}' is smaller than {GT_SIZE} px; remove it from the folder given to --images.")
        yield np.ascontiguousarray(image[top : top + GT_SIZE, left : left + GT_SIZE])


def _reduced(image: Image) -> Image:
    reduced = imresize(image.astype(np.float32) / 255, 1 / SCALE)
    return (reduced.clip(0, 1) * 255).round().astype(np.uint8)


def _write(path: Path, image: Image) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def _write_basicsr_lmdb(folder: Path, path: Path, keys: Mapping[str, Image]) -> None:
    names = [f'{key}.png' for key in keys]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        make_lmdb_from_imgs(str(folder), str(path), names, list(keys))
