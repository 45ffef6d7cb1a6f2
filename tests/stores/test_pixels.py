"""Pixels that are kept are those that are decoded, whoever fills them, whatever happens to the file."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fsr_plugins import threads
from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.stores import images, pixels
from fsr_plugins.stores.folder import FolderStore
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.once import built_in
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.pixels import CachedPixels, CacheMode, cached

Pictures = dict[str, npt.NDArray[np.uint8]]


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures of several sizes; nothing is kept elsewhere."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    random = np.random.default_rng(0)
    (tmp_path / 'faces').mkdir()
    for number in range(12):
        picture = random.integers(0, 256, (16 + number % 3, 20, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f'faces/{number:02}.png'), picture)
    return tmp_path / 'faces'


def all_of(store: Any) -> Pictures:
    with store.reader() as read:
        return {key: read(key).copy() for key in store.keys}


def same(one: Pictures, other: Pictures) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded from now on."""
    found: list[str] = []
    original = images.read_image

    def counting(path: str) -> Any:
        found.append(str(path))
        return original(path)

    monkeypatch.setattr('fsr_plugins.stores.folder.read_image', counting)
    return found


@pytest.mark.parametrize('mode', ['ram', 'disk'])
def test_every_image_is_decoded_once(faces: Path, monkeypatch: pytest.MonkeyPatch, mode: CacheMode) -> None:
    store = FolderStore(faces)
    expected = all_of(store)
    store.sizes()
    kept = CachedPixels(store, mode)
    files = decoded(monkeypatch)
    for _ in range(3):
        assert same(all_of(kept), expected)
    assert len(files) == len(set(files)) == len(expected)
    # Another process, or the next run, finds them in the file.
    assert same(all_of(pickle.loads(pickle.dumps(kept))), expected)
    assert len(files) == len(expected) * (1 if mode == 'disk' else 2)


def test_what_is_read_cannot_be_written_to(faces: Path) -> None:
    with CachedPixels(FolderStore(faces), 'ram').reader() as read:
        for _ in range(2):
            with pytest.raises(ValueError, match='read-only'):
                read('00')[0] = 0


def pixel_file(tmp_path: Path) -> Path:
    (file,) = (tmp_path / 'cache/fsr_plugins/pixels').glob('*.pixels')
    return file


@pytest.mark.parametrize('damage', ['byte', 'zeros', 'cut', 'empty', 'magic'])
def test_a_damaged_file_is_filled_again(faces: Path, tmp_path: Path, damage: str) -> None:
    expected = all_of(FolderStore(faces))
    assert same(all_of(CachedPixels(FolderStore(faces), 'disk')), expected)
    file = pixel_file(tmp_path)
    content = bytearray(file.read_bytes())
    if damage == 'byte':
        content[-100] ^= 1
    elif damage == 'zeros':
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    elif damage == 'magic':
        content[0] ^= 1
    file.write_bytes({'cut': content[:-1], 'empty': b''}.get(damage, bytes(content)))
    assert same(all_of(CachedPixels(FolderStore(faces), 'disk')), expected)


def test_other_pictures_have_another_file(faces: Path, tmp_path: Path) -> None:
    all_of(CachedPixels(FolderStore(faces), 'disk'))
    shutil.copyfile(faces / '00.png', faces / '03.png')
    expected = all_of(FolderStore(faces))
    assert same(all_of(CachedPixels(FolderStore(faces), 'disk')), expected)
    assert len(list((tmp_path / 'cache/fsr_plugins/pixels').glob('*.pixels'))) == 2


