#!/usr/bin/env python
"""Measures the search for compare faces: the nearest of the same person, at the size of CASIA-WebFace.

    python scripts/benchmark_compare_index.py
    python scripts/benchmark_compare_index.py --number 50000 --identities 1000 --json index.json

Embeddings are random; how many images a person has is long-tailed (log-normal), as in the real set, whose mean is 47.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmark.memory import peak_bytes
from benchmark.report import machine, versions
from messages import positive, says_what_is_wrong
from rich.console import Console
from rich.table import Table

from fsr_plugins.data.neighbours import nearest_of_same_identity

#: Spread of the logarithm of a person's number of images: half the people have two thirds of the mean or fewer.
SPREAD = 0.9
EMBEDDING_SIZE = 512
_CHUNK = 10_000


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--number', type=positive, default=500_000, help='images (default: 500000)')
    parser.add_argument(
        '--identities', type=positive, default=10_575, help='people, one image each at least (default: 10575)'
    )
    parser.add_argument('--k', type=positive, default=8, help='neighbours an image (default: 8, what an index keeps)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', type=Path, metavar='FILE', help='write machine, versions and figures there')
    options = parser.parse_args(arguments)
    if options.identities > options.number:
        parser.error('--identities is at most --number: each has an image at least')
    return options


def draw(number: int, identities: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings, float32 (number, 512), and identities, int64 (number,), in random order."""
    rng = np.random.default_rng(seed)
    shares = rng.lognormal(0, SPREAD, identities)
    sizes = 1 + rng.multinomial(number - identities, shares / shares.sum())
    people = rng.permutation(np.repeat(np.arange(identities), sizes))
    embeddings = np.empty((number, EMBEDDING_SIZE), np.float32)
    for start in range(0, number, _CHUNK):  # so that making them takes no memory that the search would seem to take
        part = rng.standard_normal(embeddings[start : start + _CHUNK].shape, dtype=np.float32)
        embeddings[start : start + _CHUNK] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return embeddings, people


def memory() -> float:
    """MiB that this process holds now."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures of one search."""
    embeddings, people = draw(options.number, options.identities, options.seed)
    sizes = np.bincount(people)
    before = memory()
    start = time.perf_counter()
    nearest_of_same_identity(embeddings, people, options.k)
    seconds = time.perf_counter() - start
    peak = peak_bytes() / 2**20
    return {
        'images': options.number,
        'people': options.identities,
        'images a person (median, mean, most)': [float(np.median(sizes)), float(sizes.mean()), int(sizes.max())],
        'k': options.k,
        'embeddings, MiB': embeddings.nbytes / 2**20,
        'seconds': seconds,
        'images/s': options.number / seconds,
        'peak memory, MiB': peak,
        'of it taken by the search, MiB': max(0.0, peak - before),
    }


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, writes the file."""
    options = parse(arguments)
    figures = measure(options)
    table = Table('figure', 'value', title='nearest faces of the same person')
    for name, value in figures.items():
        values = value if isinstance(value, list) else [value]
        table.add_row(name, ', '.join(f'{each:,.4g}' if isinstance(each, float) else f'{each:,}' for each in values))
    console = Console()
    console.print(table)
    about = {'machine': machine(), 'versions': versions(), 'figures': figures}
    console.print(', '.join(f'{key}: {value}' for key, value in about['machine'].items()), highlight=False)
    if options.json:
        options.json.write_text(json.dumps(about, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
