#!/usr/bin/env python
"""Measures training steps and inference of an option file's stages at their own sizes, on built-in faces.

    python scripts/benchmark_steps.py -opt options/paper/pkdn_celeba.yml --batch 1
    python scripts/benchmark_steps.py -opt options/paper/pkdn_celeba.yml --stage student --set train.kd_opt=null
    python scripts/benchmark_steps.py -opt options/paper/tsnet.yml --variants fp32 bf16 compiled graphs

Weights are random and no data of the option file is read: what is measured is time and memory. Each stage runs in a
process of its own, so that its peak memory is its own; so does each variant of it.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR

from basicsr.utils import get_root_logger  # isort: skip

from benchmark.process import Side, unwinding_when_ended
from benchmark.report import machine, versions
from benchmark.stage import StageRun
from messages import positive, says_what_is_wrong

from fsr_plugins import config
from fsr_plugins.errors import UserError

#: How a stage may be run besides as the option file says; ``--variants`` names them.
VARIANTS: dict[str, list[str]] = {
    'fp32': ['precision=fp32'],
    'bf16': ['precision=bf16'],
    'compiled': ['precision=bf16', 'compile=true'],
    'graphs': ['precision=bf16', 'compile=reduce-overhead'],
}

COLUMNS = {
    'step_ms': 'step, ms',
    'data_ms': 'batch, first epoch, ms',
    'data_again_ms': 'batch, later, ms',
    'memory_gib': 'peak memory, GiB',
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', type=Path, required=True, metavar='FILE', help='the option file')
    parser.add_argument('--stage', action='append', help='only this stage; may be repeated (default: all)')
    parser.add_argument('--batch', type=positive, help="images a step (default: the option file's)")
    parser.add_argument(
        '--hr', type=positive, metavar='SIDE', help='side of HR in pixels (default: 16 times the scale)'
    )
    parser.add_argument('--set', action='append', default=[], metavar='KEY=VALUE', dest='overrides',
                        help='change an option, as in `fsr train`')  # fmt: skip
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=[], metavar='NAME',
                        help=f'run each stage as {", ".join(VARIANTS)}; the last two are bf16, compiled')  # fmt: skip
    parser.add_argument(
        '--runs', type=positive, default=5, help='steps, and batches of inference; medians count (default: 5)'
    )
    parser.add_argument('--infer', type=positive, nargs='*', default=[], metavar='BATCH',
                        help='also images a second of the networks at these batch sizes')  # fmt: skip
    parser.add_argument('--no-steps', action='store_true', help='inference only')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write machine, versions and figures there')
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Figures by stage, or by stage and variant."""
    experiment = config.load(options.opt, options.overrides)
    stages = options.stage or list(experiment.stages)
    for name in stages:
        if name not in experiment.stages:
            raise UserError(f"{options.opt} has no stage '{name}': it has {', '.join(experiment.stages)}.")
    figures: dict[str, dict[str, Any]] = {}
    for name in stages:
        variants = {f'{name}, {variant}': VARIANTS[variant] for variant in options.variants} or {name: []}
        figures |= {label: {} for label in variants}
        if not options.no_steps:
            for label, run in _started(options, name, variants):
                step = run.call('steps', options.runs)
                figures[label] = {'batch': step['batch'], 'step_ms': 1e3 * statistics.median(step['seconds'])}
                figures[label] |= run.call('data') | run.call('memory')
        if options.infer:
            for label, run in _started(options, name, variants):
                figures[label]['images_per_second'] = run.call('inference', options.infer, options.runs)
    return figures


def _started(
    options: argparse.Namespace, stage: str, variants: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Side]]:
    """The processes of a stage's variants, which import and build at once, and are measured one after the other."""
    with ExitStack() as stack:
        runs = {}
        for label, overrides in variants.items():
            arguments = (options.opt, [*options.overrides, *overrides], stage, options.batch, options.hr)
            runs[label] = stack.enter_context(Side(StageRun, *arguments, wait=False))
        for run in runs.values():
            run.wait()
        yield from runs.items()


def show(figures: dict[str, dict[str, Any]], console: Console) -> None:
    """Prints one table of steps and one of inference."""
    steps = Table('stage', 'batch', *COLUMNS.values(), title='training step')
    rates = Table('stage', 'net', 'batch', 'images/s', title='inference')
    for stage, found in figures.items():
        if 'step_ms' in found:
            steps.add_row(stage, str(found['batch']), *(f'{found[key]:.3g}' for key in COLUMNS))
        for net, batches in found.get('images_per_second', {}).items():
            for batch, rate in batches.items():
                rates.add_row(stage, net, str(batch), f'{rate:.3g}')
    for table in (steps, rates):
        if table.row_count:
            console.print(table)


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, writes the file."""
    options = parse(arguments)
    warnings.filterwarnings('ignore', module='torch')
    get_root_logger(log_level=logging.WARNING)
    console = Console()
    with unwinding_when_ended():
        figures = measure(options)
    show(figures, console)
    about = {'machine': machine(), 'versions': versions(), 'overrides': options.overrides, 'figures': figures}
    console.print(', '.join(f'{key}: {value}' for key, value in about['machine'].items()), highlight=False)
    if options.json:
        options.json.write_text(json.dumps(about, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
