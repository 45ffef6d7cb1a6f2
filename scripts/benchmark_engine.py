#!/usr/bin/env python
"""Measures the engine against BasicSR 1.4.2: the same faces, one process each, the same network, in turns.

    python scripts/benchmark_engine.py --json benchmark.json
    python scripts/benchmark_engine.py --images FOLDER_OF_FACES --only loader_folder loader_lmdb
    python scripts/benchmark_engine.py --recipes BasicSR/options --only recipe_edsr recipe_esrgan

What each line compares is said in the table and in the modules under scripts/benchmark/.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from messages import positive, says_what_is_wrong
from rich.console import Console

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR

from basicsr.utils import get_root_logger  # isort: skip

from benchmark import faces, loaders, recipes, report, start_up, training, validation
from benchmark.process import unwinding_when_ended
from benchmark.timing import Comparison, Effort

Benchmark = Callable[[faces.Faces, torch.device, Effort], Comparison | None]

BENCHMARKS: dict[str, Benchmark] = {
    'loader_folder': loaders.loader_folder,
    'loader_lmdb': loaders.loader_lmdb,
    'loader_synth': loaders.loader_synth,
    'loader_folder_later': loaders.loader_folder_later,
    'loader_synth_later': loaders.loader_synth_later,
    'validation': validation.validation,
    'train_cpu': training.train_cpu,
    'train_auto': training.train_auto,
    'train_gpu': training.train_gpu,
    'start_up': start_up.start_up,
    **recipes.benchmarks(None),
}

#: How many faces suffice for what does not go through the whole set.
FEW = {'validation': validation.IMAGES, **dict.fromkeys(('train_cpu', 'train_auto', 'train_gpu'), training.BATCH)}
FEW |= dict.fromkeys(recipes.benchmarks(None), training.BATCH)

QUICK = Effort(runs=1, images=24, warm=1, batches=2, iterations=(1, 2), recipe_iterations=1)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', choices=BENCHMARKS, default=list(BENCHMARKS), metavar='NAME',
                        help=f'of {", ".join(BENCHMARKS)}')  # fmt: skip
    parser.add_argument('--images', type=Path, metavar='FOLDER', help='real faces instead of the built-in ones')
    parser.add_argument('--recipes', type=Path, metavar='DIR',
                        help="folder options/ of BasicSR's repository, for recipe_…; else left out")  # fmt: skip
    parser.add_argument('--recipe-iterations', type=positive, default=Effort.recipe_iterations, metavar='N',
                        help=f'of each training by a recipe (default: {Effort.recipe_iterations})')  # fmt: skip
    parser.add_argument(
        '--runs', type=positive, default=Effort.runs, help='of each side; the median counts (default: 5)'
    )
    parser.add_argument('--threads', type=positive, help="torch's threads, for both sides (default: as torch chooses)")
    parser.add_argument('--json', type=Path, metavar='FILE', help='write machine, versions, ratios and figures there')
    parser.add_argument('--quick', action='store_true', help='only show that everything runs; the figures mean nothing')
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, console: Console) -> Iterator[tuple[str, Comparison | None]]:
    """Runs what was asked for, in the order of the table, and leaves nothing behind."""
    effort = QUICK if options.quick else Effort(runs=options.runs, recipe_iterations=options.recipe_iterations)
    rows = {**BENCHMARKS, **recipes.benchmarks(options.recipes)}
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    names = [name for name in BENCHMARKS if name in options.only]
    count = min(effort.images, max(FEW.get(name, effort.images) for name in names))
    with unwinding_when_ended(), tempfile.TemporaryDirectory(prefix='benchmark_engine_') as folder:
        with console.status(f'making {count} faces'):
            prepared = faces.prepare(Path(folder), count, options.images)
        for name in names:
            with console.status(f'measuring {name}'):
                found = rows[name](prepared, device, effort)
            yield name, found


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table, writes the file."""
    options = parse(arguments)
    warnings.filterwarnings('ignore', module='torch')
    get_root_logger(log_level=logging.WARNING)
    if options.threads:
        torch.set_num_threads(options.threads)
    console = Console()
    results: dict[str, Comparison | None] = {}
    for name, found in measure(options, console):
        results[name] = found
        content = report.content(results, 1 if options.quick else options.runs)
        if options.json:  # after each, so that a run that is ended keeps what it found
            options.json.write_text(json.dumps(content, indent=2) + '\n')
        console.print(f'{name}: {content["ratios"][name]}', highlight=False)
    console.print(report.table(results))
    console.print(', '.join(f'{key}: {value}' for key, value in content['machine'].items()), highlight=False)
    return 0


if __name__ == '__main__':
    sys.exit(main())
