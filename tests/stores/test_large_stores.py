"""What a large set costs is counted, not timed: once a set, once an image, by one process of several."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.stores import cache, open_store, store_checksum
from fsr_plugins.stores import verify as decode_all
from fsr_plugins.stores.checksum import faces_checksum
from fsr_plugins.stores.folder import FolderStore
from fsr_plugins.stores.verify import verify

SCRIPTS = Path(__file__).parents[2] / 'scripts'
NUMBER = 40


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Simulated sets of all layouts, which count as large ones."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(cache, '_MANY', NUMBER)
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from simulate_dataset import main

    for layout, name in (('folder', 'folder'), ('lmdb', 'set.lmdb'), ('people', 'people')):
        made = [str(tmp_path / name), '--layout', layout, '--images', str(NUMBER), '--people', '8', '--size', '16']
        assert main(made) == 0
    return tmp_path


def block(path: Path) -> dict[str, Any]:
    recursive = path.name == 'people'
    return {'name': 's', 'type': 'FaceDataset', 'dataroot_gt': str(path), 'recursive': recursive, 'phase': 'train',
            'scale': 4, 'seed': 0, 'gt_size': 16, 'batch_size_per_gpu': 4}  # fmt: skip


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often files are looked at, decoded and read as they are."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        work = getattr(owner, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            counts[name] += 1
            return work(*arguments, **named)

        monkeypatch.setattr(owner, name, counting)

    count(cache.os, 'stat')
    count(FolderStore, 'image')
    count(FolderStore, 'content_checksum')
    return counts


def opened(path: Path) -> FaceDataset:
    dataset = FaceDataset(block(path))
    dataset.check(4)
    faces_checksum(dataset.store)
    dataset.provenance()
    return dataset


@pytest.mark.parametrize('name', ['folder', 'people'])
def test_a_new_set_is_decoded_and_read_once(root: Path, counted: Counter[str], name: str) -> None:
    opened(root / name)
    assert (counted['image'], counted['content_checksum']) == (NUMBER, 1)


@pytest.mark.parametrize('name', ['folder', 'people'])
def test_each_file_of_a_known_set_is_looked_at_once(root: Path, counted: Counter[str], name: str) -> None:
    opened(root / name)
    counted.clear()
    opened(root / name)
    assert (counted['image'], counted['content_checksum']) == (0, 0)
    others = 30  # folders, tables and records, however many images there are
    assert NUMBER <= counted['stat'] < NUMBER + others


def test_images_are_handed_to_threads_some_at_a_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handed = []

    class Pool(ThreadPoolExecutor):
        def map(self, work: Any, keys: Any, **named: Any) -> Any:
            handed.append(len(keys))
            return super().map(work, keys, **named)

    monkeypatch.setattr(sys.modules['fsr_plugins.stores.verify'], 'ThreadPoolExecutor', Pool)
    monkeypatch.setattr(sys.modules['fsr_plugins.stores.verify'], '_AT_ONCE', 15)
    assert verify(open_store(root / 'folder')).tolist() == [[16, 16]] * NUMBER
    assert handed == [15, 15, 10]


def test_a_fingerprint_counts_for_a_while_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(root / 'folder')
    before = store_checksum(store)
    image = next(store.files())
    Path(image).write_bytes(Path(store.files_by_key[store.keys[1]]).read_bytes())
    assert store_checksum(store) == before
    monkeypatch.setattr(cache, '_SECONDS', -1.0)
    assert store_checksum(store) != before


def test_paths_are_worked_out_for_folders_not_for_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relative, calls = os.path.relpath, []
    monkeypatch.setattr(os.path, 'relpath', lambda *paths: calls.append(paths) or relative(*paths))
    assert len(open_store(root / 'people', recursive=True)) == NUMBER
    assert len(calls) == 9  # the set and a folder for each person


def _verified(path: str) -> int:
    """Opens a set in a process of its own; how many images it has decoded."""
    store, decoded = open_store(path), []
    image = store.image
    store.image = lambda key: decoded.append(key) or image(key)  # type: ignore[method-assign]
    verify(store)
    return len(decoded)


@pytest.mark.parametrize('name', ['folder', 'set.lmdb'])
def test_of_several_processes_one_verifies(root: Path, name: str) -> None:
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context('fork')) as pool:
        assert sorted(pool.map(_verified, [str(root / name)] * 3)) == [0, 0, NUMBER]


def test_a_cache_that_cannot_be_written_keeps_nobody_from_verifying(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(root / 'file'))
    assert decode_all(open_store(root / 'folder')).tolist() == [[16, 16]] * NUMBER


def test_simulated_sets_are_of_different_bytes_and_the_same_pixels(root: Path) -> None:
    folder, lmdb = open_store(root / 'folder'), open_store(root / 'set.lmdb')
    people = open_store(root / 'people', recursive=True)
    for store in (folder, people):
        assert len({Path(path).read_bytes() for path in store.files()}) == NUMBER
    assert [key.rpartition('/')[2] for key in people.keys] == folder.keys == lmdb.keys
    assert folder.identities is not None and np.bincount(folder.identities).tolist() == [5] * 8
    assert all(np.array_equal(folder.image(key), lmdb.image(key)) for key in folder.keys)
    assert (root / 'set.lmdb' / 'meta_info.txt').read_text().count('\n') == NUMBER
