"""Faces a second of ``fsr infer``, as a user types it, by what computes: the whole command, and without its start.

    python scripts/benchmark_infer.py -opt options/paper/pkdn_celeba.yml --stage student
    python scripts/benchmark_infer.py -c face_x8 --faces 640

The network is a checkpoint's, or a stage's ``network_g`` with random weights: how fast it is hangs on no weight. Faces
are the built-in ones, reduced to LR, as PNGs in a folder; results are written as PNGs. Each way is run once to measure
what ``auto`` takes, which later calls remember, then in turns; medians count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from messages import positive, says_what_is_wrong
from rich.console import Console
from rich.table import Table

from fsr_plugins import (
    compat,  # noqa: F401  before anything of BasicSR
    config,
)
from fsr_plugins.checkpoints.writing import save_network
from fsr_plugins.engine.machine import machine, versions
from fsr_plugins.errors import RunError, UserError
from fsr_plugins.registry import build
from fsr_plugins.stores.opening import open_store

LR = 16
#: What is run: arguments by the name in the table.
WAYS = {
    'as it comes': [],
    'fp32, PyTorch': ['--precision', 'fp32', '--engine', 'torch'],
    'fp32, ONNX Runtime': ['--precision', 'fp32', '--engine', 'onnx'],
    'bf16, PyTorch': ['--precision', 'bf16', '--engine', 'torch'],
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument('-c', '--checkpoint', help='a checkpoint, or the name of a bundled network')
    network.add_argument('-opt', type=Path, help='an option file, whose network has random weights')
    parser.add_argument('--stage', help='of the option file; needed where it has several')
    parser.add_argument('--faces', type=positive, default=320, help='in the folder (default: 320)')
    parser.add_argument('--batch', type=positive, help='--batch-size of fsr infer')
    parser.add_argument('--runs', type=positive, default=3, help='of each way; medians count (default: 3)')
    parser.add_argument('--ways', nargs='+', choices=WAYS, default=list(WAYS), metavar='WAY')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write machine, versions and figures there')
    return parser.parse_args(arguments)


def random_network(file: Path, stage: str | None, folder: Path) -> Path:
    """A checkpoint of the stage's ``network_g`` with random weights.

    Raises:
        UserError: no such stage, or one without this network.
    """
    stages = config.load(file, []).stages
    if stage is None and len(stages) == 1:
        stage = next(iter(stages))
    if stage not in stages:
        raise UserError(f"{file} has no stage '{stage}': give --stage one of {', '.join(stages)}.")
    opt = config.runtime(stages[stage])
    if 'network_g' not in opt:
        raise UserError(f"Stage '{stage}' of {file} has no 'network_g'.")
    torch.manual_seed(0)
    block = dict(opt['network_g'])
    meta = {
        'format': 1, 'net': 'net_g', 'arch': block, 'scale': opt['scale'], 'sizes': {}, 'range': [0.0, 1.0],
        'channels': 'RGB', 'degradation': {'type': 'BicubicDown', 'scale': opt['scale']},
    }  # fmt: skip
    path = folder / 'network.pth'
    save_network(path, {'params': build('archs', dict(block))}, meta)
    return path


def write_faces(folder: Path, count: int) -> None:
    """LR faces as PNGs."""
    folder.mkdir()
    store = open_store(f'portraits://studio/test?number={count}&size={8 * LR}')
    for key in store.keys:
        image = cv2.resize(store.image(key), (LR, LR), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f'{key.replace("/", "_")}.png'), image[..., ::-1])


def infer(checkpoint: str, faces: Path, out: Path, more: Sequence[str]) -> tuple[float, float]:
    """Seconds of the whole command, and those that it states itself, without its start.

    Raises:
        RunError: it failed; its output is in the message.
    """
    said = out.with_suffix('.json')
    command = [sys.executable, '-m', 'fsr_plugins.inference', str(faces), '-c', checkpoint, '-o', str(out), '--aligned',
               '--overwrite', '--json', str(said), *more]  # fmt: skip
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RunError(f'{" ".join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}')
    return seconds, float(json.loads(said.read_text())['seconds'])


def measure(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """Faces a second by way."""
    checkpoint = options.checkpoint or str(random_network(options.opt, options.stage, folder))
    write_faces(folder / 'faces', options.faces)
    batch = ['--batch-size', str(options.batch)] if options.batch else []
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in options.ways}
    for run in range(options.runs + 1):
        for way in options.ways:
            seconds = infer(checkpoint, folder / 'faces', folder / 'out', [*WAYS[way], *batch])
            if run:
                found[way].append(seconds)
    return {
        way: {
            'command': options.faces / statistics.median(whole for whole, _ in seconds),
            'restoring': options.faces / statistics.median(inner for _, inner in seconds),
        }
        for way, seconds in found.items()
    }


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table, writes the file."""
    options = parse(arguments)
    console = Console()
    with tempfile.TemporaryDirectory(prefix='benchmark_infer_') as folder:
        figures = measure(options, Path(folder))
    table = Table('way', 'faces/s, whole command', 'without its start', title=f'fsr infer, {options.faces} faces')
    for way, rates in figures.items():
        table.add_row(way, f'{rates["command"]:.1f}', f'{rates["restoring"]:.1f}')
    console.print(table)
    if options.json:
        content = {'machine': machine(), 'versions': versions(), 'faces': options.faces, 'faces_per_second': figures}
        options.json.write_text(json.dumps(content, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
