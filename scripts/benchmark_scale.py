#!/usr/bin/env python
"""Measures how the data path grows with a set: opening it for the first time and again, the first batch, memory, files.

    python scripts/benchmark_scale.py --root /data/scale --json scale.json
    python scripts/benchmark_scale.py --root /data/scale --images 500000 --layouts people --processes 8

Sets that are not under ``--root`` yet are made by simulate_dataset.py; ``--remove`` removes each when it is measured.
``first``: the set is opened, every image is verified, and the digest of a training's inputs is taken, with an empty
cache. ``known``: the same in a new process, with what the first one remembers. The time of imports is not counted.
With several processes all begin at once; ``seconds`` is until the last is ready, and ``decoded`` is their sum.
Memory is the most that one process held, less what it held after its imports. Files are those left in the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
from benchmark.memory import peak_bytes
from benchmark.process import Side, unwinding_when_ended
from benchmark.report import machine, versions
from messages import positive, says_what_is_wrong
from rich.console import Console
from rich.table import Table
from simulate_dataset import LAYOUTS, simulate

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR
from fsr_plugins.atomic import write_text
from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.stores.checksum import faces_checksum

BATCH = 16
#: How many people a set has: FFHQ's images are of one each and say nothing of it, CASIA-WebFace's are of so many.
PEOPLE = 10_575
COLUMNS = {
    'open_s': 'opened, s',
    'check_s': 'verified, s',
    'digest_s': 'digest, s',
    'batch_s': 'first batch, s',
    'seconds': 'together, s',
    'memory_mib': 'memory, MiB',
    'decoded': 'decoded',
    'files': 'files',
}


class Opening:
    """What a training does with its set before its first step, in this process."""

    def __init__(self, path: str, recursive: bool) -> None:
        self.block = {
            'name': 'scale', 'type': 'FaceDataset', 'dataroot_gt': path, 'recursive': recursive, 'phase': 'train',
            'scale': 4, 'seed': 0, 'gt_size': 16, 'cache': 'off', 'batch_size_per_gpu': BATCH,
        }  # fmt: skip
        self.before = psutil.Process().memory_info().rss

    def run(self) -> dict[str, float]:
        """Seconds of each part, and the images that were decoded before the first batch."""
        times = [time.perf_counter()]
        lock, decoded = threading.Lock(), 0
        dataset = FaceDataset(self.block)
        times.append(time.perf_counter())
        store = dataset.store
        image = store.image

        def counted(key: str) -> Any:
            nonlocal decoded
            with lock:
                decoded += 1
            return image(key)

        with mock.patch.object(store, 'image', counted):
            dataset.check(4)
        times.append(time.perf_counter())
        faces_checksum(store)
        dataset.provenance()
        times.append(time.perf_counter())
        with TrainLoader(dataset, BATCH) as loader:
            next(iter(loader))
        times.append(time.perf_counter())
        parts = dict(zip(('open_s', 'check_s', 'digest_s', 'batch_s'), map(_between, times, times[1:]), strict=False))
        memory = (peak_bytes() - self.before) / 2**20
        return {**parts, 'seconds': times[-1] - times[0], 'memory_mib': memory, 'decoded': decoded}


def _between(one: float, other: float) -> float:
    return other - one


def measure_once(path: Path, recursive: bool, processes: int, cache: Path) -> dict[str, float]:
    """What ``processes`` new processes need that begin together, the most of each figure; decoded images are added."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {'XDG_CACHE_HOME': str(cache)}))
        sides = [stack.enter_context(Side(Opening, str(path), recursive, wait=False)) for _ in range(processes)]
        for side in sides:
            side.wait()
        started = time.perf_counter()
        threads, found = [], []
        for side in sides:
            threads.append(threading.Thread(target=lambda side=side: found.append(side.call('run'))))
            threads[-1].start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
    if len(found) < processes:
        raise RuntimeError('a process has failed; its traceback is above')
    most = {key: max(one[key] for one in found) for key in found[0]}
    files = [file for file in cache.rglob('*') if file.is_file()]
    held = {'files': len(files), 'file_bytes': sum(file.stat().st_size for file in files)}
    return {**most, 'seconds': seconds, 'decoded': sum(one['decoded'] for one in found), **held}


@contextmanager
def _set(root: Path, images: int, layout: str, remove: bool) -> Iterator[Path]:
    path = root / (f'{images}.lmdb' if layout == 'lmdb' else f'{images}_{layout}')
    if not path.exists():
        simulate(path, layout, images, 16, min(images, PEOPLE))
    try:
        yield path
    finally:
        if remove:
            shutil.rmtree(path)


def measure(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Figures by set, layout, number of processes, and whether the set is known."""
    for images in options.images:
        for layout in options.layouts:
            with _set(options.root, images, layout, options.remove) as path:
                for processes in options.processes:
                    with tempfile.TemporaryDirectory(prefix='benchmark_scale_') as cache:
                        for state in ('first', 'known'):
                            name = f'{images} {layout}, {processes}, {state}'
                            yield name, measure_once(path, layout == 'people', processes, Path(cache))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', type=Path, required=True, metavar='FOLDER', help='where the sets are or are made')
    parser.add_argument('--images', type=positive, nargs='+', default=[70_000, 500_000], help='default: 70000 500000')
    parser.add_argument('--layouts', nargs='+', choices=LAYOUTS, default=list(LAYOUTS), help='default: all')
    parser.add_argument('--processes', type=positive, nargs='+', default=[1, 8], help='default: 1 8')
    parser.add_argument('--remove', action='store_true', help='remove each set when it is measured')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write machine, versions and figures there')
    return parser.parse_args(arguments)


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes the file after each row, prints the table."""
    options = parse(arguments)
    console = Console()
    rows: dict[str, dict[str, float]] = {}
    table = Table('images, layout, processes', *COLUMNS.values())
    with unwinding_when_ended():
        for name, found in measure(options):
            rows[name] = found
            table.add_row(name, *(f'{found[key]:.3g}' if found[key] < 1000 else f'{found[key]:.0f}'
                                  for key in COLUMNS))  # fmt: skip
            if options.json:
                content = {'machine': machine(), 'versions': versions(), 'figures': rows}
                write_text(options.json, json.dumps(content, indent=2) + '\n')
    console.print(table)
    console.print(', '.join(f'{key}: {value}' for key, value in machine().items()), highlight=False)
    return 0


if __name__ == '__main__':
    sys.exit(main())
