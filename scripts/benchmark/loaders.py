"""Pairs a second as float tensors on the device: ``loader_folder``, ``loader_lmdb``, ``loader_synth``.

One training process on each side, once without and once with two workers (BasicSR: processes of torch's DataLoader;
ours: decoding threads, of which there is one even without). The ratio is that of each side's better count, so that
neither is measured at a setting that does not suit it. Batches of 16, half of the images mirrored on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.utils.data import Dataset

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR

from basicsr.data import build_dataloader  # isort: skip
from basicsr.data.data_sampler import EnlargedSampler  # isort: skip
from basicsr.data.paired_image_dataset import PairedImageDataset  # isort: skip
from basicsr.data.transforms import augment  # isort: skip
from basicsr.models.sr_model import SRModel  # isort: skip
from basicsr.utils import FileClient, imfrombytes, img2tensor, scandir  # isort: skip
from basicsr.utils.matlab_functions import imresize  # isort: skip

from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.models import SupervisedModel

from .faces import GT_SIZE, SCALE, Faces
from .timing import Comparison, Effort, Pair, alternate, synchronise

Batch = dict[str, Any]

BATCH = 16
# Workers first: a process that has an LMDB open cannot fork readers of the same one.
WORKERS = (2, 0)

OPENCV_THREADS = cv2.getNumThreads()

NETWORK = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': SCALE}


class SynthesisDataset(Dataset[dict[str, Any]]):
    """LQ by BasicSR's ``imresize`` while reading, written as its own datasets are."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        self.file_client: FileClient | None = None
        self.io_backend_opt = opt['io_backend']
        self.paths = sorted(scandir(opt['dataroot_gt'], full_path=True))

    def __getitem__(self, index: int) -> dict[str, Any]:
        if self.file_client is None:
            self.file_client = FileClient(self.io_backend_opt.pop('type'), **self.io_backend_opt)
        path = self.paths[index]
        gt = imfrombytes(self.file_client.get(path, 'gt'), float32=True)
        gt = augment(gt, self.opt['use_hflip'], self.opt['use_rot'])
        gt, lq = img2tensor([gt, imresize(gt, 1 / self.opt['scale'])], bgr2rgb=True, float32=True)
        return {'lq': lq, 'gt': gt, 'gt_path': path}

    def __len__(self) -> int:
        return len(self.paths)


def basicsr_options(gt: Path, lq: Path, backend: str) -> dict[str, Any]:
    """The dataset block BasicSR reads pairs with."""
    return {
        'phase': 'train', 'scale': SCALE, 'gt_size': GT_SIZE, 'use_hflip': True, 'use_rot': False,
        'dataroot_gt': str(gt), 'dataroot_lq': str(lq), 'io_backend': {'type': backend}, 'batch_size_per_gpu': BATCH,
    }  # fmt: skip


def our_dataset(gt: Path) -> FaceDataset:
    """Our reading of GT alone, mirrored as BasicSR mirrors."""
    options = {'phase': 'train', 'scale': SCALE, 'gt_size': GT_SIZE, 'use_hflip': True}
    return FaceDataset({**options, 'dataroot_gt': str(gt)})


def feeders(device: torch.device) -> tuple[SupervisedModel, SRModel]:
    """Both sides' models, of which ``feed_data`` is used: ours makes LQ and floats of uint8 GT on the device."""
    common = {'is_train': False, 'dist': False, 'rank': 0, 'num_gpu': int(device.type == 'cuda'), 'path': {}}
    degradation = {'type': 'BicubicDown', 'scale': SCALE}
    ours = SupervisedModel({**common, 'scale': SCALE, 'network_g': dict(NETWORK), 'degradation': degradation})
    return ours, SRModel({**common, 'network_g': dict(NETWORK)})


def rate(batches: Iterator[Batch], feed: Callable[[Batch], None], device: torch.device, effort: Effort) -> float:
    """Pairs a second over ``effort.batches``, after some that are not counted."""
    for _ in range(effort.warm):
        feed(next(batches))
    synchronise(device)
    started, pairs = time.perf_counter(), 0
    for _ in range(effort.batches):
        batch = next(batches)
        feed(batch)
        pairs += len(batch['gt'])
    synchronise(device)
    return pairs / (time.perf_counter() - started)


class LoaderBenchmark:
    """Measures both sides' loaders over the same faces."""

    def __init__(self, device: torch.device, effort: Effort) -> None:
        self.device, self.effort = device, effort
        self.ours, self.basicsr = feeders(device)

    def our_run(self, dataset: FaceDataset, workers: int) -> float:
        """One run of TrainLoader and ``FSRModel.feed_data``."""
        pin = self.device.type == 'cuda'
        with TrainLoader(dataset, BATCH, threads=workers, pin_memory=pin) as loader:
            return rate(iter(loader), self.ours.feed_data, self.device, self.effort)

    def basicsr_run(self, dataset: Any, workers: int) -> float:
        """One run of ``build_dataloader`` and ``SRModel.feed_data``; long enough never to begin a new epoch."""
        cv2.setNumThreads(OPENCV_THREADS)  # our loader has turned OpenCV's own threads off
        needed = (self.effort.warm + self.effort.batches) * BATCH
        sampler = EnlargedSampler(dataset, 1, 0, needed // len(dataset) + 1)
        options = {**dataset.opt, 'num_worker_per_gpu': workers, 'pin_memory': self.device.type == 'cuda'}
        loader = build_dataloader(dataset, options, num_gpu=0, sampler=sampler, seed=0)
        return rate(iter(loader), self.basicsr.feed_data, self.device, self.effort)

    def compare(self, name: str, gt: Path, dataset: Any, how: str) -> Comparison:
        """Both sides at every count of workers."""
        ours = our_dataset(gt)
        pairs: dict[int, Pair] = {}
        for workers in WORKERS:
            pairs[workers] = alternate(
                lambda count=workers: self.our_run(ours, count),
                lambda count=workers: self.basicsr_run(dataset, count),
                self.effort.runs,
            )
        details = {f'{count} workers': {'ours': pair.ours, 'basicsr': pair.basicsr} for count, pair in pairs.items()}
        best = Pair(max(pair.ours for pair in pairs.values()), max(pair.basicsr for pair in pairs.values()))
        return Comparison(name, 'pairs/s', best.ours, best.basicsr, how, details=details)


def loader_folder(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """Folders of PNGs: BasicSR reads GT and LQ, ours reads GT."""
    dataset = PairedImageDataset(basicsr_options(faces.gt, faces.lq, 'disk'))
    how = 'PNG folders; BasicSR reads GT and LQ, ours reads GT and makes LQ'
    return LoaderBenchmark(device, effort).compare('loader_folder', faces.gt, dataset, how)


def loader_lmdb(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """LMDBs: BasicSR's hold PNGs of GT and LQ, ours raw GT."""
    dataset = PairedImageDataset(basicsr_options(faces.gt_lmdb, faces.lq_lmdb, 'lmdb'))
    how = 'BasicSR: LMDBs of PNGs, GT and LQ; ours: raw LMDB of GT, LQ is made'
    return LoaderBenchmark(device, effort).compare('loader_lmdb', faces.raw_lmdb, dataset, how)


def loader_synth(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """Folder of GT alone on both sides; BasicSR reduces each image by its ``imresize`` while reading."""
    dataset = SynthesisDataset(basicsr_options(faces.gt, faces.lq, 'disk'))
    how = 'PNG folder of GT; BasicSR reduces in __getitem__, ours in batches on the device'
    return LoaderBenchmark(device, effort).compare('loader_synth', faces.gt, dataset, how)
