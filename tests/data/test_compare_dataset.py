"""Compare faces: who is drawn, how often, how they are turned; people of few images; what is refused."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from fsr_plugins.archs.recognition import Recogniser
from fsr_plugins.data import CompareFaceDataset
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.errors import UserError
from fsr_plugins.registry import ARCH_REGISTRY
from fsr_plugins.stores.folder import HEADER, TABLE
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face


@ARCH_REGISTRY.register()
class CompareSetRecogniser(Recogniser):
    """The mean brightness as an angle: 255 is half a turn, so faces of like brightness have the largest cosine."""

    face_size = (4, 4)
    embedding_size = 2

    def __init__(self, adapt: str = 'resize') -> None:
        super().__init__(adapt)
        self.turn = torch.nn.Parameter(torch.tensor(torch.pi))

    def embed(self, faces: Tensor) -> Tensor:
        angle = (faces * self.std + self.mean).mean(dim=(1, 2, 3)) * self.turn
        return torch.stack([angle.cos(), angle.sin()], dim=1)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('FSR_DATASETS', str(tmp_path / 'datasets'))


#: Brightness and person of k0, k1 …: of person 5 the nearest are known by looking, 6 has three, 7 two, 8 one image.
FACES = [(10, 5), (200, 6), (14, 5), (100, 7), (50, 5), (20, 5), (90, 6), (110, 7), (130, 8), (28, 5), (120, 6)]
#: By the differences of brightness, three at most.
NEAREST = {
    0: [2, 5, 9], 2: [0, 5, 9], 5: [2, 9, 0], 9: [5, 2, 0], 4: [9, 5, 2],
    1: [10, 6], 6: [10, 1], 10: [6, 1], 3: [7], 7: [3], 8: [],
}  # fmt: skip


def picture(brightness: int, size: int = 16) -> np.ndarray:
    """Of one brightness but the top left pixel, which is 3 less, and the next to it, 3 more: its turn can be seen."""
    image = np.full((size, size, 3), brightness, np.uint8)
    image[0, 0] -= 3
    image[0, 1] += 3
    return image


def write_set(folder: Path, faces: list[tuple[int, int]] = FACES, size: int = 16) -> str:
    if not folder.exists():
        made = [Face(f'k{index:02d}', picture(light, size), person) for index, (light, person) in enumerate(faces)]
        (write_lmdb if folder.suffix == '.lmdb' else write_folder)(folder, made)
    return str(folder)


def make(tmp_path: Path, compare: dict[str, Any] | None = None, **more: Any) -> CompareFaceDataset:
    torch.save(CompareSetRecogniser().state_dict(), tmp_path / 'net.pth')
    recogniser = {'type': 'CompareSetRecogniser', 'path': str(tmp_path / 'net.pth')}
    block = {'name': 'faces', 'type': 'CompareFaceDataset', 'phase': 'train', 'scale': 4}
    root = {} if 'dataroot_gt' in more else {'dataroot_gt': write_set(tmp_path / 'set.lmdb')}
    return CompareFaceDataset({**block, **root, 'compare': {'recogniser': recogniser, **(compare or {})}, **more})


def number(key: str) -> int:
    return int(key[-2:])


def drawn(dataset: CompareFaceDataset, epochs: int) -> dict[int, Counter[int]]:
    """By face, how often which compare face came."""
    found: dict[int, Counter[int]] = {index: Counter() for index in range(len(dataset))}
    for place in range(epochs * len(dataset)):
        sample = dataset[place]
        found[number(sample['gt_path'])][number(sample['compare_gt_path'])] += 1
    return found


@pytest.mark.parametrize('k', [1, 2, 3])
def test_one_of_the_k_nearest_is_drawn(tmp_path: Path, k: int) -> None:
    dataset = make(tmp_path, {'k': k})
    dataset.check(4)
    for index, counts in drawn(dataset, 30).items():
        assert set(counts) == set(NEAREST[index][:k] or [index])


def test_draws_are_uniform_and_functions_of_seed_epoch_index(tmp_path: Path) -> None:
    dataset = make(tmp_path)
    taken = Counter(number(dataset[epoch * len(dataset) + 4]['compare_gt_path']) for epoch in range(600))
    counts = np.array([taken[other] for other in NEAREST[4]])
    assert ((counts - 200) ** 2 / 200).sum() < 13.8  # 2 degrees of freedom, p = 0.001
    keys = [[made[place]['compare_gt_path'] for place in range(200)] for made in (dataset, make(tmp_path))]
    assert keys[0] == keys[1]
    other = make(tmp_path, seed=1)
    assert keys[0] != [other[place]['compare_gt_path'] for place in range(200)]


def test_a_sample_holds_the_compare_face(tmp_path: Path) -> None:
    dataset = make(tmp_path, use_hflip=True, views=['identity'])
    turns = Counter()
    for place in range(20 * len(dataset)):
        sample = dataset[place]
        compared = sample['compare_gt']
        assert compared.dtype == np.uint8 and compared.shape == (16, 16, 3)
        light, person = FACES[number(sample['compare_gt_path'])]
        assert compared[8, 8, 0] == light and sample['identity'] == person
        assert sample['gt'][8, 8, 0] == FACES[number(sample['gt_path'])][0]
        assert sample['has_compare'] is (sample['gt_path'] != 'k08')
        mirrored = [image[0, 0, 0] == image[8, 8, 0] for image in (sample['gt'], compared)]
        image = dataset.gt.image(sample['compare_gt_path'])
        assert np.array_equal(compared, image[:, ::-1] if mirrored[1] else image)
        turns[tuple(mirrored)] += 1
    assert len(turns) == 4 and min(turns.values()) > 30  # of 220, in each of the four combinations 55


def test_crops_are_independent(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:16, :16].astype(np.uint8)
    made = [Face(f'k{index}', np.stack([rows, columns, 0 * rows], -1), 0) for index in range(3)]
    write_lmdb(tmp_path / 'set.lmdb', made)
    dataset = make(tmp_path, gt_size=8, use_rot=True)
    dataset.check(4)
    corners = [[dataset[place][name][..., :2].min(axis=(0, 1)) for place in range(90)] for name in ('gt', 'compare_gt')]
    assert dataset.slots(0)['compare_gt'].shape == (8, 8, 3)
    # The face's crop keeps to the scale; no LR is cut from a compare face.
    assert not (np.array(corners[0]) % 4).any() and len({tuple(corner) for corner in corners[1]}) > 30


def test_any_other_of_the_person(tmp_path: Path) -> None:
    dataset = make(tmp_path, {'random': True, 'recogniser': None})
    for index, counts in drawn(dataset, 60).items():
        person = FACES[index][1]
        others = {place for place, (_, other) in enumerate(FACES) if other == person and place != index}
        assert set(counts) == (others or {index})
    assert dataset[8]['has_compare'] is False
    assert not (tmp_path / 'datasets').exists()


def test_the_index_is_of_the_chosen_images(tmp_path: Path) -> None:
    dataset = make(tmp_path, max_images=5)
    found = drawn(dataset, 20)
    assert {index: set(counts) for index, counts in found.items()} == {0: {2, 4}, 1: {1}, 2: {0, 4}, 3: {3}, 4: {0, 2}}


def test_lists_say_who_may_be_drawn(tmp_path: Path) -> None:
    assert [number(key) for key in make(tmp_path, {'k': 1}).lists()['compare_gt']] == [0, 2, 3, 5, 6, 7, 8, 9, 10]
    assert make(tmp_path, {'random': True}).lists()['compare_gt'] == make(tmp_path).lists()['gt']


def test_the_lonely_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger='fsr_plugins'):
        make(tmp_path, {'random': True})
    assert "'faces': 1 of 11 faces have no compare face" in caplog.text


def test_a_stored_index_needs_no_recogniser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(tmp_path)

    def built_again(*_: Any) -> None:
        raise AssertionError('built again')

    monkeypatch.setattr('fsr_plugins.archs.recognition.make_recogniser', built_again)
    again = make(tmp_path, {'k': 4})
    assert drawn(again, 2).keys() == drawn(first, 2).keys()
    torch.save({'turn': torch.tensor(1.0)}, tmp_path / 'net.pth')
    other = {'recogniser': {'type': 'CompareSetRecogniser', 'path': str(tmp_path / 'net.pth'), 'adapt': 'centercrop'}}
    with pytest.raises(AssertionError, match='built again'):
        make(tmp_path, other)


def test_compare_faces_of_several_stores(tmp_path: Path) -> None:
    roots = [write_set(tmp_path / 'a', FACES[:5]), write_set(tmp_path / 'b.lmdb', FACES[5:])]
    dataset = make(tmp_path, {'k': 1}, dataroot_gt=roots)
    dataset.check(4)
    pairs = {dataset[place]['gt_path']: dataset[place]['compare_gt_path'] for place in range(len(dataset))}
    keys = [f'0/k{index:02d}' for index in range(5)] + [f'1/k{index:02d}' for index in range(6)]
    assert pairs == {keys[index]: keys[(nearest or [index])[0]] for index, nearest in NEAREST.items()}


def test_batches(tmp_path: Path) -> None:
    with TrainLoader(make(tmp_path, views=['identity']), 11, threads=2) as loader:
        batch = next(iter(loader))
    assert batch['has_compare'].dtype == torch.bool and int(batch['has_compare'].sum()) == 10
    assert batch['compare_gt'].shape == (11, 16, 16, 3) and len(batch['compare_gt_path']) == 11


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ({'phase': 'val'}, 'compare faces are for training; for validation take a FaceDataset'),
        ({'compare': {'recogniser': None}}, "'compare': nobody compares: give a 'recogniser', or 'random: true'"),
        ({'compare': {'k': 0, 'random': True}}, "'compare.k'"),
        ({'compare': {'randm': True}}, "unknown key 'compare.randm'. Did you mean 'random'"),
        ({'compare': {'recogniser': {'type': 'CompareSetRecognizer'}}}, "Did you mean 'CompareSetRecogniser'"),
        ({'compare': {'recogniser': {'path': 'x.pth'}}}, "recogniser needs a key 'type'"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(tmp_path, **more)


def test_who_is_who_must_be_known(tmp_path: Path) -> None:
    write_lmdb(tmp_path / 'nobody.lmdb', [Face('k0', picture(9))])
    roots = [write_set(tmp_path / 'set.lmdb'), str(tmp_path / 'nobody.lmdb')]
    with pytest.raises(UserError, match=r"'[^']*nobody\.lmdb' does not say who is who"):
        make(tmp_path, dataroot_gt=roots)


def test_points_go_with_the_compare_face(tmp_path: Path) -> None:
    """The dark pixel of a picture is its first point, wherever crop and flips bring it."""
    rng, faces = np.random.default_rng(0), []
    for index in range(6):
        x, y = (int(value) for value in rng.integers(6, 10, 2))
        image = np.full((16, 16, 3), 100 + index, np.uint8)
        image[y, x] = 0
        image[y, x + 2] = 50  # another eye
        points = np.array([[x, y], [x + 2, y], [8, 8], [7, 9], [9, 9]], np.float32)
        faces.append(Face(f'k{index:02d}', image, index % 2, points))
    write_lmdb(tmp_path / 'set.lmdb', faces)
    root = str(tmp_path / 'set.lmdb')
    dataset = make(tmp_path, {'random': True}, dataroot_gt=root, views=['landmarks'], use_hflip=True, gt_size=12)
    mirrored = 0
    for place in range(60):
        sample = dataset[place]
        eyes = sample['compare_landmarks'][:2].round().astype(int)
        values = sample['compare_gt'][eyes[:, 1], eyes[:, 0], 0].tolist()
        assert sorted(values) == [0, 50] and eyes[0, 0] < eyes[1, 0]  # the left eye of the image comes first
        mirrored += values == [50, 0]
    assert 15 < mirrored < 45


def test_the_index_reads_subfolders_as_the_set_does(tmp_path: Path) -> None:
    for key, (value, _) in zip('abcd', FACES, strict=False):
        (tmp_path / 'set/images' / key).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / 'set/images' / key / '0.png'), np.full((8, 8, 3), value, np.uint8))
    rows = [','.join([f'{key}/0', '0', *[''] * 10]) for key in 'abcd']
    (tmp_path / 'set' / TABLE).write_text('\n'.join([','.join(HEADER), *rows]) + '\n')
    dataset = make(tmp_path, {'k': 1}, dataroot_gt=str(tmp_path / 'set'), recursive=True)
    # 10, 200, 14, 100: the nearest by brightness.
    assert [dataset[number]['compare_gt_path'] for number in range(4)] == ['c/0', 'd/0', 'a/0', 'c/0']
