"""Loaders: every image as often as it should be, in an order that can be taken up anywhere, and clean ends."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fsr_plugins.data.datasets import FaceDataset, SourceTargetDataset
from fsr_plugins.data.loader import EvalLoader, TrainLoader
from fsr_plugins.data.real_dataset import RealFaceDataset
from fsr_plugins.errors import UserError
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face

pytestmark = pytest.mark.usefixtures('own_cache')


@pytest.fixture
def dataset(tmp_path: Path) -> FaceDataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
    write_lmdb(tmp_path / 'gt.lmdb', [Face(f'k{i}', image) for i, image in enumerate(images)])
    return open_set(tmp_path / 'gt.lmdb', use_hflip=True, gt_size=8)


def open_set(path: Path, phase: str = 'train', **more: Any) -> FaceDataset:
    block = {'name': 'x', 'type': 'FaceDataset', 'phase': phase, 'scale': 4, 'dataroot_gt': str(path)}
    return FaceDataset({**block, **more})


def take(loader: TrainLoader, number: int) -> list[dict[str, Any]]:
    with loader:
        return list(itertools.islice(loader, number))


def assert_same(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys() and a['gt_path'] == b['gt_path']
        assert all(torch.equal(a[name], b[name]) for name in ('gt', 'index', 'seed'))


def test_batches_are_samples(dataset: FaceDataset) -> None:
    loader = TrainLoader(dataset, 5, seed=3, threads=2)
    for batch, number in zip(take(loader, 4), range(4), strict=True):
        assert batch['gt'].shape == (5, 8, 8, 3) and batch['gt'].dtype == torch.uint8
        assert batch['index'].dtype == batch['seed'].dtype == torch.int64
        for row, sample in enumerate(dataset[i] for i in loader.numbers(number)):
            assert np.array_equal(batch['gt'][row].numpy(), sample['gt'])
            assert int(batch['seed'][row]) == sample['seed'] and batch['gt_path'][row] == sample['gt_path']


@pytest.mark.parametrize('batch_size', [1, 3, 7, 20])
def test_every_index_once_an_epoch(dataset: FaceDataset, batch_size: int) -> None:
    batches = take(TrainLoader(dataset, batch_size, seed=1), 42)
    indices = torch.cat([batch['index'] for batch in batches]).tolist()
    epochs = [indices[start : start + 7] for start in range(0, len(indices) - 6, 7)]
    assert len(epochs) >= 6 and all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert all(len(batch['index']) == batch_size for batch in batches)


@pytest.mark.parametrize('start', [1, 5, 1000])
def test_a_run_is_taken_up_anywhere(dataset: FaceDataset, start: int) -> None:
    whole = take(TrainLoader(dataset, 4, seed=2), start + 6)
    assert_same(take(TrainLoader(dataset, 4, seed=2, start=start, threads=3, prefetch=1), 6), whole[start:])


def test_a_mixture_is_taken_up_anywhere(tmp_path: Path, dataset: FaceDataset) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    write_lmdb(tmp_path / 'source.lmdb', [Face(f's{i}', image) for i, image in enumerate(images)])
    more = {'type': 'SourceTargetDataset', 'dataroot_source': str(tmp_path / 'source.lmdb')}
    mixed = SourceTargetDataset({**dataset.opt, **more})
    whole = take(TrainLoader(mixed, 4, seed=2), 9)
    later = take(TrainLoader(mixed, 4, seed=2, start=5, threads=3, prefetch=1), 4)
    assert_same(later, whole[5:])
    for batch, same in zip(later, whole[5:], strict=True):
        assert batch['source_gt'].shape == (4, 8, 8, 3) and torch.equal(batch['source_gt'], same['source_gt'])
        assert batch['source_gt_path'] == same['source_gt_path']


def test_two_processes_share_what_one_does(dataset: FaceDataset) -> None:
    one = take(TrainLoader(dataset, 6, seed=4), 5)
    two = [take(TrainLoader(dataset, 3, seed=4, rank=rank, world_size=2), 5) for rank in range(2)]
    for whole, first, second in zip(one, *two, strict=True):
        assert torch.equal(whole['gt'], torch.cat([first['gt'], second['gt']]))
        assert torch.equal(whole['seed'], torch.cat([first['seed'], second['seed']]))
    assert TrainLoader(dataset, 3, world_size=2).iters_per_epoch == pytest.approx(7 / 6)


def test_order_follows_the_seed(dataset: FaceDataset) -> None:
    epochs = [take(TrainLoader(dataset, 7, seed=seed), 1)[0] for seed in range(4)]
    orders = {tuple(epoch['index'].tolist()) for epoch in epochs}
    assert len(orders) == 4


def test_eval_covers_each_image_once(tmp_path: Path) -> None:
    sizes = [16, 8, 16, 12, 8, 16, 8, 20, 24, 28, 32]
    write_folder(tmp_path / 'gt', [Face(f'k{i:02d}', np.full((s, s, 3), i, np.uint8)) for i, s in enumerate(sizes)])
    dataset = open_set(tmp_path / 'gt', 'val')
    for world in (1, 2, 3):
        seen = []
        for rank in range(world):
            with EvalLoader(dataset, 2, rank=rank, world_size=world) as loader:
                batches = list(loader)
                assert len(batches) == len(loader)
            mine = [index for batch in batches for index in batch['index'].tolist()]
            assert abs(len(mine) - len(sizes) / world) < 1  # many sizes of few images are dealt evenly
            for batch in batches:
                expected = [np.full((sizes[i], sizes[i], 3), i) for i in batch['index'].tolist()]
                assert np.array_equal(batch['gt'].numpy(), np.stack(expected))
            seen += mine
        assert sorted(seen) == list(range(len(sizes)))


def test_a_dataset_of_samples_is_loaded_too() -> None:
    samples = [{'lq': torch.full((3, 2, 2), float(i)), 'lq_path': f'{i}'} for i in range(5)]
    batches = take(TrainLoader(samples, 2, seed=0), 5)
    assert sorted(int(value) for batch in batches for value in batch['lq'][:, 0, 0, 0]) == sorted([0, 1, 2, 3, 4] * 2)
    assert [batch['lq_path'] for batch in EvalLoader(samples, 3)] == [[f'{i}'] for i in range(5)]


def test_what_a_thread_raises_reaches_the_consumer(tmp_path: Path) -> None:
    write_folder(tmp_path / 'gt', [Face(f'k{i}', np.zeros((8, 8, 3), np.uint8)) for i in range(6)])
    dataset = open_set(tmp_path / 'gt', gt_size=8)
    (tmp_path / 'gt' / 'images' / 'k3.png').write_bytes(b'nothing')
    with TrainLoader(dataset, 2) as loader, pytest.raises(UserError, match=r'k3\.png'):
        list(itertools.islice(loader, 10))
    # And the loader can be used again.
    (tmp_path / 'gt' / 'images' / 'k3.png').write_bytes((tmp_path / 'gt' / 'images' / 'k2.png').read_bytes())
    assert len(take(loader, 10)) == 10


def test_wrong_numbers_are_refused(dataset: FaceDataset) -> None:
    with pytest.raises(UserError, match='batch_size_per_gpu'):
        TrainLoader(dataset, 0)
    with pytest.raises(ValueError, match='rank'):
        TrainLoader(dataset, 1, rank=2, world_size=2)


@pytest.mark.slow
def test_the_interpreter_ends_while_batches_wait(dataset: FaceDataset) -> None:
    script = f"""
