"""Seconds from the start of a training process to the end of its first iteration: ``start_up``."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from .faces import GT_SIZE, SCALE, Faces
from .stamp import VARIABLE
from .timing import Comparison, Effort, alternate

SCRIPTS = Path(__file__).resolve().parents[1]
NETWORK = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 16, 'num_block': 2, 'upscale': SCALE}
BATCH = 4

Options = dict[str, Any]


def _common(dataset: Options, train: Options) -> Options:
    """One iteration of a small network; TensorBoard on, as is usual."""
    images = {'name': 'faces', 'gt_size': GT_SIZE, 'use_hflip': True}
    loader = {'batch_size_per_gpu': BATCH, 'num_worker_per_gpu': 0}
    training = {'total_iter': 1, 'ema_decay': 0.999, 'pixel_opt': {'type': 'L1Loss'}}
    scheduler = {'type': 'MultiStepLR', 'milestones': [100], 'gamma': 0.5}
    return {
        'scale': SCALE, 'num_gpu': 'auto', 'manual_seed': 0, 'network_g': NETWORK, 'path': {},
        'datasets': {'train': {**images, **loader, **dataset}},
        'train': {**training, 'scheduler': scheduler, **train},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 100, 'use_tb_logger': True},
    }  # fmt: skip


def our_options(faces: Faces) -> Options:
    """An option file for ``fsr train``."""
    options = _common({'type': 'FaceDataset', 'dataroot_gt': str(faces.gt)}, {'optim': {'type': 'Adam', 'lr': 1e-4}})
    degradation = {'type': 'BicubicDown', 'scale': SCALE}
    model = {'model_type': 'StampedSupervisedModel', 'plugins': ['benchmark.stamped_model']}
    return {**options, **model, 'degradation': degradation}


def basicsr_options(faces: Faces) -> Options:
    """An option file for BasicSR, which also needs LQ on disk."""
    dataset = {
        'type': 'PairedImageDataset', 'dataroot_gt': str(faces.gt), 'dataroot_lq': str(faces.lq),
        'io_backend': {'type': 'disk'}, 'use_rot': False, 'use_shuffle': True,
    }  # fmt: skip
    return {**_common(dataset, {'optim_g': {'type': 'Adam', 'lr': 1e-4}}), 'model_type': 'StampedSRModel'}


def starter(folder: Path, options: Options, command: Callable[[Path], Sequence[str]]) -> Callable[[], float]:
    """A function that trains by ``command(option file)``, each time as a new experiment, and gives the seconds it took.

    Raises (from the function):
        RuntimeError: the command failed; its output is in the message.
    """
    numbers = itertools.count()

    def start() -> float:
        name = f'run_{next(numbers)}'
        file, mark = folder / f'{name}.yml', folder / f'{name}.stamp'
        file.write_text(yaml.safe_dump({'name': name, **options}))
        paths = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get('PYTHONPATH')]))
        environment = {**os.environ, 'PYTHONPATH': paths, VARIABLE: str(mark), 'XDG_CACHE_HOME': str(folder / 'cache')}
        started = time.monotonic()
        done = subprocess.run(command(file), cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode or not mark.exists():
            raise RuntimeError(f'{" ".join(command(file))} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}')
        return float(mark.read_text()) - started

    return start


def start_up(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """Both sides' commands on the same faces, a process a run; one run of each is not counted."""
    root = faces.gt.parent / 'start_up'
    folders = {side: root / side for side in ('ours', 'basicsr')}
    for folder in folders.values():
        folder.mkdir(parents=True)
    fsr = Path(sys.executable).with_name('fsr')
    ours = starter(folders['ours'], our_options(faces), lambda file: [str(fsr), 'train', '-opt', str(file)])
    theirs = [sys.executable, '-m', 'benchmark.basicsr_train', str(folders['basicsr'])]
    basicsr = starter(folders['basicsr'], basicsr_options(faces), lambda file: [*theirs, '-opt', str(file)])
    # The first run reads the libraries from the disk and decodes every image once.
    ours(), basicsr()
    pair = alternate(ours, basicsr, effort.runs)
    how = 'from the start of the process to the end of the first iteration; warm file cache, images verified before'
    return Comparison('start_up', 's', pair.ours, pair.basicsr, how, larger_is_better=False)
