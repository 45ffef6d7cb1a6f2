#!/usr/bin/env python
"""Measures seconds and peak memory of BLUFR's rates at the benchmark's full size, on synthetic embeddings.

    python scripts/benchmark_blufr.py --trials 1
    python scripts/benchmark_blufr.py --device cuda --json blufr.json

No faces and no protocol file are needed: what is measured is the time and memory of the evaluation alone, in a process
of its own. A trial's sizes are the average of the published ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark.memory import peak_bytes
from benchmark.process import Side, unwinding_when_ended
from benchmark.report import machine, versions
from messages import positive, says_what_is_wrong
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fsr_plugins.metrics.false_accepts import count_pairs, verification_rate
from fsr_plugins.metrics.open_set import open_set_rate

IMAGES, PEOPLE, GALLERY, DIMENSION = 9708, 4249, 1000, 512
#: Of so many people there is more than one image; LFW has 1,680 of 5,749, some of them very often.
WITH_SEVERAL = 1242


class Evaluation:
    """Trials of random faces, evaluated in the process that makes this object."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def trial(self, seed: int) -> dict[str, Any]:
        """Seconds and values of one trial."""
        embeddings, labels, gallery = self._faces(seed)
        probes = torch.ones(len(labels), dtype=torch.bool, device=self.device)
        probes[gallery] = False
        start = time.perf_counter()
        vr = verification_rate(embeddings, labels, 0.001)
        between = time.perf_counter()
        sets = (embeddings[gallery], labels[gallery], embeddings[probes], labels[probes])
        identified = open_set_rate(*sets, far=0.01)
        end = time.perf_counter()
        genuine, impostors = count_pairs(labels)
        figures = {'vr_seconds': between - start, 'dir_seconds': end - between}
        return figures | {'genuine': genuine, 'impostors': impostors, 'vr': vr.rate, 'dir': identified.rate}

    def memory(self) -> dict[str, float]:
        """Peak of the process and, on CUDA, of the device, in GiB."""
        found = {'memory_gib': peak_bytes() / 2**30}
        if self.device.type == 'cuda':
            found['device_memory_gib'] = torch.cuda.max_memory_allocated(self.device) / 2**30
        return found

    def _faces(self, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings and labels, and the places of a gallery of one image each of 1,000 people."""
        rng = np.random.default_rng(seed)
        # A Zipf law gives some people hundreds of images, as in LFW: the genuine pairs are theirs.
        weights = 1 / np.arange(3, WITH_SEVERAL + 3) ** 1.05
        more = rng.choice(WITH_SEVERAL, IMAGES - PEOPLE, p=weights / weights.sum())
        labels = torch.from_numpy(np.concatenate([np.arange(PEOPLE), more]))
        generator = torch.Generator().manual_seed(seed)
        centres = torch.randn(PEOPLE, DIMENSION, generator=generator)
        values = centres[labels] + 2.0 * torch.randn(IMAGES, DIMENSION, generator=generator)
        gallery = torch.from_numpy(rng.permutation(PEOPLE)[:GALLERY])
        embeddings = torch.nn.functional.normalize(values)
        return embeddings.to(self.device), labels.to(self.device), gallery.to(self.device)


def measure(trials: int, device: str) -> dict[str, Any]:
    """Figures of every trial, the memory before the first and the peak after the last."""
    with Side(Evaluation, device) as evaluation:
        before = evaluation.call('memory')
        found = [evaluation.call('trial', seed) for seed in range(trials)]
        return {'trials': found, 'before': before, 'peak': evaluation.call('memory')}


def show(figures: dict[str, Any], console: Console) -> None:
    """Prints a row a trial and the memory."""
    table = Table('trial', 'genuine', 'impostors', 'VR, s', 'DIR, s', 'VR', 'DIR')
    for number, trial in enumerate(figures['trials'], 1):
        seconds = (f'{trial["vr_seconds"]:.2f}', f'{trial["dir_seconds"]:.2f}')
        rates = (f'{trial["vr"]:.4f}', f'{trial["dir"]:.4f}')
        table.add_row(str(number), f'{trial["genuine"]:,}', f'{trial["impostors"]:,}', *seconds, *rates)
    console.print(table)
    for name, peak in figures['peak'].items():
        console.print(f'{name}: {peak:.2f}, of which before the first trial {figures["before"][name]:.2f}')


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--trials', type=positive, default=10, help='how many trials (default: 10)')
    parser.add_argument('--device', default='cpu', help='where embeddings lie (default: cpu)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write machine, versions and figures there')
    options = parser.parse_args(arguments)
    console = Console()
    with unwinding_when_ended():
        figures = measure(options.trials, options.device)
    show(figures, console)
    about = {'machine': machine(), 'versions': versions(), 'figures': figures}
    console.print(', '.join(f'{key}: {value}' for key, value in about['machine'].items()), highlight=False)
    if options.json:
        options.json.write_text(json.dumps(about, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