from fsr_plugins.data import FaceDataset, TrainLoader
dataset = FaceDataset({{**{dataset.opt!r}}})
stream = iter(TrainLoader(dataset, 4, threads=2, prefetch=3))
next(stream)
"""
    done = subprocess.run([sys.executable, '-c', script], timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('world', [1, 3])
def test_real_lr_of_several_sizes_comes_once_in_batches_of_one_size(tmp_path: Path, world: int) -> None:
    sizes = [(8, 8), (8, 12), (8, 8), (12, 8), (8, 8), (8, 12), (8, 8)]
    write_folder(tmp_path / 'lq', [Face(f'k{i}', np.full((*size, 3), i, np.uint8)) for i, size in enumerate(sizes)])
    block = {'name': 'r', 'type': 'RealFaceDataset', 'phase': 'val', 'scale': 4, 'dataroot_lq': str(tmp_path / 'lq')}
    seen = []
    for rank in range(world):
        with EvalLoader(RealFaceDataset(block), 3, rank=rank, world_size=world) as loader:
            for batch in loader:
                assert set(batch) == {'lq', 'lq_path', 'index', 'seed'} and batch['lq'].dtype == torch.uint8
                for image, key, index in zip(batch['lq'], batch['lq_path'], batch['index'].tolist(), strict=True):
                    assert key == f'k{index}' and image.shape == (*sizes[index], 3) and bool((image == index).all())
                    seen.append(index)
            if world == 1:
                assert len(loader) == 2 + 1 + 1  # four of one size, two and one of the others
    assert sorted(seen) == list(range(7))
