"""Datasets: pairing, views, crops and flips as functions of (seed, epoch, index), and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from fsr_plugins.data.datasets import FaceDataset, SourceTargetDataset, UnpairedFaceDataset
from fsr_plugins.data.real_dataset import RealFaceDataset
from fsr_plugins.errors import UserError
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face

pytestmark = pytest.mark.usefixtures('own_cache')


def coordinates(height: int, width: int, number: int = 0) -> np.ndarray:
    """An image whose pixels say where they are: (row, column, number)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, number)], axis=-1).astype(np.uint8)


def write_set(path: Path, number: int = 5, size: int = 32, lmdb: bool = True, views: bool = False) -> str:
    faces = []
    for index in range(number):
        points = np.array([[4, 5], [20, 6], [12, 14], [6, 22], [18, 23]], np.float32)
        labels = np.zeros((32, 32), np.uint8)
        for label, (x, y) in zip((4, 5, 10, 12, 13), points.astype(int), strict=True):
            labels[y, x] = label
        image = coordinates(size, size, index)
        faces.append(Face(f'k{index}', image, index * 7, points, labels) if views else Face(f'k{index}', image))
    if lmdb:
        write_lmdb(path.with_suffix('.lmdb'), faces, 'raw')
        return str(path.with_suffix('.lmdb'))
    write_folder(path, faces)
    return str(path)


def make(root: str, cls: type = FaceDataset, **more: Any) -> Any:
    return cls({'name': 'faces', 'type': cls.__name__, 'phase': 'train', 'scale': 4, 'dataroot_gt': root, **more})


@pytest.mark.parametrize('lmdb', [False, True])
def test_a_sample_has_what_was_asked_for(tmp_path: Path, lmdb: bool) -> None:
    root = write_set(tmp_path / 'gt', views=True, lmdb=lmdb)
    dataset = make(root, views=['parsing', 'landmarks', 'identity'], gt_size=16, use_hflip=True)
    for number in range(3 * len(dataset)):
        sample = dataset[number]
        assert sample['gt'].shape == (16, 16, 3) and sample['gt'].dtype == np.uint8 and sample['gt'].flags.c_contiguous
        assert sample['index'] == number % 5 and sample['gt_path'] == f'k{sample["index"]}'
        assert sample['identity'] == 7 * sample['index']
        columns = sample['gt'][0, :, 1].astype(int)
        mirrored = columns[0] > columns[-1]
        top, left = int(sample['gt'][0, 0, 0]), int(columns.min())
        eye = np.array([20, 6] if mirrored else [4, 5]) - [left, top]
        expected = [15 - eye[0], eye[1]] if mirrored else eye
        assert np.array_equal(sample['landmarks'][0], expected)
        inside = (sample['landmarks'] >= 0).all(axis=1) & (sample['landmarks'] < 16).all(axis=1)
        # Lips are not left and right: 12 was drawn at the image-left mouth corner and is at the right one afterwards.
        names = np.array([4, 5, 10, 13, 12] if mirrored else [4, 5, 10, 12, 13])
        for label, (x, y) in zip(names[inside], sample['landmarks'][inside].astype(int), strict=True):
            assert sample['parsing'][y, x] == label


def test_augmentation_is_a_function_of_seed_epoch_index(tmp_path: Path) -> None:
    root = write_set(tmp_path / 'gt', number=8)
    first, second = make(root, gt_size=8, use_hflip=True), make(root, gt_size=8, use_hflip=True)
    other = make(root, gt_size=8, use_hflip=True, seed=1)
    epochs = [np.stack([first[epoch * 8 + index]['gt'] for index in range(8)]) for epoch in range(3)]
    assert np.array_equal(epochs[1], np.stack([second[8 + index]['gt'] for index in range(8)]))
    assert not np.array_equal(epochs[0], epochs[1]) and not np.array_equal(epochs[1], epochs[2])
    assert not np.array_equal(epochs[0], np.stack([other[index]['gt'] for index in range(8)]))
    seeds = {first[number]['seed'] for number in range(24)}
    assert len(seeds) == 24


@pytest.mark.parametrize(('given', 'step'), [({}, 4), ({'gt_step': 1}, 1), ({'gt_step': 2}, 2), ({'gt_step': 8}, 8)])
def test_crops_begin_at_multiples_of_their_step(tmp_path: Path, given: dict[str, int], step: int) -> None:
    dataset = make(write_set(tmp_path / 'gt'), gt_size=16, **given)
    tops = {int(dataset[number]['gt'][0, 0, 0]) for number in range(300)}
    lefts = {int(dataset[number]['gt'][0, 0, 1]) for number in range(300)}
    assert tops == lefts == set(range(0, 17, step))


