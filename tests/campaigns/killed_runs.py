"""The runs that are killed: tiny experiments, what they leave, and a process that ends itself at a given moment."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any

import tiny
import tiny_adapter
import tiny_suite
import torch
from common import LIMIT, Broken
from forked import fork, wait

from fsr_plugins import config, pipeline
from fsr_plugins.cli import main as fsr
from fsr_plugins.engine.logs import StageLog
from fsr_plugins.engine.set_generation import SetGenerator
from fsr_plugins.engine.trainer import Trainer
from fsr_plugins.models.evaluation import SetEvaluation

#: What is counted to name a moment: iterations, batches of validation, parts of a set, every step of writing a file.
EVENTS: list[tuple[Any, str]] = [
    (os, 'fsync'), (os, 'replace'), (Trainer, '_report'), (Trainer, '_validate'), (SetEvaluation, 'update'),
    (StageLog, 'record'), (pipeline, '_train'), (pipeline, '_write_record'), (SetGenerator, '_assemble'),
]  # fmt: skip

TRAINED = {
    **tiny.options('faces'),
    'manual_seed': 3,
    'val': {'val_freq': 3, 'metrics': {'psnr': {'type': 'PSNR'}, 'ssim': {'type': 'SSIM'}}},
    'logger': {'print_freq': 2, 'save_checkpoint_freq': 4, 'use_tb_logger': False},
    'stages': {
        'first': {'train': {'total_iter': 7, 'ema_decay': 0.9}},
        'made': {
            'model_type': 'SuperResolveModel', 'train': None, 'val': None,
            'path': {'pretrain_network_g': 'stage:first/net_g'}, 'datasets': {'train': {'gt_size': None}},
        },
        'second': {
            'train': {'total_iter': 8, 'accumulate': 2}, 'path': {'pretrain_network_g': 'stage:first/net_g'},
            'datasets': {'train': {'dataroot_gt': 'stage:made/images.lmdb'}},
        },
    },
}  # fmt: skip
ADAPTED = {
    'name': 'demo', 'scale': 2, 'num_gpu': 0, 'degradation': tiny_adapter.DEGRADATION,
    'datasets': {
        'train': {'type': 'FaceDataset', 'dataroot_gt': 'faces', 'batch_size_per_gpu': 2},
        'val_target': {'name': 'target', 'type': 'FaceDataset', 'dataroot_gt': 'faces'},
    },
    'train': tiny_adapter.TRAIN,
    'val': {'val_freq': 2, 'metrics': {'ssim': {'type': 'SSIM'}, 'psnr': {'type': 'PSNR'}}},
    'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
    'stages': {
        'source': {'model_type': 'SupervisedModel', 'network_g': tiny_adapter.ARCH},
        'adapt': {
            'model_type': 'TinyAdaptModel', 'network_sr': tiny_adapter.ARCH,
            'path': {'pretrain_network_sr': 'stage:source/net_g'}, 'manual_seed': 4,
        },
    },
    'oneshot': {'splits': {'low': ['[01]'], 'high': ['[2-4]']}, 'exemplars': 2, 'seed': 1},
}  # fmt: skip


def _fill_training(folder: Path) -> None:
    tiny.write_faces(folder / 'faces')
    tiny.write_options(folder / 'o.yml', TRAINED)


def _fill_adaptation(folder: Path) -> None:
    tiny.write_faces(folder / 'faces', 5, tiny_adapter.SIZE)
    tiny.write_options(folder / 'o.yml', ADAPTED)


@dataclass(frozen=True)
class Scenario:
    """Something to do, and the folder that it is done in."""

    fill: Callable[[Path], None]
    commands: tuple[str, ...]  #: one after the other, on ``file``
    file: str = 'o.yml'
    processes: int = 1
    arguments: tuple[str, ...] = ()  #: of every command


SCENARIOS = {
    'train': Scenario(_fill_training, ('train',)),
    'oneshot': Scenario(_fill_adaptation, ('train', 'oneshot')),
    'bench': Scenario(tiny_suite.fill, ('bench',), 'suite.yml'),
    'two processes': Scenario(_fill_training, ('train',), processes=2),
}


@dataclass(frozen=True)
class Moment:
    """When a run ends itself, and how."""

    event: int  #: how many things have happened
    delay: float  #: seconds after that
    number: int  #: the signal
    rank: int = 0  #: which of several processes


def start(scenario: Scenario, command: str, log: Path, moment: Moment | None = None, processes: int = 1) -> list[int]:
    """Runs a command in processes of its own in the working directory; their statuses, as a shell has them.

    The number of things that happened is left in ``<log>.events``.

    Raises:
        Broken: it takes too long; it has been killed.
    """
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    with log.open('wb') as output:
        runs = (partial(_run, scenario, command, log, moment, rank, processes, port) for rank in range(processes))
        statuses = [ended.status for ended in wait([fork(run, output.fileno()) for run in runs])]
    if None in statuses:
        raise Broken(f'longer than {LIMIT:.0f} s', log.read_text())
    return [status if status >= 0 else 128 - status for status in statuses if status is not None]


def _run(
    scenario: Scenario, command: str, log: Path, moment: Moment | None, rank: int, processes: int, port: int
) -> int:
    """What a child does."""
    more = []
    if processes > 1:
        more = ['--launcher', 'pytorch']
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes))
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    counted = _watch_events(moment if moment is not None and moment.rank == rank else None)
    status = fsr([command, '-opt', scenario.file, *scenario.arguments, *more])
    if rank == 0:
        Path(f'{log}.events').write_text(str(counted[0]))
    return status


def _watch_events(moment: Moment | None) -> list[int]:
    """Counts what happens, and sends this process a signal at its moment."""
    counted = [0]

    def count() -> None:
        counted[0] += 1
        if moment is not None and counted[0] == moment.event:
            if moment.delay:
                threading.Timer(moment.delay, os.kill, (os.getpid(), moment.number)).start()
            else:
                os.kill(os.getpid(), moment.number)

    for owner, name in EVENTS:
        setattr(owner, name, _counted(getattr(owner, name), count))
    return counted


def _counted(work: Callable[..., Any], count: Callable[[], None]) -> Callable[..., Any]:
    @wraps(work)
    def counted(*arguments: Any, **named: Any) -> Any:
        count()
        found = work(*arguments, **named)
        count()
        return found

    return counted


# ---- what is left ----------------------------------------------------------------------------------------------------

#: Keys whose values are times, or what a machine is at.
_OF_THE_MOMENT = {'seconds', 'seconds_all', 'machine', 'machines', 'cost', 'speed'}


def left(folder: Path) -> dict[str, Any]:
    """What a finished run has left in ``experiments/``, by path: contents that must be equal, bit for bit.

    Checkpoints, images and figures are all there. Of training states it is the newest of each stage: which others are
    kept depends on where a run was taken up. Logs of time and cached measurements of speed are left out.
    """
    found: dict[str, Any] = {}
    for path in sorted((folder / 'experiments').rglob('*')):
        name = str(path.relative_to(folder))
        if path.suffix in ('.pth', '.png', '.jsonl', '.txt', '.mdb', '.yml'):
            found[name] = path.read_bytes()
        elif path.suffix == '.json' and 'cache' not in path.parts:
            found[name] = _lasting(json.loads(path.read_text()))
        elif path.name == 'training_states':
            newest = max(path.glob('*.state'), key=lambda file: int(file.stem))
            found[str(newest.relative_to(folder))] = torch.load(newest, weights_only=True)
    return found


def own(name: str) -> bool:
    """Whether a file is one that a run writes, besides those of an uninterrupted one, because it was asked to stop."""
    return re.search(r'models/net_\w+_\d+\.pth$', name) is not None


def _lasting(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lasting(item) for key, item in value.items() if key not in _OF_THE_MOMENT}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


def difference(one: Any, other: Any, where: str = '') -> str:
    """Where two things that were left differ first; empty if they are equal, but for the time a run took."""
    if type(one) is not type(other):
        return where or 'kind'
    if isinstance(one, torch.Tensor):
        return '' if torch.equal(one, other) else where
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return f'{where} ({", ".join(sorted(map(str, one.keys() ^ other.keys())))})'
        pairs = [(key, one[key], other[key]) for key in one if key != 'seconds']
    elif isinstance(one, list | tuple):
        if len(one) != len(other):
            return where
        pairs = [(number, *pair) for number, pair in enumerate(zip(one, other, strict=True))]
    else:
        return '' if one == other else where
    return next((found for key, a, b in pairs if (found := difference(a, b, f'{where}/{key}'))), '')


def check_figures(folder: Path) -> None:
    """Whether what a run left holds together: every promise is kept, the summary is of the stages."""
    experiment = config.load(folder / 'o.yml', root=folder)
    config.finished.verify_all(experiment.stages.values())
