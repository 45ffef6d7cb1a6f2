"""What BasicSR 1.4.2's own training does silently wrong, shown on BasicSR first, then that ours does not do it."""

from __future__ import annotations

import itertools
import logging
import os
import random
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.data import build_dataloader
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.data_util import paths_from_folder
from basicsr.models.base_model import BaseModel
from basicsr.train import create_train_val_dataloader, train_pipeline
from basicsr.utils.options import ordered_yaml
from torch import nn
from torch.utils.data import Dataset

from fsr_plugins import config, pipeline
from fsr_plugins.config.yamlfile import read
from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.errors import UserError
from fsr_plugins.models.ema import MovingAverage
from fsr_plugins.models.optim import Schedule, build_scheduler
from fsr_plugins.stores.opening import open_store

IMAGES = 7


@pytest.fixture(scope='module')
def faces(tmp_path_factory) -> Path:
    """A folder of seven 16×16 images, dark on the left and bright on the right, which shows what is mirrored."""
    folder = tmp_path_factory.mktemp('faces')
    for index in range(IMAGES):
        image = np.full((16, 16, 3), 20 * index, np.uint8)
        image[:, 8:] += 100
        cv2.imwrite(str(folder / f'{index}.png'), image)
    return folder


def face_dataset(faces: Path, **options) -> FaceDataset:
    """The folder as our training set."""
    return FaceDataset({'name': 'f', 'phase': 'train', 'scale': 4, 'dataroot_gt': str(faces), **options})


class WithStatistics(nn.Module):
    """A network with BN, whose running statistics are buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.norm(image)


def test_averaged_networks_keep_up_with_bn_statistics():
    images = 5 + torch.rand(4, 3, 8, 8)
    basicsr = BaseModel({'num_gpu': 0, 'is_train': True})
    basicsr.net_g, basicsr.net_g_ema = WithStatistics(), WithStatistics()
    ours = MovingAverage(basicsr.net_g, 0.5)
    for _ in range(50):
        basicsr.net_g(images)
        basicsr.model_ema(0.5)
        ours.update(basicsr.net_g)
    mean = images.mean((0, 2, 3))
    torch.testing.assert_close(basicsr.net_g_ema.norm.running_mean, torch.zeros(3))
    torch.testing.assert_close(ours.net.norm.running_mean, mean, rtol=0.01, atol=0)


class Drawing(Dataset):
    """Stands for a dataset that augments: a sample is what Python's and NumPy's generators draw."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[float, float]:
        return random.random(), np.random.rand()


def test_augmentation_differs_from_epoch_to_epoch(faces):
    options = {'phase': 'train', 'batch_size_per_gpu': 8, 'num_worker_per_gpu': 1}
    loader = build_dataloader(Drawing(), options, num_gpu=0, seed=0)
    first, second = ([values.tolist() for values in next(iter(loader))] for _ in range(2))
    assert first == second

    dataset = face_dataset(faces, use_hflip=True)
    epochs = []
    with TrainLoader(dataset, IMAGES, seed=0) as ours:
        for batch in itertools.islice(ours, 6):
            flipped = (batch['gt'][:, 0, 0, 0] > batch['gt'][:, 0, -1, 0]).tolist()
            epochs.append(dict(zip(batch['index'].tolist(), flipped, strict=True)))
    assert all(sorted(epoch) == list(range(IMAGES)) for epoch in epochs)
    assert len({tuple(sorted(epoch.items())) for epoch in epochs}) > 3


def test_order_follows_the_seed(faces):
    sampler = EnlargedSampler(Drawing(), 1, 0)
    orders = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        orders.append(list(sampler))
    assert orders[0] == orders[1]

    ours = []
    for seed in (0, 1):
        with TrainLoader(face_dataset(faces), IMAGES, seed=seed) as loader:
            ours.append(next(iter(loader))['index'].tolist())
    assert ours[0] != ours[1]


def test_rate_is_whole_after_the_warm_up():
    rate, warm_up = 1e-3, 5
    block = {'type': 'MultiStepLR', 'milestones': [15], 'gamma': 0.5}

    def optimizer() -> torch.optim.Optimizer:
        return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate)

    basicsr = BaseModel({'num_gpu': 0, 'is_train': True, 'train': {'scheduler': dict(block)}})
    basicsr.optimizers = [optimizer()]
    basicsr.setup_schedulers()
    own = optimizer()
    schedule = Schedule([(own, build_scheduler(block, own))])
    basicsrs, ours = [], []
    for iteration in range(1, 21):
        basicsr.optimizers[0].step()
        basicsr.update_learning_rate(iteration, warm_up)
        basicsrs += basicsr.get_current_learning_rate()
        own.step()
        schedule.set(iteration, warm_up)
        ours.append(own.param_groups[0]['lr'])
    assert basicsrs[4:14] == pytest.approx([rate * 4 / 5] * 10)
    assert ours == pytest.approx([rate * k / warm_up for k in range(1, 5)] + [rate] * 11 + [rate / 2] * 5)


