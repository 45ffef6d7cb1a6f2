"""The stored index of the nearest of each person: what is in it, what renews it, what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fsr_plugins.archs import recognition
from fsr_plugins.archs.recognition import Recogniser
from fsr_plugins.data import compare_index
from fsr_plugins.data.compare_index import CompareIndex
from fsr_plugins.data.hr_dataset import HRDataset
from fsr_plugins.errors import RunError, UserError
from fsr_plugins.faces import align
from fsr_plugins.registry import ARCH_REGISTRY
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


def brute_force(embeddings: np.ndarray, identities: np.ndarray, k: int) -> np.ndarray:
    """Of persons who all have more than ``k`` images."""
    cosines = embeddings.astype(np.float64) @ embeddings.astype(np.float64).T
    cosines[(identities[:, None] != identities) | np.eye(len(identities), dtype=bool)] = -2
    return np.argsort(-cosines, axis=1, kind='stable')[:, :k]


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
    chosen = images(root, max_images=30, subset_seed=1)
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
    assert found(set={'max_images': 39})[0] == [1, 1]
    assert found(set={'max_images': 39, 'subset_seed': 1})[0] == [1, 1]
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
    state['linear.weight'].fill_(3e38)  # finite, but what it makes of a face is not
    torch.save(state, tmp_path / 'large.pth')
    with pytest.raises(RunError, match=r"CompareTestRecogniser's embedding of '.*k\d\d' is not finite"):
        CompareIndex(images(root), {**block, 'path': str(tmp_path / 'large.pth')}, 3).neighbours()
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


def test_aligned_faces_have_embeddings_of_their_own(tmp_path: Path) -> None:
    """Where every face has another turn, the nearest are those of the faces brought upright."""
    template = torch.tensor([[0.0, 0], [1, 0], [0.5, 0.5], [0, 1], [1, 1]])
    CompareTestRecogniser.face_points = tuple(map(tuple, template.tolist()))  # type: ignore[assignment]
    try:
        rng, made = np.random.default_rng(3), []
        for index in range(12):
            image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            points = (template.numpy() * 3 + rng.normal(2, 0.5, (5, 2))).astype(np.float32)
            made.append(Face(f'k{index:02d}', image, index % 2, points))
        write_folder(tmp_path / 'set', made)
        block = weights(tmp_path / 'net.pth')
        data = images(tmp_path / 'set', views=['landmarks'])
        plain, aligned = (CompareIndex(data, block, 2, how).embeddings() for how in ('none', 'landmarks'))
        net = CompareTestRecogniser()
        net.load_state_dict(torch.load(block['path'], weights_only=True))
        pictures = torch.from_numpy(np.stack([face.image for face in made])).permute(0, 3, 1, 2) / 255
        upright = align(pictures, torch.from_numpy(np.stack([face.landmarks for face in made])), template, (2, 2))
        with torch.no_grad():
            expected = torch.nn.functional.normalize(net(upright)).numpy()
        assert np.allclose(aligned, expected, atol=1e-4) and not np.allclose(plain, expected, atol=1e-2)
    finally:
        CompareTestRecogniser.face_points = None
