"""What the contract of a store gives to a subclass that implements no more than it must."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from fsr_plugins.data import FaceDataset, TrainLoader
from fsr_plugins.errors import UserError
from fsr_plugins.stores import SCHEMES, Store, UnionStore, open_store, register_scheme, store_checksum, verify
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.images import Image
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.manifest import Manifest
from fsr_plugins.stores.records import Face

SIZE = 16


class ArrayStore(Store):
    """The images of one ``.npz`` file, ``arrays-of-a-test://<path>``."""

    def __init__(self, spec: str) -> None:
        self.path = spec.partition('://')[2]
        with np.load(self.path) as arrays:
            self.keys = sorted(arrays)

    @property
    def manifest(self) -> Manifest:
        return Manifest(kind='folder', encoding='files', count=len(self), keys=list(self.keys))

    @property
    def has_parsing(self) -> bool:
        return False

    def image(self, key: str) -> Image:
        with np.load(self.path) as arrays:
            image: Image = arrays[key]
        return image

    def parsing(self, key: str) -> Image:
        raise UserError(f"'{self.where(key)}' has no parsing map.")

    def sizes(self) -> npt.NDArray[np.int32]:
        return verify(self)

    def files(self) -> Iterator[str]:
        yield self.path


def images(number: int = 6) -> dict[str, Image]:
    rng = np.random.default_rng(4)
    return {f'k{index}': rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for index in range(number)}


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    np.savez(tmp_path / 'faces.npz', **images())  # type: ignore[arg-type]
    register_scheme('arrays-of-a-test')(ArrayStore)
    yield f'arrays-of-a-test://{tmp_path / "faces.npz"}'
    SCHEMES.pop('arrays-of-a-test')


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the images that are read, in order."""
    found: list[str] = []
    image = ArrayStore.image

    def counted(self: ArrayStore, key: str) -> Image:
        found.append(key)
        return image(self, key)

    monkeypatch.setattr(ArrayStore, 'image', counted)
    return found


def change(path: str) -> None:
    """Another pixel in another file of the same length, with the next time."""
    changed, before = images(), os.stat(path)
    changed['k3'][5, 5] ^= 255
    np.savez(path, **changed)  # type: ignore[arg-type]
    assert os.stat(path).st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def test_it_is_opened_by_its_scheme_and_verified(spec: str) -> None:
    store = open_store(spec)
    assert isinstance(store, ArrayStore) and len(store) == 6 and store.holds == [] and store.parts == (store,)
    assert verify(store, min_size=SIZE).tolist() == [[SIZE, SIZE]] * 6
    with pytest.raises(UserError, match=rf"{store.path}:k0' is 16x16.*smaller than the 17x17"):
        verify(store, min_size=SIZE + 1)
    with store.reader() as read:
        assert all(np.array_equal(read(key), image) for key, image in images().items())
    assert store.provenance() == {
        'version': 1, 'kind': 'folder', 'encoding': 'files', 'count': 6, 'holds': [], 'size': [SIZE, SIZE],
    }  # fmt: skip


@pytest.mark.parametrize('found', [store_checksum, lambda store: verify(store).tolist()])
def test_what_was_found_is_kept_until_a_file_changes(
    spec: str, reads: list[str], found: Callable[[Store], Any]
) -> None:
    first = found(open_store(spec))
    assert sorted(reads) == sorted(images())
    assert found(open_store(spec)) == first and len(reads) == 6
    change(open_store(spec).path)
    again = found(open_store(spec))
    assert len(reads) == 12 and (again != first) == (found is store_checksum)


def test_the_checksum_is_that_of_the_content(spec: str, tmp_path: Path) -> None:
    store = open_store(spec)
    assert store_checksum(store) == store.content_checksum()
    np.savez_compressed(tmp_path / 'other.npz', **images())  # type: ignore[arg-type]
    other = ArrayStore(f'arrays-of-a-test://{tmp_path / "other.npz"}')
    assert store_checksum(other) == store_checksum(store)
    union = open_store([spec, spec])
    assert isinstance(union, UnionStore) and store_checksum(union) == union.content_checksum()


def test_a_face_dataset_trains_from_it(spec: str) -> None:
    options = {'name': 'faces', 'dataroot_gt': spec, 'phase': 'train', 'scale': 2, 'gt_size': 8, 'use_hflip': True}
    dataset = FaceDataset(options)
    dataset.check(2)
    assert [part['count'] for part in dataset.provenance()] == [6]
    torch.manual_seed(0)
    net = nn.Conv2d(3, 3, 1)
    optimiser = torch.optim.SGD(net.parameters(), 0.5)
    losses = []
    with TrainLoader(dataset, 4) as loader:
        for batch, _ in zip(loader, range(30), strict=False):
            hr = batch['gt'].permute(0, 3, 1, 2) / 255
            assert hr.shape == (4, 3, 8, 8)
            loss = (net(nn.functional.avg_pool2d(hr, 2)).mean((2, 3)) - hr.mean((2, 3))).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def full_faces() -> list[Face]:
    rng = np.random.default_rng(0)
    return [
        Face(key, image, index // 2, rng.uniform(0, 15, (5, 2)).astype(np.float32).round(2), image[..., 0] % 19)
        for index, (key, image) in enumerate(images().items())
    ]


@pytest.mark.parametrize('full', [True, False])
@pytest.mark.parametrize('how', ['folder', 'lmdb', 'union'])
def test_a_key_gives_the_face_with_what_is_held(tmp_path: Path, how: str, full: bool) -> None:
    faces = full_faces() if full else [Face(face.key, face.image) for face in full_faces()]
    if how == 'folder':
        write_folder(tmp_path / 'faces', faces)
        store = open_store(tmp_path / 'faces')
    else:
        write_lmdb(tmp_path / 'faces.lmdb', faces)
        store = open_store(tmp_path / 'faces.lmdb')
    if how == 'union':
        store = UnionStore([store, store])
    for key in store.keys:
        face, (expected,) = store.get(key), [face for face in faces if face.key == key.rpartition('/')[2]]
        assert face.key == key and np.array_equal(face.image, expected.image)
        assert face.identity == expected.identity and (face.landmarks is not None) == (face.parsing is not None) == full
        if full:
            assert np.array_equal(face.landmarks, expected.landmarks)
            assert np.array_equal(face.parsing, expected.parsing)
    for missing in ('', 'k', 'k00', 'zz'):
        with pytest.raises(KeyError) as raised:
            store.get(missing)
        assert raised.value.args == (missing,)


def test_a_face_of_a_minimal_store_can_be_written_elsewhere(spec: str, tmp_path: Path) -> None:
    store = open_store(spec)
    write_lmdb(tmp_path / 'copy.lmdb', map(store.get, store.keys))
    copy = open_store(tmp_path / 'copy.lmdb')
    assert list(copy.keys) == list(store.keys)
    assert all(np.array_equal(copy.image(key), image) for key, image in images().items())