@pytest.mark.parametrize('batch_size', [4, 16])
def test_training_lasts_as_long_as_it_should(faces, batch_size):
    iterations = 100
    train = {
        'name': 'f', 'type': 'PairedImageDataset', 'phase': 'train', 'scale': 1, 'dataroot_gt': str(faces),
        'dataroot_lq': str(faces), 'filename_tmpl': '{}', 'io_backend': {'type': 'disk'}, 'use_hflip': False,
        'gt_size': 16, 'batch_size_per_gpu': batch_size, 'num_worker_per_gpu': 0,
    }  # fmt: skip
    opt = {
        'datasets': {'train': train}, 'world_size': 1, 'rank': 0, 'num_gpu': 0, 'dist': False, 'manual_seed': 0,
        'train': {'total_iter': iterations},
    }  # fmt: skip
    loader, _, _, epochs, _ = create_train_val_dataloader(opt, logging.getLogger('quiet'))
    # Its loop runs over range(epochs + 1).
    assert len(loader) * (epochs + 1) == {4: 51, 16: 0}[batch_size]

    with TrainLoader(face_dataset(faces), batch_size, seed=0) as ours:
        batches = list(itertools.islice(ours, iterations))
    assert [len(batch['index']) for batch in batches] == [batch_size] * iterations
    seen = np.bincount(np.concatenate([batch['index'].numpy() for batch in batches]))
    assert seen.max() - seen.min() <= 1


def test_folders_are_sorted(faces, monkeypatch):
    scandir, listdir = os.scandir, os.listdir

    class Backwards:
        """As os.scandir gives it, in the other order."""

        def __init__(self, path: str = '.') -> None:
            with scandir(path) as entries:
                self.entries = iter(sorted(entries, key=lambda entry: entry.name, reverse=True))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.entries)

    monkeypatch.setattr(os, 'scandir', Backwards)
    monkeypatch.setattr(os, 'listdir', lambda path='.': sorted(listdir(path), reverse=True))
    names = [str(index) for index in range(IMAGES)]
    assert [Path(path).stem for path in paths_from_folder(str(faces))] == names[::-1]
    assert list(open_store(str(faces)).keys) == names


def test_option_files_hold_no_code(tmp_path):
    made = tmp_path / 'made'
    file = tmp_path / 'options.yml'
    file.write_text(f'name: x\nscale: !!python/object/apply:os.mkdir ["{made}"]\n')
    yaml.load(file.read_text(), Loader=ordered_yaml()[0])
    assert made.is_dir()
    made.rmdir()
    with pytest.raises(UserError, match=r'options\.yml:2: the tag .*os\.mkdir'):
        read(file)
    assert not made.exists()


@pytest.fixture
def finished_run(tmp_path, monkeypatch) -> Path:
    """A working directory with the results of an earlier run called ``x``."""
    folder = tmp_path / 'experiments' / 'x'
    folder.mkdir(parents=True)
    (folder / 'net_g_latest.pth').write_text('weeks of work')
    monkeypatch.chdir(tmp_path)
    return folder


def tree(folder: Path) -> set[str]:
    """Everything below a folder, by relative name."""
    return {str(path.relative_to(folder)) for path in folder.rglob('*')}


@pytest.mark.parametrize(
    'mistake',
    [{'type': 'FaceDatasett'}, {'dataroot_gt': 'no/such/folder'}, {'use_hflop': True}],
    ids=['type', 'folder', 'key'],
)
def test_nothing_is_moved_or_written_before_all_is_checked(finished_run, faces, mistake):
    dataset = {'type': 'FaceDataset', 'dataroot_gt': str(faces), 'batch_size_per_gpu': 2, **mistake}
    options = {
        'name': 'x', 'scale': 4, 'num_gpu': 0, 'model_type': 'SupervisedModel',
        'degradation': {'type': 'BicubicDown', 'scale': 4}, 'datasets': {'train': dataset},
        'network_g': {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 4},
        'train': {'total_iter': 1, 'optim': {'type': 'Adam', 'lr': 1e-3}, 'pixel_opt': {'type': 'L1Loss'}},
    }  # fmt: skip
    file = finished_run.parents[1] / 'x.yml'
    file.write_text(yaml.safe_dump(options))
    before = tree(finished_run.parent)
    with pytest.raises(
        UserError, match=str(next(iter(mistake.values()))) if 'use_hflop' not in mistake else 'use_hflop'
    ):
        pipeline.run(config.load(file))
    assert tree(finished_run.parent) == before


def test_basicsr_archives_the_earlier_run_before_it_looks_at_the_data(finished_run, monkeypatch):
    file = finished_run.parents[1] / 'x.yml'
    options = {
        'name': 'x', 'num_gpu': 0, 'manual_seed': 0, 'path': {}, 'logger': {'use_tb_logger': False},
        'datasets': {'train': {'name': 'f', 'type': 'FaceDatasett'}},
    }  # fmt: skip
    file.write_text(yaml.safe_dump(options))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
    monkeypatch.setattr('basicsr.train.get_root_logger', lambda **_: logging.getLogger('quiet'))
    with pytest.raises(KeyError, match='FaceDatasett'):
        train_pipeline(str(file.parent))
    assert not (finished_run / 'net_g_latest.pth').exists()
    assert any('_archived_' in name for name in tree(finished_run.parent))
