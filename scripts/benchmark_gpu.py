#!/usr/bin/env python
"""Measures training steps of the rows of benchmark_gpu.yml on a GPU, row by row; call it again to go on.

    python scripts/benchmark_gpu.py --minutes 9 --json gpu.json
    python scripts/benchmark_gpu.py --minutes 9 --json gpu.json --only edsr_l rcan
    python scripts/benchmark_gpu.py --device cpu --tiny --json trial.json

The card's own bf16 matrix rate and copy rate come first. Each row is a stage in fp32, bf16, compiled, or as CUDA
graphs (`compile: reduce-overhead`), at the paper's batch and at one that fills the card. ``share`` is the operations
of a step (matrix products and convolutions, counted in fp32 without compiling) by the matrix rate and the step's time.
A row that fails says why and is not tried again; ``--again`` does. One that ``--minutes`` cuts off begins anew.
Weights are random, faces are the built-in ones. ``--tiny`` shows on a CPU that all runs; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from benchmark.parts import PARTS, Card, MeasuredStage
from benchmark.process import Side, unwinding_when_ended
from benchmark.report import machine, versions
from benchmark_steps import VARIANTS
from messages import positive
from rich.console import Console
from rich.table import Table

from fsr_plugins.atomic import write_text
from fsr_plugins.errors import UserError

from basicsr.utils import get_root_logger  # isort: skip

ROWS = Path(__file__).with_suffix('.yml')
#: Of the card's memory, what a batch that fills it may take.
FULL = 0.85
#: In the place of the rows' networks, batch and sizes.
TINY = ['network_g={type: EDSR, num_in_ch: 3, num_out_ch: 3, num_feat: 4, num_block: 1, upscale: 8}']
TINY_ROWS = ('edsr_l', 'rcan')
KEYS = {'opt', 'stage', 'batch', 'hr', 'set', 'edges'}


class OutOfTimeError(Exception):
    """The call's minutes are over."""


def read_rows(file: Path) -> dict[str, dict[str, Any]]:
    """The rows by name.

    Raises:
        UserError: one has an unknown key, or lacks its option file or batch.
    """
    rows: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text(encoding='utf-8'))['rows']
    for name, row in rows.items():
        if set(row) - KEYS or not {'opt', 'batch'} <= set(row):
            raise UserError(f"{file}: '{name}' needs opt and batch, and may have {', '.join(sorted(KEYS))}.")
    return rows