def test_stored_lr_is_cut_and_turned_alike(tmp_path: Path) -> None:
    root = write_set(tmp_path / 'gt')
    lq = [Face(f'k{index}x4', coordinates(32, 32, index)[::4, ::4]) for index in range(5)]
    write_folder(tmp_path / 'lq', lq)
    paired = {'dataroot_lq': str(tmp_path / 'lq'), 'filename_tmpl': '{}x4'}
    dataset = make(root, **paired, gt_size=16, use_hflip=True, use_rot=True)
    dataset.check(4)
    for number in range(20):
        sample = dataset[number]
        assert sample['lq'].shape == (4, 4, 3)
        # An LR pixel is the corner of its block, so it is the least row and column of the block it lies under.
        blocks = sample['gt'].reshape(4, 4, 4, 4, 3).min(axis=(1, 3))
        assert np.array_equal(sample['lq'], blocks)
        assert sample['lq_path'] == sample['gt_path'] + 'x4'


def test_pairs_are_checked(tmp_path: Path) -> None:
    root = write_set(tmp_path / 'gt')
    write_folder(tmp_path / 'few', [Face(f'k{index}', np.zeros((8, 8, 3), np.uint8)) for index in range(4)])
    with pytest.raises(UserError, match="no LR image 'k4'"):
        make(root, dataroot_lq=str(tmp_path / 'few'))
    write_folder(tmp_path / 'many', [Face(f'k{index}', np.zeros((8, 8, 3), np.uint8)) for index in range(6)])
    with pytest.raises(UserError, match=r'k5\.png.* no HR image'):
        make(root, dataroot_lq=str(tmp_path / 'many'))
    sizes = [8, 8, 9, 8, 8]
    write_folder(tmp_path / 'odd', [Face(f'k{i}', np.zeros((s, s, 3), np.uint8)) for i, s in enumerate(sizes)])
    with pytest.raises(UserError, match=r'k2\.png.*9x9.*8x8'):
        make(root, dataroot_lq=str(tmp_path / 'odd')).check(4)


def test_real_lr_runs_through_its_own_order(tmp_path: Path) -> None:
    root = write_set(tmp_path / 'gt', number=5)
    real = write_set(tmp_path / 'real', number=3, size=12)
    dataset = make(root, UnpairedFaceDataset, dataroot_real_lq=real, use_hflip=True)
    dataset.check(4)
    samples = [dataset[number] for number in range(30)]
    assert all(sample['real_lq'].shape == (8, 8, 3) for sample in samples)
    keys = [sample['real_lq_path'] for sample in samples]
    rounds = [keys[start : start + 3] for start in range(0, 30, 3)]
    assert all(sorted(taken) == ['k0', 'k1', 'k2'] for taken in rounds) and len({tuple(taken) for taken in rounds}) > 1
    mirrored = [int(sample['real_lq'][0, 0, 1]) > int(sample['real_lq'][0, -1, 1]) for sample in samples]
    hr_mirrored = [int(sample['gt'][0, 0, 1]) > int(sample['gt'][0, -1, 1]) for sample in samples]
    assert len(set(mirrored)) == 2 and mirrored != hr_mirrored
    small = write_set(tmp_path / 'small', number=3, size=6)
    with pytest.raises(UserError, match=r'6x6.*8x8 that is needed \(HR is 32x32, the scale 4\)'):
        make(root, UnpairedFaceDataset, dataroot_real_lq=small).check(4)


def mixture(tmp_path: Path, **more: Any) -> SourceTargetDataset:
    """Seven target faces and five source faces of 32×32, written once."""
    roots = {'gt': tmp_path / 'gt.lmdb', 'source': tmp_path / 'source.lmdb'}
    for (name, path), number in zip(roots.items(), (7, 5), strict=True):
        if not path.exists():
            write_set(tmp_path / name, number=number)
    block = {'dataroot_source': str(roots['source']), 'max_source_images': 3, 'source_subset_seed': 2, **more}
    return make(str(roots['gt']), SourceTargetDataset, **block)


