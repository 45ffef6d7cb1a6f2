"""One stage of an option file, with random weights and built-in faces in the place of its data."""

from __future__ import annotations

import copy
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR

from basicsr.utils import get_root_logger  # isort: skip

from fsr_plugins import config
from fsr_plugins.config.settings import read_settings
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.engine import distributed
from fsr_plugins.engine.loaders import make_dataset
from fsr_plugins.models.networks import evaluating
from fsr_plugins.registry import lookup

from .memory import peak_bytes
from .timing import synchronise

#: Side of the LR faces the papers start from.
LR_SIZE = 16
FACES = 96
#: What takes the place of a set that an option names.
STAND_INS = {
    'dataroot_gt': 'portraits://studio/train?number={faces}&size={hr}',
    'dataroot_source': 'portraits://studio/train?number={faces}&size={hr}',
    'dataroot_lq': 'portraits://real_lr/train?number={faces}&size={lr}',
    'dataroot_real_lq': 'portraits://real_lr/train?number={faces}&size={lr}',
}


def stand_in(opt: dict[str, Any], batch: int | None, hr: int | None = None) -> dict[str, Any]:
    """The stage's options without files: built-in faces for its training set, and no pretrained weights.

    Args:
        hr: side of the HR faces; None: of 16 pixels enlarged by the stage's scale.
    """
    opt = copy.deepcopy(opt)
    train = opt['datasets']['train']
    hr = hr or LR_SIZE * opt['scale']
    sizes = {'faces': FACES, 'hr': hr, 'lr': hr // opt['scale']}
    train |= {key: spec.format(**sizes) for key, spec in STAND_INS.items() if key in train}
    for key in ('max_images', 'subset_seed', 'source_subset_seed', 'io_backend'):
        train.pop(key, None)
    if train.get('max_source_images'):
        train['max_source_images'] = FACES
    for key in ('keys', 'exclude_keys'):
        train.pop(key, None)
    if 'compare' in train:
        train['compare'] = {'recogniser': None, 'random': True}
    if batch is not None:
        train['batch_size_per_gpu'] = batch
    opt['path'] = {key: value for key, value in opt['path'].items() if not key.startswith('pretrain_network')}
    opt['datasets'] = {'train': train}
    return opt


class StageRun:
    """The stage's model and loader in this process."""

    def __init__(
        self, file: Path, overrides: Sequence[str], stage: str, batch: int | None, hr: int | None = None
    ) -> None:
        get_root_logger(log_level=logging.WARNING)
        chosen = config.load(file, overrides).stages[stage]
        opt = stand_in(config.runtime(chosen), batch, hr)
        distributed.start('none', opt['num_gpu'])
        distributed.choose_algorithms(deterministic=False)
        torch.manual_seed(0)
        self.model = lookup('models', opt['model_type'])(opt)
        self.device = self.model.device
        self.settings = read_settings(opt)
        data = self.settings.sets['train']
        self.batch = data.batch_size
        self.dataset = make_dataset(data, 'train', self.settings)
        pin = self.device.type == 'cuda'
        self.loader = TrainLoader(self.dataset, self.batch, threads=data.threads, pin_memory=pin)
        self.iteration = 0

    def _seconds(self, work: Callable[[], object]) -> float:
        synchronise(self.device)
        started = time.perf_counter()
        work()
        synchronise(self.device)
        return time.perf_counter() - started

    def _step(self, batch: dict[str, Any]) -> None:
        self.iteration += 1
        self.model.update_learning_rate(self.iteration)
        self.model.feed_data(batch)
        self.model.optimize_parameters(self.iteration)

    def steps(self, runs: int) -> dict[str, Any]:
        """Seconds of each of ``runs`` steps on one batch that lies ready, after two that are not counted."""
        batch = next(iter(self.loader))
        for _ in range(2):
            self._step(batch)
        return {'batch': self.batch, 'seconds': [self._seconds(partial(self._step, batch)) for _ in range(runs)]}

    def data(self) -> dict[str, float]:
        """Milliseconds a batch takes to be read alone, in a run's first epoch and in those after it."""
        data = self.settings.sets['train']
        dataset = make_dataset(data, 'train', self.settings)
        count = max(1, len(dataset) // self.batch)
        found = {}
        with TrainLoader(dataset, self.batch, threads=data.threads) as loader:
            batches = iter(loader)
            for name in ('data_ms', 'data_again_ms'):
                started = time.perf_counter()
                for _ in range(count):
                    next(batches)
                found[name] = (time.perf_counter() - started) / count * 1e3
        return found

    def memory(self) -> dict[str, float]:
        """Peak memory in GiB: on a GPU what torch held, else of this whole process, libraries included."""
        if self.device.type == 'cuda':
            return {'memory_gib': torch.cuda.max_memory_allocated() / 2**30}
        return {'memory_gib': peak_bytes() / 2**30}

    def inference(self, sizes: Sequence[int], runs: int) -> dict[str, dict[int, float]]:
        """Images a second by network and batch size; medians of ``runs``, after one run that is not counted."""
        nets = {net: name for name, net in reversed(self.model.evaluation.networks(self.model).items())}
        rates: dict[str, dict[int, float]] = {name: {} for name in nets.values()}
        for size in sizes:
            lq = self._feed(size)
            with evaluating(*nets), self.model.precision.autocast():
                for net, name in nets.items():
                    seconds = [self._seconds(partial(net, lq)) for _ in range(runs + 1)]
                    rates[name][size] = size / statistics.median(seconds[1:])
        return rates

    def _feed(self, size: int) -> Tensor:
        loader = TrainLoader(self.dataset, size)
        self.model.feed_data(next(iter(loader)))
        loader.close()
        # A recogniser's stage has no LR: its network sees HR.
        images = self.model.gt if self.model.lq is None else self.model.lq
        assert images is not None
        return images
