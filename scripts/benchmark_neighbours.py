"""A training beside busy programs on the same cores: iterations a second, by what chooses its threads.

    python scripts/benchmark_neighbours.py --json neighbours.json

A parallel operation is done when its slowest thread is. Alone, more threads are faster; beside others, a thread that
shares its core keeps all the rest waiting. Each row is a setting, each column a number of neighbours that compute
without a pause, one thread each. A fair share is what the training would get if every thread got the same of the cores:
``cores / (threads + neighbours)`` of each of its threads, at most all.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from messages import positive, says_what_is_wrong
from rich.console import Console
from rich.table import Table

from fsr_plugins.engine.machine import machine, versions
from fsr_plugins.errors import RunError

#: Environments by the name in the table.
SETTINGS: Mapping[str, Mapping[str, str]] = {
    'as it comes': {},
    'threads: auto': {'BENCHMARK_THREADS': 'auto'},
    'OMP_WAIT_POLICY=PASSIVE': {'OMP_WAIT_POLICY': 'PASSIVE'},
    'OMP_NUM_THREADS=1': {'OMP_NUM_THREADS': '1'},
}
#: What a caller may have set, so that a row would not be what it is called.
CLEARED = ('GOMP_SPINCOUNT', *{name for setting in SETTINGS.values() for name in setting})
NETWORK = {'type': 'SRGANGenerator', 'scale': 8, 'num_feat': 64, 'num_block': 16, 'use_bn': False, 'add_bicubic': True}
BATCH, LR = 16, 16
#: What the neighbours run.
BUSY = 'while True:\n    pass'


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--neighbours', type=int, nargs='+', default=[0, 1, 2, 4], metavar='N')
    parser.add_argument('--settings', nargs='+', choices=SETTINGS, default=list(SETTINGS), metavar='NAME')
    parser.add_argument('--seconds', type=float, default=6.0, help='that a training is timed (default: 6)')
    parser.add_argument('--warm', type=float, default=5.0,
                        help='seconds before, not counted: `threads: auto` watches for two (default: 5)')  # fmt: skip
    parser.add_argument('--runs', type=positive, default=3, help='of each; medians count (default: 3)')
    parser.add_argument('--features', type=positive, default=NETWORK['num_feat'], help='of the SRResNet (default: 64)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write machine, versions and figures there')
    parser.add_argument('--train', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def train(warm: float, seconds: float, features: int) -> float:
    """Iterations a second of an SRResNet in this process, in the number format that ``precision: auto`` would try."""
    from fsr_plugins.engine import distributed
    from fsr_plugins.engine.sharing import FairThreads
    from fsr_plugins.models import SupervisedModel
    from fsr_plugins.models.precision import computes_bf16

    distributed.start('none', 0)
    torch.manual_seed(0)
    block = {'total_iter': 100_000, 'ema_decay': 0.995, 'pixel_opt': {'type': 'L1Loss'}}
    scheduler = {'type': 'MultiStepLR', 'milestones': [100_000], 'gamma': 0.5}
    model = SupervisedModel({
        'is_train': True, 'dist': False, 'rank': 0, 'num_gpu': 0, 'scale': 8, 'path': {}, 'channels_last': True,
        'network_g': {**NETWORK, 'num_feat': features},
        'precision': 'bf16' if computes_bf16(torch.device('cpu')) else 'fp32',
        'train': {**block, 'scheduler': scheduler, 'optim': {'type': 'Adam', 'lr': 1e-4}},
    })  # fmt: skip
    faces = {'gt': torch.rand(BATCH, 3, 8 * LR, 8 * LR), 'lq': torch.rand(BATCH, 3, LR, LR)}
    threads = FairThreads('auto' if os.environ.get('BENCHMARK_THREADS') else None)
    done, begun, started = 0, time.perf_counter(), 0.0
    while not started or time.perf_counter() - started < seconds:
        if not started and time.perf_counter() - begun > warm:
            done, started = 0, time.perf_counter()
        model.update_learning_rate(1)
        model.feed_data(dict(faces))
        model.optimize_parameters(1)
        threads.step()
        done += 1
    return done / (time.perf_counter() - started)


@contextmanager
def busy(number: int) -> Iterator[None]:
    """So many neighbours, as long as it is open."""
    neighbours = [subprocess.Popen([sys.executable, '-c', BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def rate(setting: Mapping[str, str], neighbours: int, options: argparse.Namespace) -> float:
    """Iterations a second of a training in a process of its own.

    Raises:
        RunError: it failed.
    """
    given = {'--warm': options.warm, '--seconds': options.seconds, '--features': options.features}
    command = [sys.executable, __file__, '--train', *(str(part) for pair in given.items() for part in pair)]
    # A setting of the caller's, or of this package, must not stand in the way.
    environment = {key: value for key, value in os.environ.items() if key not in CLEARED}
    with busy(neighbours):
        done = subprocess.run(command, env={**environment, **setting}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f'the training beside {neighbours} neighbours failed:\n{done.stderr[-2000:]}')
    return float(done.stdout.split()[-1])


def fair_share(threads: int, cores: int, neighbours: int) -> float:
    """The part of its own speed that a training gets where each thread gets the same of the cores."""
    return min(1.0, cores / (threads + neighbours))


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> int:
    """Measures in turns, prints the table, writes the file."""
    options = parse(arguments)
    if options.train:
        print(train(options.warm, options.seconds, options.features))
        return 0
    found: dict[str, dict[int, list[float]]] = {
        name: {count: [] for count in options.neighbours} for name in options.settings
    }
    for _ in range(options.runs):
        for count in options.neighbours:
            for name in options.settings:
                found[name][count].append(rate(SETTINGS[name], count, options))
    rates = {name: {count: statistics.median(each) for count, each in row.items()} for name, row in found.items()}
    threads, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
    table = Table('it/s', *(f'{count} neighbours' for count in options.neighbours), title='SRResNet, batch 16')
    for name, row in rates.items():
        table.add_row(name, *(f'{each:.2f}' for each in row.values()))
    shares = (fair_share(threads, cores, count) for count in options.neighbours)
    table.add_row('fair share', *(f'{share:.0%}' for share in shares))
    Console().print(table)
    if options.json:
        content = {'machine': machine(), 'versions': versions(), 'iterations_per_second': rates}
        options.json.write_text(json.dumps(content, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