def test_a_mixture_takes_the_source_in_its_own_order(tmp_path: Path) -> None:
    dataset = mixture(tmp_path, max_images=4, subset_seed=1, use_hflip=True, use_rot=True)
    dataset.check(4)
    lists = dataset.lists()
    assert len(lists['gt']) == 4 and len(lists['source_gt']) == 3 and lists['source_gt'] != ['k0', 'k1', 'k2']
    samples = [dataset[number] for number in range(60)]
    keys = [sample['source_gt_path'] for sample in samples]
    rounds = [keys[start : start + 3] for start in range(0, 60, 3)]
    assert all(sorted(taken) == lists['source_gt'] for taken in rounds) and len({tuple(taken) for taken in rounds}) > 3
    assert {sample['gt_path'] for sample in samples} == set(lists['gt'])
    pairs = set()
    for sample in samples:
        assert sample['source_gt'].shape == (32, 32, 3) and sample['source_gt'].dtype == np.uint8
        assert int(sample['source_gt'][0, 0, 2]) == int(sample['source_gt_path'][1:])
        pairs.add(tuple(tuple(sample[name][0, 0, :2].tolist()) for name in ('gt', 'source_gt')))
    assert len(pairs) > 8  # four corners each: they would be four if both were turned alike
    again = mixture(tmp_path, max_images=4, subset_seed=1, use_hflip=True, use_rot=True)
    assert np.array_equal(again[37]['source_gt'], samples[37]['source_gt']) and again.lists() == lists


def test_a_mixture_without_source_is_the_target_alone(tmp_path: Path) -> None:
    for root in (str(tmp_path / 'source.lmdb'), None):
        dataset = mixture(tmp_path, max_source_images=0, dataroot_source=root)
        dataset.check(4)
        assert set(dataset[3]) == {'gt', 'gt_path', 'index', 'seed'} and set(dataset.lists()) == {'gt'}
    assert mixture(tmp_path, max_source_images=None).lists()['source_gt'] == [f'k{index}' for index in range(5)]