FILL = """
import os, sys
from fsr_plugins.stores.folder import FolderStore
from fsr_plugins.stores.pixels import CachedPixels
store = CachedPixels(FolderStore(sys.argv[1]), 'disk')
with store.reader() as read:
    for number, key in enumerate(store.keys):
        read(key)
        if number == int(sys.argv[2]):
            os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_what_can_be_used(faces: Path) -> None:
    expected = all_of(FolderStore(faces))
    done = subprocess.run([sys.executable, '-c', FILL, str(faces), '5'], env={**os.environ}, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert same(all_of(CachedPixels(FolderStore(faces), 'disk')), expected)


def test_several_processes_and_threads_fill_one_file(faces: Path, tmp_path: Path) -> None:
    expected = all_of(FolderStore(faces))
    others = [subprocess.Popen([sys.executable, '-c', FILL, str(faces), '99']) for _ in range(2)]
    store = CachedPixels(FolderStore(faces), 'disk')
    found: list[Pictures] = []
    workers = [threading.Thread(target=lambda: found.append(all_of(store))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [other.wait(60) for other in others] == [0, 0]
    assert len(found) == 4 and all(same(pictures, expected) for pictures in found)
    assert pixel_file(tmp_path).is_file()


def test_a_full_disk_costs_only_the_cache(
    faces: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    expected = all_of(FolderStore(faces))
    assert same(all_of(CachedPixels(FolderStore(faces), 'disk')), expected)
    (line,) = [message for message in caplog.messages if 'cannot be kept' in message]
    assert 'No space left on device' in line
    assert not list(pixels.folder().iterdir())


@pytest.mark.parametrize(
    ('memory', 'several', 'free', 'place'),
    [(10**9, False, 0, 'ram'), (10**9, True, 10**9, 'disk'), (10, False, 10**9, 'disk'), (10, False, 10, 'off')],
)
def test_where_pixels_are_kept(
    monkeypatch: pytest.MonkeyPatch, memory: int, several: bool, free: int, place: str
) -> None:
    monkeypatch.setattr(pixels, 'available_memory', lambda: memory)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(free, 0, free))  # type: ignore[attr-defined]
    assert pixels._place('auto', 1000, several) == place
    assert threads.available_memory() > 0


def test_files_that_nobody_used_for_long_are_removed(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    all_of(CachedPixels(FolderStore(faces), 'disk'))
    (old,) = pixels.folder().glob('*.pixels')
    os.utime(old, (1, 1))
    size = old.stat().st_size
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(6 * size, 0, 10**9))  # type: ignore[attr-defined]
    (faces / '11.png').unlink()
    all_of(CachedPixels(FolderStore(faces), 'disk'))
    assert not old.exists() and len(list(pixels.folder().glob('*.pixels'))) == 1


def test_raw_pixels_are_not_kept_twice(faces: Path, tmp_path: Path) -> None:
    store = FolderStore(faces)
    write_lmdb(tmp_path / 'raw.lmdb', [store.get(key) for key in store.keys])
    raw = open_store(tmp_path / 'raw.lmdb')
    assert cached(raw, 'ram', False) is raw and cached(store, 'off', False) is store


@pytest.mark.parametrize('mode', ['ram', 'disk', 'auto'])
def test_batches_are_the_same_with_and_without(faces: Path, mode: str) -> None:
    options = {
        'phase': 'train',
        'scale': 2,
        'gt_size': 8,
        'use_hflip': True,
        'dataroot_gt': str(faces),
        'views': ['canny'],
    }

    def batches(cache: str) -> list[Any]:
        with TrainLoader(FaceDataset({**options, 'cache': cache}), 5, seed=3) as loader:
            return [batch for batch, _ in zip(loader, range(8), strict=False)]

    for one, other in zip(batches(mode), batches('off'), strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert np.array_equal(np.asarray(value), np.asarray(other[name])), name


def test_by_itself_training_alone_is_kept_and_its_memory_counted(faces: Path) -> None:
    options = {'scale': 2, 'dataroot_gt': str(faces)}
    train, val, asked = (
        FaceDataset({**options, **more})
        for more in ({'phase': 'train', 'gt_size': 8}, {'phase': 'val'}, {'phase': 'val', 'cache': 'ram'})
    )
    pixels_of_all = int(train.sizes().astype(np.int64).prod(axis=1).sum()) * 3
    assert (train.memory(), val.memory(), asked.memory()) == (pixels_of_all, 0, pixels_of_all)


@pytest.mark.parametrize('mode', ['auto', 'disk'])
def test_who_leaves_nothing_keeps_no_file(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: CacheMode
) -> None:
    monkeypatch.setattr(pixels, 'available_memory', lambda: 0)
    with built_in(tmp_path / 'moment'):
        assert same(all_of(CachedPixels(FolderStore(faces), mode)), all_of(FolderStore(faces)))
    assert not pixels.folder().exists()
    all_of(CachedPixels(FolderStore(faces), mode))
    assert list(pixels.folder().glob('*.pixels'))
