"""The view ``canny``: OpenCV's edges of what is stored or cut, turned with it, found once where that is the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.edges import canny_cv2
from fsr_plugins.errors import UserError
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face

NAMES = ('canny_1', 'canny_2', 'canny_4')


pytestmark = pytest.mark.usefixtures('own_cache')


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the images that OpenCV's Canny was called for since the test began."""
    shapes: list[tuple[int, ...]] = []
    find = cv2.Canny

    def count(image: np.ndarray, *rest: Any) -> np.ndarray:
        shapes.append(image.shape)
        return find(image, *rest)

    monkeypatch.setattr(cv2, 'Canny', count)
    return shapes


def blobs(number: int = 6, height: int = 32, width: int = 32) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(number))
    return [cv2.normalize(cv2.GaussianBlur(image, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX) for image in noise]


def make(tmp_path: Path, images: list[np.ndarray] | None = None, lmdb: bool = True, **more: Any) -> FaceDataset:
    faces = [Face(f'k{index}', image) for index, image in enumerate(images or blobs())]
    root = tmp_path / ('gt.lmdb' if lmdb else 'gt')
    if not root.exists():
        write_lmdb(root, faces, 'raw') if lmdb else write_folder(root, faces)
    block = {'name': 'x', 'type': 'FaceDataset', 'phase': 'train', 'scale': 4, 'dataroot_gt': str(root)}
    return FaceDataset({**block, 'views': ['canny'], **more})


def expected(image: np.ndarray, scale: int, **thresholds: Any) -> np.ndarray:
    size = (image.shape[1] // scale, image.shape[0] // scale)
    small = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    x = torch.from_numpy(small).permute(2, 0, 1)[None] / 255
    return canny_cv2(x, **thresholds)[0, 0].numpy().astype(np.uint8) * 255


@pytest.mark.parametrize(
    ('given', 'thresholds'),
    [('mean_std', {'adaptive': 'mean_std'}), ('otsu', {'adaptive': 'otsu'}), ([50, 120.5], {'low': 50, 'high': 120.5})],
)
@pytest.mark.parametrize('lmdb', [False, True])
def test_edges_are_opencvs_of_the_reduced_image(tmp_path: Path, lmdb: bool, given: Any, thresholds: Any) -> None:
    images = blobs(height=36, width=24)
    dataset = make(tmp_path, images, lmdb, canny={'thresholds': given, 'scales': [4, 1, 3]})
    for number in (*range(6), *range(6)):
        sample = dataset[number]
        assert 'canny_2' not in sample
        for scale in (1, 3, 4):
            edges = sample[f'canny_{scale}']
            assert edges.dtype == np.uint8 and np.array_equal(edges, expected(images[number], scale, **thresholds))
        assert 0 < sample['canny_1'].mean() < 128 and set(np.unique(sample['canny_1'])) == {0, 255}


@pytest.mark.parametrize('use_rot', [False, True])
def test_they_are_turned_with_the_image_and_found_once(tmp_path: Path, use_rot: bool, calls: list[Any]) -> None:
    dataset, plain = make(tmp_path, use_hflip=True, use_rot=use_rot), make(tmp_path)
    maps = [{name: plain[index][name] for name in NAMES} for index in range(6)]
    images = [plain[index]['gt'] for index in range(6)]
    calls.clear()
    seen = set()
    for number in range(60):
        sample = dataset[number]
        flip = dataset.sample(number).flip
        seen.add(flip)
        place = number % 6
        for name, before in {**maps[place], 'gt': images[place]}.items():
            turned = before[:, ::-1] if flip.hflip else before
            turned = turned[::-1] if flip.vflip else turned
            turned = turned.swapaxes(0, 1) if flip.transpose else turned
            assert np.array_equal(sample[name], turned)
        assert len(calls) == 3 * min(number + 1, 6)
    assert len(seen) == (8 if use_rot else 2)


def test_a_second_epoch_gives_the_same_pixels(tmp_path: Path, calls: list[Any]) -> None:
    dataset = make(tmp_path, gt_size=32)  # a crop as large as the image changes nothing
    first = [dataset[number] for number in range(6)]
    assert sorted(calls) == sorted([(32, 32), (16, 16), (8, 8)] * 6)
    for number in range(6, 12):
        sample = dataset[number]
        assert all(np.array_equal(sample[name], first[number - 6][name]) for name in NAMES)
    assert len(calls) == 18
    make(tmp_path, scale=4)[0]
    assert len(calls) == 21  # another dataset keeps its own


def test_of_a_crop_they_are_found_anew(tmp_path: Path, calls: list[Any]) -> None:
    images = blobs()
    dataset = make(tmp_path, images, gt_size=16, use_hflip=True)
    dataset.check(4)
    for number in range(24):
        sample = dataset[number]
        cut = sample['gt'][:, ::-1] if dataset.sample(number).flip.hflip else sample['gt']
        edges = expected(np.ascontiguousarray(cut), 1, adaptive='mean_std')
        assert np.array_equal(sample['canny_1'], edges[:, ::-1] if cut is not sample['gt'] else edges)
        assert sample['canny_4'].shape == (4, 4)
    assert len([shape for shape in calls if shape == (16, 16)]) == 24 * 2  # one of them by this test


def test_threads_share_what_is_kept(tmp_path: Path, calls: list[Any]) -> None:
    alone, shared = make(tmp_path, use_hflip=True), make(tmp_path, use_hflip=True)
    with ThreadPoolExecutor(8) as pool:
        samples = list(pool.map(shared.__getitem__, range(240)))
    for number, sample in enumerate(samples):
        same = alone[number]
        assert all(np.array_equal(sample[name], same[name]) for name in ('gt', *NAMES))
    done = len(calls)
    with TrainLoader(shared, 9, threads=3) as loader:
        batch = next(iter(loader))
    assert [batch[name].shape for name in NAMES] == [(9, 32, 32), (9, 16, 16), (9, 8, 8)]
    assert all(batch[name].dtype == torch.uint8 for name in NAMES) and len(calls) == done


def test_what_is_kept_is_as_small_as_stated(tmp_path: Path) -> None:
    dataset = make(tmp_path, blobs(3, 128, 128))
    for number in range(3):
        _ = dataset[number]
    assert dataset.edges is not None
    assert [len(packed) for packed in dataset.edges._kept.values()] == [(128**2 + 64**2 + 32**2) // 8] * 3


def test_sizes_that_the_scales_do_not_divide_are_refused(tmp_path: Path) -> None:
    dataset = make(tmp_path, blobs(height=28, width=24), canny={'scales': [1, 2, 3]})
    with pytest.raises(UserError, match=r'24x28.*not a multiple of 6'):
        dataset.check(4)
