"""Arrays that take long to compute, kept under a name made of everything they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fsr_plugins.stores.once import only_one, place_to_build
from fsr_plugins.stores.partial import partial_folder
from fsr_plugins.weights import file_sha256

logger = logging.getLogger(__name__)

#: The array, and beside it what it depends on and its own SHA-256.
ARRAY, ABOUT = 'array.npy', 'about.json'


def cached_array(root: Path, about: Mapping[str, object], build: Callable[[Path], None]) -> npt.NDArray[Any]:
    """The array that follows from ``about``, as a read-only memory map.

    It lies in ``<root>/<SHA-256 of about>/``, where it appears as a whole. One process builds it, others that want it
    wait. What is there but does not have its SHA-256 any more is reported and built again.

    Args:
        about: All that the array depends on, as JSON can hold it.
        build: Writes the array as ``.npy`` to a path.

    Raises:
        UserError: ``root`` cannot be written; and what ``build`` raises.
        DiskError: the disk is full.
    """
    text = json.dumps(about, sort_keys=True)
    folder = root / hashlib.sha256(text.encode()).hexdigest()
    if not _is_whole(folder):
        folder = place_to_build(folder)
        with only_one(folder):
            if not _is_whole(folder):  # another process may have built it meanwhile
                if folder.exists():
                    logger.warning('%s is damaged; it is built again.', folder)
                    shutil.rmtree(folder)
                with partial_folder(folder) as partial:
                    build(partial / ARRAY)
                    known = {'about': dict(about), 'sha256': file_sha256(partial / ARRAY)}
                    (partial / ABOUT).write_text(json.dumps(known, indent=1), encoding='utf-8')
                    partial.rename(folder)
    return np.load(folder / ARRAY, mmap_mode='r')


def _is_whole(folder: Path) -> bool:
    if not (folder / ABOUT).is_file() or not (folder / ARRAY).is_file():
        return False
    try:
        expected = json.loads((folder / ABOUT).read_bytes())['sha256']
    except (ValueError, KeyError, TypeError):
        return False
    return bool(file_sha256(folder / ARRAY) == expected)
