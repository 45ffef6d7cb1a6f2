"""The view ``parsing``: maps with ids that are none are found before training, and remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.errors import UserError
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face


def faces(highest: int) -> list[Face]:
    """Four faces, of which the third has this id in a corner."""
    found = []
    for index in range(4):
        labels = np.full((16, 16), 18, np.uint8)
        labels[0, 0] = highest if index == 2 else 0
        found.append(Face(f'k{index}', np.zeros((16, 16, 3), np.uint8), None, None, labels))
    return found


def dataset(root: Path, **more: Any) -> FaceDataset:
    block = {'name': 'faces', 'type': 'FaceDataset', 'phase': 'train', 'scale': 4, 'dataroot_gt': str(root)}
    return FaceDataset({**block, 'views': ['parsing'], **more})


@pytest.fixture(autouse=True)
def nothing_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.mark.parametrize('lmdb', [False, True])
def test_a_map_with_an_id_that_is_none_is_refused(tmp_path: Path, lmdb: bool) -> None:
    root = tmp_path / ('set.lmdb' if lmdb else 'set')
    if lmdb:
        write_lmdb(root, faces(255), 'raw')
    else:
        write_folder(root, faces(255))
    for _ in range(2):
        with pytest.raises(UserError, match=r"parsing map of '.*k2.*' holds the id 255: .* from 0.* to 18"):
            dataset(root).check(4)
    dataset(root, views=[]).check(4)
    dataset(root, exclude_keys=['k2']).check(4)


def test_the_last_part_is_one(tmp_path: Path) -> None:
    write_lmdb(tmp_path / 'set.lmdb', faces(18), 'raw')
    dataset(tmp_path / 'set.lmdb').check(4)