@contextmanager
def ended_at(deadline: float) -> Iterator[None]:
    """Inside, the end of the call's time raises OutOfTimeError."""

    def leave(number: int, frame: object) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, leave)
    signal.setitimer(signal.ITIMER_REAL, max(0.01, deadline - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measure_row(
    row: dict[str, Any], variant: str, batch: int, options: argparse.Namespace, flops: int | None
) -> dict[str, Any]:
    """Figures of one stage, variant and batch, in a process of its own."""
    overrides = [*row.get('set', []), *VARIANTS[variant], *([] if options.device == 'cuda' else ['num_gpu=0'])]
    hr = row.get('hr')
    if options.tiny:
        overrides, hr = [*TINY, *VARIANTS[variant][:1], 'num_gpu=0'], 32
    arguments = (ROWS.parent / row['opt'], overrides, row.get('stage', 'train'), batch, hr)
    with Side(MeasuredStage, *arguments) as run:
        if variant == 'fp32':
            flops = run.call('flops')
        seconds = run.call('steps', options.runs)['seconds']
        step = statistics.median(seconds)
        found = {'batch': batch, 'step_ms': 1e3 * step, 'images_per_second': batch / step, 'flops': flops}
        found |= run.call('memory') | run.call('parts', options.runs, bool(row.get('edges'))) | run.call('data')
    return found


def known_file(file: Path, how: dict[str, Any]) -> dict[str, Any]:
    """What earlier calls have found, or nothing yet.

    Args:
        how: what rows of one file have in common.

    Raises:
        UserError: the file is another's, or its rows were measured in another way.
    """
    if not file.exists():
        return {'how': how, 'rows': {}}
    try:
        found = json.loads(file.read_text(encoding='utf-8'))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get('rows'), dict):
        raise UserError(f"'{file}' was not written by this script: name another file.")
    if found.setdefault('how', how) != how:
        raise UserError(f"'{file}' has rows of {found['how']}, this call measures {how}: name another file.")
    return found


def fitting(batch: int, memory_gib: float, card: dict[str, float], tiny: bool) -> int:
    """The batch that fills the card, by the memory that ``batch`` takes."""
    if tiny or 'memory_gib' not in card:
        return 2 * batch
    return max(batch, int(batch * FULL * card['memory_gib'] / memory_gib))


def measure(options: argparse.Namespace, found: dict[str, Any], deadline: float) -> Iterator[str]:
    """Adds to ``found['rows']`` what is missing, and names each row when it is done.

    Raises:
        OutOfTimeError: the minutes are over; the row at hand is left out.
    """
    rows = read_rows(ROWS)
    for name in options.only or (TINY_ROWS if options.tiny else rows):
        for size in ('paper', 'full'):
            for variant in options.variants:
                label = f'{name}, {size}, {variant}'
                known = found['rows'].get(label)
                if known is not None and not (options.again and 'failed' in known):
                    continue
                batch = 2 if options.tiny else int(rows[name]['batch'])
                if size == 'full':
                    paper = found['rows'].get(f'{name}, paper, {variant}', {})
                    if 'memory_gib' not in paper:
                        continue
                    batch = fitting(batch, paper['memory_gib'], found['card'], options.tiny)
                flops = found['rows'].get(f'{name}, {size}, fp32', {})
                count = flops['flops'] * batch // flops['batch'] if flops.get('flops') else None
                try:
                    with ended_at(deadline):
                        figures = measure_row(rows[name], variant, batch, options, count)
                except (RuntimeError, EOFError, OSError, UserError) as error:
                    figures = {'batch': batch, 'failed': str(error).strip().rpartition('\n')[2][:500] or repr(error)}
                if figures.get('flops'):
                    figures['share'] = figures['flops'] / (figures['step_ms'] / 1e3) / found['card']['matrix_flops']
                found['rows'][label] = figures
                yield label


def show(found: dict[str, Any], console: Console) -> None:
    """Prints the table."""
    columns = ['batch', 'step_ms', 'images_per_second', 'share', 'memory_gib', *(f'{part}_ms' for part in PARTS)]
    table = Table('row', *columns, 'failed')
    for label, row in found['rows'].items():
        cells = [f'{row[key]:.3g}' if row.get(key) is not None else '' for key in columns]
        table.add_row(label, *cells, row.get('failed', ''))
    console.print(table)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', type=Path, required=True, metavar='FILE', help='grows by a row at a time')
    parser.add_argument('--minutes', type=float, default=9, help='of this call (default: 9)')
    parser.add_argument('--only', nargs='+', metavar='ROW', choices=list(read_rows(ROWS)), help='only these rows')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS), help='default: all')
    parser.add_argument('--runs', type=positive, default=9, help='steps of each row; medians count (default: 9)')
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda', help='default: cuda')
    parser.add_argument('--tiny', action='store_true', help='tiny networks: only show that everything runs')
    parser.add_argument('--again', action='store_true', help='try rows again that have failed')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is missing and prints the table; status 3: the minutes are over and rows are left."""
    options = parse(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    warnings.filterwarnings('ignore', module='torch')
    get_root_logger(log_level=logging.WARNING)
    console = Console(width=max(200, Console().width))
    if options.device == 'cuda' and not torch.cuda.is_available():
        console.print('error: this machine has no CUDA device; --device cpu --tiny shows that the script runs.')
        return 2
    if options.device == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''
    found: dict[str, Any] = {'rows': {}}
    status = 0
    try:
        found = known_file(options.json, {'device': options.device, 'tiny': options.tiny})
        if 'card' not in found:
            with Side(Card, options.device) as card:
                found |= {'machine': machine(), 'versions': versions(), 'card': card.call('rates')}
        with unwinding_when_ended():
            for label in measure(options, found, deadline):
                write_text(options.json, json.dumps(found, indent=2) + '\n')
                console.print(f'{label}: {found["rows"][label].get("failed", "done")}', markup=False)
    except OutOfTimeError:
        status = 3
    except (UserError, OSError) as error:
        console.print(f'error: {error}', style='red', markup=False)
        return 2
    show(found, console)
    return status


if __name__ == '__main__':
    sys.exit(main())
