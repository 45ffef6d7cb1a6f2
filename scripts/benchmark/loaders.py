"""Pairs a second as float tensors on the device: ``loader_folder``, ``loader_lmdb``, ``loader_synth``.

One training process on each side, once without and once with two workers (BasicSR: processes of torch's DataLoader;
ours: decoding threads, of which there is one even without). The ratio is that of each side's better count, so that
neither is measured at a setting that does not suit it; both counts are in the JSON file. Batches of 16, half of the
images mirrored on both sides.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR

from basicsr.data import build_dataloader  # isort: skip
from basicsr.data.data_sampler import EnlargedSampler  # isort: skip
from basicsr.data.paired_image_dataset import PairedImageDataset  # isort: skip
from basicsr.data.transforms import augment  # isort: skip
from basicsr.models.sr_model import SRModel  # isort: skip
from basicsr.utils import FileClient, get_root_logger, imfrombytes, img2tensor, scandir  # isort: skip
from basicsr.utils.matlab_functions import imresize  # isort: skip

from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.engine import distributed
from fsr_plugins.models import SupervisedModel

from .faces import GT_SIZE, SCALE, Faces
from .process import Side
from .timing import Comparison, Effort, Pair, alternate, synchronise

Batch = dict[str, Any]

BATCH = 16
# Workers first: a process that has an LMDB open cannot fork readers of the same one.
WORKERS = (2, 0)

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


def our_dataset(gt: Path, cache: str) -> FaceDataset:
    """Our reading of GT alone, mirrored as BasicSR mirrors."""
    options = {'phase': 'train', 'scale': SCALE, 'gt_size': GT_SIZE, 'use_hflip': True, 'cache': cache}
    return FaceDataset({**options, 'dataroot_gt': str(gt)})


def _model_options(device: torch.device) -> dict[str, Any]:
    common = {'is_train': False, 'dist': False, 'rank': 0, 'num_gpu': int(device.type == 'cuda'), 'path': {}}
    return {**common, 'scale': SCALE, 'network_g': dict(NETWORK)}


def our_model(device: torch.device) -> SupervisedModel:
    """Ours, of which ``feed_data`` is used: it makes LQ and floats of uint8 GT on the device."""
    return SupervisedModel({**_model_options(device), 'degradation': {'type': 'BicubicDown', 'scale': SCALE}})


def basicsr_model(device: torch.device) -> SRModel:
    """BasicSR's, of which ``feed_data`` is used."""
    get_root_logger(log_level=logging.WARNING)
    return SRModel(_model_options(device))


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


class OurLoader:
    """TrainLoader and ``FSRModel.feed_data`` in a process set up as our pipeline does.

    Args:
        later: measure epochs after the first, in which decoded pixels are kept.
    """

    def __init__(self, device: torch.device, effort: Effort, gt: Path, later: bool = False) -> None:
        distributed.start('none', int(device.type == 'cuda'))
        self.device, self.effort = device, effort
        self.model, self.dataset = our_model(device), our_dataset(gt, 'auto' if later else 'off')
        if later:
            with TrainLoader(self.dataset, BATCH, threads=2) as loader:
                for _ in zip(range(math.ceil(len(self.dataset) / BATCH)), loader, strict=False):
                    pass

    def run(self, workers: int) -> float:
        """Pairs a second."""
        pin = self.device.type == 'cuda'
        with TrainLoader(self.dataset, BATCH, threads=workers, pin_memory=pin) as loader:
            return rate(iter(loader), self.model.feed_data, self.device, self.effort)


class BasicSRLoader:
    """``build_dataloader`` and ``SRModel.feed_data``."""

    def __init__(
        self, device: torch.device, effort: Effort, factory: Callable[[dict[str, Any]], Any], options: dict[str, Any]
    ) -> None:
        self.device, self.effort = device, effort
        self.model, self.dataset = basicsr_model(device), factory(options)

    def run(self, workers: int) -> float:
        """Pairs a second; long enough a sampler never to begin a new epoch."""
        needed = (self.effort.warm + self.effort.batches) * BATCH
        sampler = EnlargedSampler(self.dataset, 1, 0, needed // len(self.dataset) + 1)
        options = {**self.dataset.opt, 'num_worker_per_gpu': workers, 'pin_memory': self.device.type == 'cuda'}
        loader = build_dataloader(self.dataset, options, num_gpu=0, sampler=sampler, seed=0)
        return rate(iter(loader), self.model.feed_data, self.device, self.effort)


def compare(
    name: str,
    device: torch.device,
    effort: Effort,
    gt: Path,
    basicsr: tuple[Callable[[dict[str, Any]], Any], dict[str, Any]],
    how: str,
    later: bool = False,
) -> Comparison:
    """Both sides, each in a process of its own, at every count of workers.

    Args:
        gt: where ours reads.
        basicsr: BasicSR's dataset class and its options.
        later: see :class:`OurLoader`.
    """
    pairs: dict[int, Pair] = {}
    with ExitStack() as stack:
        ours = stack.enter_context(Side(OurLoader, device, effort, gt, later))
        theirs = stack.enter_context(Side(BasicSRLoader, device, effort, *basicsr))
        for workers in WORKERS:
            pairs[workers] = alternate(
                lambda count=workers: ours.call('run', count),
                lambda count=workers: theirs.call('run', count),
                effort.runs,
            )
    details = {f'{count} workers': {'ours': pair.ours, 'basicsr': pair.basicsr} for count, pair in pairs.items()}
    best = Pair(max(pair.ours for pair in pairs.values()), max(pair.basicsr for pair in pairs.values()))
    return Comparison(name, 'pairs/s', best.ours, best.basicsr, how, details=details)


def loader_folder(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """Folders of PNGs: BasicSR reads GT and LQ, ours reads GT."""
    basicsr = PairedImageDataset, basicsr_options(faces.gt, faces.lq, 'disk')
    how = 'PNG folders; BasicSR reads GT and LQ, ours reads GT and makes LQ'
    return compare('loader_folder', device, effort, faces.gt, basicsr, how)


def loader_folder_later(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """:func:`loader_folder` from the second epoch on."""
    basicsr = PairedImageDataset, basicsr_options(faces.gt, faces.lq, 'disk')
    how = 'as loader_folder, from the second epoch on: ours keeps decoded pixels'
    return compare('loader_folder_later', device, effort, faces.gt, basicsr, how, later=True)


def loader_synth_later(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """:func:`loader_synth` from the second epoch on."""
    basicsr = SynthesisDataset, basicsr_options(faces.gt, faces.lq, 'disk')
    how = 'as loader_synth, from the second epoch on: ours keeps decoded pixels'
    return compare('loader_synth_later', device, effort, faces.gt, basicsr, how, later=True)


def loader_lmdb(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """LMDBs: BasicSR's hold PNGs of GT and LQ, ours raw GT."""
    basicsr = PairedImageDataset, basicsr_options(faces.gt_lmdb, faces.lq_lmdb, 'lmdb')
    how = 'BasicSR: LMDBs of PNGs, GT and LQ; ours: raw LMDB of GT, LQ is made'
    return compare('loader_lmdb', device, effort, faces.raw_lmdb, basicsr, how)


def loader_synth(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """Folder of GT alone on both sides; BasicSR reduces each image by its ``imresize`` while reading."""
    basicsr = SynthesisDataset, basicsr_options(faces.gt, faces.lq, 'disk')
    how = 'PNG folder of GT; BasicSR reduces in __getitem__, ours in batches on the device'
    return compare('loader_synth', device, effort, faces.gt, basicsr, how)