def test_a_mixture_is_cropped_or_of_one_size(tmp_path: Path) -> None:
    large = write_set(tmp_path / 'large', number=5, size=40)
    with pytest.raises(UserError, match=r"large.*40x40.*32x32.*'gt_size'"):
        mixture(tmp_path, dataroot_source=large).check(4)
    with pytest.raises(UserError, match='40x40.*32x32'):
        mixture(tmp_path, dataroot_source=large)[0]
    dataset = mixture(tmp_path, dataroot_source=large, gt_size=16)
    dataset.check(4)
    corners = {tuple(dataset[number]['source_gt'][0, 0, :2].tolist()) for number in range(30)}
    assert len(corners) > 20 and dataset[0]['source_gt'].shape == (16, 16, 3)
    small = write_set(tmp_path / 'small', number=5, size=12)
    with pytest.raises(UserError, match=r'12x12.*16x16'):
        mixture(tmp_path, dataroot_source=small, gt_size=16).check(4)


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ({'dataroot_source': None}, "'dataroot_source' is missing.*'max_source_images: 0'"),
        ({'max_source_images': 6}, "wants 6 images.*holds 5; lower 'max_source_images'"),
        ({'max_source_images': -1}, "'max_source_images'"),
        ({'phase': 'val'}, 'take a FaceDataset of each'),
    ],
)
def test_wrong_mixtures_are_named(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mixture(tmp_path, **more)


def test_lists_say_which_images_are_used(tmp_path: Path) -> None:
    root = write_set(tmp_path / 'gt', number=6)
    lq = write_set(tmp_path / 'lq', number=3, size=8)
    keys = ['k0', 'k1', 'k2']
    assert make(root, max_images=3).lists() == {'gt': keys}
    assert real_dataset(lq).lists() == {'lq': keys}
    assert make(root, UnpairedFaceDataset, dataroot_real_lq=lq, max_images=2).lists() == {
        'gt': keys[:2],
        'real_lq': keys,
    }
    few = write_set(tmp_path / 'few', number=3)
    assert make(few, dataroot_lq=lq).lists() == {'gt': keys, 'lq': keys}


def real_dataset(root: str, **more: Any) -> RealFaceDataset:
    block = {'name': 'r', 'type': 'RealFaceDataset', 'phase': 'val', 'scale': 4, 'dataroot_lq': root}
    return RealFaceDataset({**block, **more})


def test_real_lr_alone(tmp_path: Path) -> None:
    dataset = real_dataset(write_set(tmp_path / 'lq', number=3, size=10), max_images=2)
    dataset.check(4)
    assert not dataset.has_gt and FaceDataset.has_gt and UnpairedFaceDataset.has_gt
    for index in range(2):
        sample = dataset[index]
        assert set(sample) == {'lq', 'lq_path', 'index', 'seed'}
        assert np.array_equal(sample['lq'], coordinates(10, 10, index)) and sample['lq_path'] == f'k{index}'
    with pytest.raises(UserError, match='take UnpairedFaceDataset'):
        real_dataset(str(tmp_path / 'lq.lmdb'), phase='train')
    with pytest.raises(UserError, match="unknown key 'use_hflip'"):
        real_dataset(str(tmp_path / 'lq.lmdb'), use_hflip=True)


def test_a_part_of_the_set(tmp_path: Path) -> None:
    root = write_set(tmp_path / 'gt', number=9)
    assert [make(root, max_images=3)[index]['gt_path'] for index in range(3)] == ['k0', 'k1', 'k2']
    chosen = make(root, max_images=4, subset_seed=1)
    keys = [chosen[index]['gt_path'] for index in range(4)]
    assert keys == sorted(set(keys)) and keys != ['k0', 'k1', 'k2', 'k3']
    with pytest.raises(UserError, match='wants 10 images'):
        make(root, max_images=10)


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ({'use_hflp': True}, "unknown key 'use_hflp'. Did you mean 'use_hflip'"),
        ({'mean': [0.5, 0.5, 0.5]}, "unknown key 'mean'"),
        ({'gt_size': '16'}, "'gt_size'"),
        ({'gt_size': 18}, "not a multiple of 'scale', which is 4"),
        ({'gt_step': 1}, "add 'gt_size'"),
        ({'gt_size': 16, 'gt_step': 2, 'dataroot_lq': 'lq'}, "'gt_step' 2 is not a multiple of 'scale', which is 4"),
        ({'batch_size_per_gpu': 0}, "'batch_size_per_gpu'"),
        ({'io_backend': {'type': 'disk'}}, 'io_backend'),
        ({'views': ['parsing']}, "'parsing'"),
        ({'phase': 'val', 'use_hflip': True}, 'for training'),
        ({'canny': {}}, "add 'canny' to 'views'"),
        ({'views': ['canny'], 'canny': {'scale': [1]}}, "unknown key 'canny.scale'. Did you mean 'scales'"),
        ({'views': ['canny'], 'canny': {'thresholds': [200, 100]}}, r"'canny.thresholds'.*low <= high.*\[200, 100\]"),
        ({'views': ['canny'], 'canny': {'thresholds': 'mean'}}, "'canny.thresholds'.*'otsu'.*'mean'"),
        ({'views': ['canny'], 'canny': {'scales': [1, 1]}}, "'canny.scales'.*each once"),
        ({'views': ['canny'], 'canny': {'scales': [3]}, 'gt_size': 16}, 'not a multiple of 3'),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    root = write_set(tmp_path / 'gt')
    with pytest.raises(UserError, match=message):
        make(root, **more)


def test_check_finds_what_does_not_fit(tmp_path: Path) -> None:
    sizes = {'a': (32, 32), 'b': (28, 32), 'c': (30, 32)}
    write_folder(tmp_path / 'mixed', [Face(key, np.zeros((*size, 3), np.uint8)) for key, size in sizes.items()])
    root = str(tmp_path / 'mixed')
    with pytest.raises(UserError, match=r'b\.png.*32x28.*smaller|needed'):
        make(root, gt_size=32).check(4)
    with pytest.raises(UserError, match=r'c\.png.*multiple of the scale 4'):
        make(root, phase='val').check(4)
    with pytest.raises(UserError, match=r'b\.png.*gt_size'):
        make(root, max_images=2).check(4)
    make(root, gt_size=16).check(4)
    with pytest.raises(UserError, match=r'b\.png.*batch'):
        dataset = make(root, max_images=2)
        out = {name: np.empty((2, *slot.shape), slot.dtype) for name, slot in dataset.slots(0).items()}
        dataset.fill([0, 1], out)


def test_torchs_own_loader_takes_it(tmp_path: Path) -> None:
    dataset = make(write_set(tmp_path / 'gt', views=True), views=['parsing', 'landmarks', 'identity'])
    batches = list(DataLoader(dataset, batch_size=2, num_workers=2))
    assert [batch['gt'].shape[0] for batch in batches] == [2, 2, 1]
    assert sorted(key for batch in batches for key in batch['gt_path']) == [f'k{index}' for index in range(5)]


def test_unpaired_lr_is_cropped_to_hr_that_is_no_square(tmp_path: Path) -> None:
    hr, lq = str(tmp_path / 'hr'), write_set(tmp_path / 'lq', size=20)
    write_folder(Path(hr), [Face(f'k{index}', coordinates(64, 32, index)) for index in range(4)])
    dataset = make(hr, UnpairedFaceDataset, dataroot_real_lq=lq)
    dataset.check(4)
    corners = set()
    for number in range(40):
        image = dataset[number]['real_lq']
        top, left = image[0, 0, :2].tolist()
        assert np.array_equal(image[..., :2], coordinates(20, 20)[top : top + 16, left : left + 8, :2])
        corners.add((top, left))
    assert {top for top, _ in corners} == set(range(5)) and {left for _, left in corners} == set(range(13))
