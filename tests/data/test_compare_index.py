"""The nearest of one person against brute force; the stored index: what renews it, damage, and two who want it."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fsr_plugins.archs import recognition
from fsr_plugins.archs.recognition import Recogniser
from fsr_plugins.data import compare_index, neighbours
from fsr_plugins.data.compare_index import CompareIndex
from fsr_plugins.data.hr_dataset import HRDataset
from fsr_plugins.data.neighbours import nearest_of_same_identity
from fsr_plugins.errors import RunError, UserError
from fsr_plugins.registry import ARCH_REGISTRY
from fsr_plugins.stores.cached_array import cached_array
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face


@ARCH_REGISTRY.register()
class CompareTestRecogniser(Recogniser):
    """A linear layer on four pixels."""

    face_size = (2, 2)
    embedding_size = 5

    def __init__(self, adapt: str = 'resize') -> None:
        super().__init__(adapt)
        self.linear = nn.Linear(12, 5)

    def embed(self, faces: Tensor) -> Tensor:
        return self.linear(faces.flatten(1))


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('FSR_DATASETS', str(tmp_path / 'datasets'))


# ---- the search ----------------------------------------------------------------------------------------------------


def brute_force(embeddings: np.ndarray, identities: np.ndarray, k: int) -> np.ndarray:
    """By the definition, in float64."""
    cosines = embeddings.astype(np.float64) @ embeddings.astype(np.float64).T
    found = np.full((len(identities), k), -1)
    for row, person in enumerate(identities):
        others = [place for place in np.flatnonzero(identities == person) if place != row]
        others.sort(key=lambda place: (-cosines[row, place], place))
        found[row, : len(others)] = others[:k]
    return found


def unit(seed: int, number: int, size: int = 16) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((number, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize('tile', [4, 1024])
@pytest.mark.parametrize('rows', [8, 1 << 13])
@pytest.mark.parametrize('k', [1, 3, 30])
def test_nearest_are_those_of_brute_force(tile: int, rows: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Persons of 1 to about 40 images, in any order, with any numbers."""
    monkeypatch.setattr(neighbours, '_TILE', tile)
    monkeypatch.setattr(neighbours, '_ROWS', rows)
    rng = np.random.default_rng(0)
    identities = (rng.geometric(0.07, 250) - 9) ** 3
    assert {1, 2} < set(np.unique(identities, return_counts=True)[1].tolist())
    embeddings = unit(1, 250)
    found = nearest_of_same_identity(embeddings, identities, k)
    assert found.dtype == np.int64 and np.array_equal(found, brute_force(embeddings, identities, k))


@pytest.mark.parametrize('tile', [4, 1024])
def test_equal_cosines_go_to_the_lower_position(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of halves: every product is exact, and only -1, -0.5, 0, 0.5 and 1 occur."""
    monkeypatch.setattr(neighbours, '_TILE', tile)
    rng = np.random.default_rng(2)
    embeddings = rng.choice(np.array([-0.5, 0.5], np.float32), (120, 4))
    identities = rng.integers(0, 6, 120)
    assert np.array_equal(nearest_of_same_identity(embeddings, identities, 9), brute_force(embeddings, identities, 9))


def test_one_large_person_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / 'e.npy', unit(3, 2500, 8))
    embeddings = np.load(tmp_path / 'e.npy', mmap_mode='r')
    identities = np.full(2500, 7)
    cosines = embeddings.astype(np.float64) @ embeddings.T
    np.fill_diagonal(cosines, -2)
    found = nearest_of_same_identity(embeddings, identities, 3)
    expected = -np.sort(-cosines, axis=1)[:, :3]
    np.testing.assert_allclose(np.take_along_axis(cosines, found, axis=1), expected, atol=1e-6)
    assert all(len(set(row)) == 3 for row in found.tolist())


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match=r'\(4, 8\).*\(5,\)'):
        nearest_of_same_identity(unit(0, 4, 8), np.zeros(5, np.int64), 2)
    with pytest.raises(ValueError, match='k 0'):
        nearest_of_same_identity(unit(0, 4, 8), np.zeros(4, np.int64), 0)


# ---- arrays that are kept ------------------------------------------------------------------------------------------


def test_two_that_want_an_array_build_it_once(tmp_path: Path) -> None:
    built: list[Path] = []

    def build(path: Path) -> None:
        built.append(path)
        np.save(path, np.arange(4))

    results: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: results.append(cached_array(tmp_path, {'a': 1}, build).tolist()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1 and results == [[0, 1, 2, 3]] * 4


def test_an_array_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        np.save(path, np.arange(9))
        raise RuntimeError('power cut')

    with pytest.raises(RuntimeError, match='power cut'):
        cached_array(tmp_path, {'a': 1}, fail)
    assert not any(path.is_dir() for path in tmp_path.iterdir())
    assert cached_array(tmp_path, {'a': 1}, lambda path: np.save(path, np.arange(2))).tolist() == [0, 1]
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='cannot be written.*FSR_DATASETS'):
        cached_array(tmp_path / 'file', {'a': 1}, fail)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize('file', ['array.npy', 'about.json'])
@pytest.mark.parametrize('damage', [cut, change, Path.unlink, lambda path: path.write_text('[]')])
def test_a_damaged_array_is_reported_and_built_again(
    tmp_path: Path, file: str, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def wanted() -> list[int]:
        return cached_array(tmp_path, {'a': 1}, lambda path: np.save(path, np.arange(5))).tolist()

    wanted()
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    damage(folder / file)
    with caplog.at_level(logging.WARNING):
        assert wanted() == [0, 1, 2, 3, 4]
    assert 'is damaged; it is built again' in caplog.text and str(folder) in caplog.text
    assert json.loads((folder / 'about.json').read_text())['about'] == {'a': 1}
    caplog.clear()
    assert wanted() == [0, 1, 2, 3, 4] and not caplog.text


# ---- the index -----------------------------------------------------------------------------------------------------


def faces(seed: int = 0, number: int = 40, people: int = 4) -> list[Face]:
    rng = np.random.default_rng(seed)
    return [
        Face(f'k{index:02d}', rng.integers(0, 256, (8, 6, 3), dtype=np.uint8), index % people)
        for index in range(number)
    ]


def weights(path: Path, seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    torch.save(CompareTestRecogniser().state_dict(), path)
    return {'type': 'CompareTestRecogniser', 'path': str(path)}


def images(root: Path, **more: Any) -> HRDataset:
    return HRDataset({'name': 'faces', 'phase': 'test', 'dataroot_gt': str(root), **more})


class Counted:
    """How often the recogniser was built and neighbours were searched since the last look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts = [0, 0]
        for place, (module, name) in enumerate(
            [(recognition, 'make_recogniser'), (compare_index, 'nearest_of_same_identity')]
        ):
            monkeypatch.setattr(module, name, self._counting(place, getattr(module, name)))

    def _counting(self, place: int, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            self.counts[place] += 1
            return real(*args)

        return counted

    def taken(self) -> list[int]:
        taken, self.counts = self.counts, [0, 0]
        return taken


@pytest.mark.parametrize('write', [write_lmdb, write_folder])
def test_an_index_holds_the_nearest_by_the_recogniser(tmp_path: Path, write: Any) -> None:
    """Also of a choice of images, by number in the choice, and of images of several sizes."""
    made = faces()
    made[3] = made[3]._replace(image=np.ascontiguousarray(made[3].image[:6]))
    root = tmp_path / 'set.lmdb'
    if write is write_folder:
        root = tmp_path / 'set'
    write(root, made)
    block = weights(tmp_path / 'net.pth')
    chosen = images(root, number=30, number_seed=1)
    net = CompareTestRecogniser()
    net.load_state_dict(torch.load(block['path']))
    tensors = [torch.from_numpy(made[place].image).permute(2, 0, 1)[None] / 255 for place in chosen.chosen]
    with torch.no_grad():
        expected = torch.cat([nn.functional.normalize(net.eval()(tensor)) for tensor in tensors]).numpy()
    index = CompareIndex(chosen, block, 3)
    np.testing.assert_allclose(index.embeddings(), expected, atol=1e-5)
    assert index.embeddings().dtype == np.float32
    people = chosen.chosen % 4
    assert np.array_equal(index.neighbours(), brute_force(index.embeddings(), people, 3))


def test_an_index_is_stored_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, block = tmp_path / 'set.lmdb', weights(tmp_path / 'net.pth')
    write_lmdb(root, faces())
    built = Counted(monkeypatch)

    def found(**more: Any) -> tuple[list[int], np.ndarray]:
        keys = {'root': root, 'block': block, 'k': 3, **more}
        result = CompareIndex(images(keys.pop('root'), **keys.pop('set', {})), keys['block'], keys['k']).neighbours()
        return built.taken(), result

    first = found()
    assert first[0] == [1, 1]
    again = found()
    assert again[0] == [0, 0] and np.array_equal(again[1], first[1])
    fewer = found(k=2)
    assert fewer[0] == [0, 0] and np.array_equal(fewer[1], first[1][:, :2])
    # Another number of neighbours needs the embeddings that are there.
    more = found(k=9)
    assert more[0] == [0, 1] and np.array_equal(more[1][:, :3], first[1])
    shutil.copytree(root, tmp_path / 'copy.lmdb')
    assert found(root=tmp_path / 'copy.lmdb')[0] == [0, 0]
    moved = {**block, 'path': str(shutil.copy(block['path'], tmp_path / 'moved.pth'))}
    assert found(block=moved)[0] == [0, 0]
    assert found(set={'number': 39})[0] == [1, 1]
    assert found(set={'number': 39, 'number_seed': 1})[0] == [1, 1]
    assert found(block={**block, 'adapt': 'centercrop'})[0] == [1, 1]
    assert found(block=weights(tmp_path / 'other.pth', 1))[0] == [1, 1]
    write_lmdb(tmp_path / 'pixels.lmdb', [*faces()[:-1], faces(1)[-1]])
    assert found(root=tmp_path / 'pixels.lmdb')[0] == [1, 1]
    write_lmdb(tmp_path / 'people.lmdb', faces(people=5))
    assert found(root=tmp_path / 'people.lmdb')[0] == [0, 1]
    assert found()[0] == [0, 0]


def test_wrong_recognisers_and_sets_are_named(tmp_path: Path) -> None:
    root, block = tmp_path / 'set.lmdb', weights(tmp_path / 'net.pth')
    write_lmdb(root, faces())
    with pytest.raises(UserError, match="'adapt' of CompareTestRecogniser is 'pad'"):
        CompareIndex(images(root), {**block, 'adapt': 'pad'}, 3).neighbours()
    with pytest.raises(UserError, match=r"cannot be built with.*'adpt'"):
        CompareIndex(images(root), {**block, 'adpt': 'resize'}, 3).neighbours()
    with pytest.raises(UserError, match=r'not at .*nowhere\.pth'):
        CompareIndex(images(root), {**block, 'path': 'nowhere.pth'}, 3)
    write_lmdb(tmp_path / 'nobody.lmdb', [face._replace(identity=None) for face in faces()])
    with pytest.raises(UserError, match=r'nobody\.lmdb.*no identities'):
        CompareIndex(images(tmp_path / 'nobody.lmdb'), block, 3)
    state = torch.load(block['path'])
    state['linear.weight'][0, 0] = torch.nan
    torch.save(state, tmp_path / 'nan.pth')
    with pytest.raises(RunError, match=r"CompareTestRecogniser's embedding of '.*k00' is not finite"):
        CompareIndex(images(root), {**block, 'path': str(tmp_path / 'nan.pth')}, 3).neighbours()
    kept = [path for path in (tmp_path / 'datasets' / 'compare').iterdir() if path.is_dir()]
    assert not kept


def test_no_room_is_said_before_embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, block = tmp_path / 'set.lmdb', weights(tmp_path / 'net.pth')
    write_lmdb(root, faces())

    def full(*_: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.posix_fallocate', full)
    with pytest.raises(UserError, match=r'cannot take .* MiB of embeddings \(No space left.*FSR_DATASETS'):
        CompareIndex(images(root), block, 3).neighbours()
