"""Hundreds of broken checkpoints for ``fsr_plugins.load``, ``fsr infer``, ``fsr export`` and ``fsr adapt``.

Every case must end well or with one message and status 1 or 2: no traceback, no hang, no file outside its folder, no
code run, no memory taken. Where bits, bytes or pieces of the file were changed and a command ends well, it must have
read what was written. A case is a function of seed and number::

    python tests/campaigns/checkpoints.py --seed 1 --number 300 --seconds 1200
    python tests/campaigns/checkpoints.py --seed 1 --only 17 --show
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests'), str(ROOT / 'tests/campaigns')]
# Before torch is loaded.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import tiny_adapter
import torch
from checkpoint_faults import FAULTS

import fsr_plugins
from fsr_plugins.checkpoints import describe, save_network
from fsr_plugins.cli import main as fsr
from fsr_plugins.errors import UserError
from fsr_plugins.registry import build_network, load_plugins
from fsr_plugins.stores.images import encode_png

#: Seconds that a case may take; bytes of addresses that it may take beyond what the process has; letters of a message.
LIMIT, MEMORY, LONGEST = 20.0, 3 << 30, 1500
#: Faults after which whatever loads must be what was written.
PHYSICAL = frozenset({'bit', 'many_bytes', 'cut', 'cut_inside'})
SWINIR = {
    'type': 'SwinIR', 'upscale': 2, 'in_chans': 3, 'img_size': 8, 'window_size': 4, 'depths': [2], 'embed_dim': 8,
    'num_heads': [2], 'mlp_ratio': 2, 'upsampler': 'pixelshuffledirect',
}  # fmt: skip
POINTS = [[4.8, 6.2], [11.1, 6.1], [8.0, 9.5], [5.5, 12.1], [10.6, 12.0]]


class Hang(BaseException):
    """A case that took too long."""


class Broken(Exception):
    """A case that ended against the rules."""


def run(seed: int, number: int, seconds: float, only: int | None = None, show: bool = False) -> Counter[str]:
    """Runs cases until ``number`` or ``seconds`` are reached.

    Returns:
        how often each fault ended how; what is against the rules is in capitals, with its number.
    """
    found: Counter[str] = Counter()
    started, before = time.monotonic(), Path.cwd()
    with tempfile.TemporaryDirectory() as kept:
        files = whole_files(Path(kept))
        for case in [only] if only is not None else range(number):
            if time.monotonic() - started > seconds:
                break
            draw = random.Random(f'{seed}.{case}')
            kind = list(FAULTS)[case % len(FAULTS)]
            with tempfile.TemporaryDirectory() as around:
                try:
                    found[f'{kind}: {one(draw, kind, files, Path(around))}'] += 1
                except (Exception, Hang) as error:
                    found[f'{type(error).__name__.upper()} {kind}, seed {seed}, case {case}: {str(error)[:300]!r}'] += 1
                    if show:
                        traceback.print_exc()
                finally:
                    os.chdir(before)
    return found


def whole_files(folder: Path) -> dict[str, bytes]:
    """Checkpoints that are all right: this version's and the first one's, one that cannot be built without memory."""
    load_plugins()
    about = {'train': [{'size': [tiny_adapter.SIZE] * 2, 'points': POINTS, 'kind': 'folder', 'count': 3}]}
    opt = {'name': 'x', 'scale': 2, 'degradation': tiny_adapter.DEGRADATION, 'datasets': {'train': {'name': 'x'}}}
    for name, block in (('adapt', tiny_adapter.ARCH), ('swinir', SWINIR)):
        torch.manual_seed(0)
        save_network(folder / f'{name}.pth', {'params': build_network(block)}, describe(opt, 'net_sr', block, 7, about))
    files = [*sorted(folder.glob('*.pth')), *sorted((ROOT / 'tests/fixtures/v0_1/checkpoints').glob('*.pth'))]
    return {file.stem: file.read_bytes() for file in files}


def one(draw: random.Random, kind: str, files: dict[str, bytes], around: Path) -> str:
    """Makes a case and runs a command on it; in words how it ended.

    Raises:
        Broken: against the rules.
    """
    name = draw.choice(['adapt', 'adapt', *files])
    whole, folder = files[name], around / 'case'
    folder.mkdir()
    os.chdir(folder)
    suffix = 'safetensors' if kind == 'safetensors' and draw.random() < 0.5 else 'pth'
    path = Path(f'net.{suffix}')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        FAULTS[kind](draw, whole, path)
    # Faces of the size that most of these networks were trained with; exemplars in HR.
    face = np.random.default_rng(0).integers(0, 256, (tiny_adapter.SIZE, tiny_adapter.SIZE, 3), np.uint8)
    Path('lr.png').write_bytes(encode_png(face[::2, ::2].copy()))
    Path('hr.png').write_bytes(encode_png(face))
    command = draw.choice(['load', 'infer', 'infer as trained', 'export', 'export as trained', 'adapt'])
    if command == 'adapt' and name != 'adapt':
        command = 'load'
    with limited():
        status = COMMANDS[command](path)
    there = {file.name for file in folder.iterdir()}
    if 'ran' in there or any(file != folder for file in around.iterdir()):
        raise Broken(f'{command} has left {sorted(there)} and {sorted(file.name for file in around.iterdir())}')
    if (
        more := there
        - {path.name, 'lr.png', 'hr.png'}
        - ({'out', 'net.pt2', 'out.pth', 'out.png'} if not status else set())
    ):
        raise Broken(f'{command} has left {sorted(more)} with status {status}')
    if status == 0 and kind in PHYSICAL:
        compare(path, whole, around / 'whole.pth')
    return f'{command} {status}'


def compare(path: Path, whole: bytes, unbroken: Path) -> None:
    """Raises Broken where a broken file gives other weights, or says other things of itself, than the whole one."""
    unbroken.write_bytes(whole)
    ours, theirs = fsr_plugins.load(path), fsr_plugins.load(unbroken)
    if str(vars(ours)['meta']) != str(vars(theirs)['meta']):
        raise Broken('another meta was read')
    if not all(torch.equal(tensor, theirs.state_dict()[key]) for key, tensor in ours.state_dict().items()):
        raise Broken('other weights were read')


def load(path: Path) -> int:
    """``fsr_plugins.load`` as a command."""
    try:
        net = fsr_plugins.load(path)
    except UserError as error:
        check_message(f'fsr: error: {error}\n')
        return 2
    if not all(bool(torch.isfinite(tensor).all()) for tensor in net.state_dict().values()):
        raise Broken('weights that are no finite numbers were loaded')
    return 0


def command(*arguments: str) -> Callable[[Path], int]:
    """A command of ``fsr`` on a checkpoint."""

    def call(path: Path) -> int:
        said, printed = io.StringIO(), io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
            status = fsr([arguments[0], '-c', str(path), *arguments[1:]])
        if status not in (0, 1, 2):
            raise Broken(f'status {status}')
        if status:
            check_message(said.getvalue())
        return status

    return call


def check_message(said: str) -> None:
    """Raises Broken where an error is no one message of bounded length."""
    errors = said[said.rfind('fsr: error: ') :]
    if 'fsr: error: ' not in said or 'Traceback' in said or len(errors) > LONGEST or errors.count('\n') > 4:
        raise Broken(f'said {said[-400:]!r} ({len(errors)} letters)')


COMMANDS: dict[str, Callable[[Path], int]] = {
    'load': load,
    'infer': command('infer', '-o', 'out', '--device', 'cpu', '--fit', 'lr.png', '--size', '8', '8'),
    'infer as trained': command('infer', '-o', 'out', '--device', 'cpu', '--fit', 'lr.png'),
    'export': command('export', '-o', 'net.pt2', '--size', '8', '8'),
    'export as trained': command('export', '-o', 'net.pt2'),
    'adapt': command('adapt', '-o', 'out.pth', '--exemplar', 'hr.png'),
}


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Bounds time and memory of what is done inside."""

    def hang(signal_number: int, frame: FrameType | None) -> None:
        raise Hang(f'more than {LIMIT:.0f} s')

    pages = int(Path('/proc/self/statm').read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    handler = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def main() -> int:
    """Prints what happened; status 1 if anything is against the rules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--seconds', type=float, default=1200)
    parser.add_argument('--number', type=int, default=300)
    parser.add_argument('--only', type=int, default=None)
    parser.add_argument('--show', action='store_true', help='print tracebacks')
    arguments = parser.parse_args()
    found = run(arguments.seed, arguments.number, arguments.seconds, arguments.only, arguments.show)
    for what, times in sorted(found.items()):
        print(f'{times:>7}  {what}')
    return int(any(what[:2].isupper() for what in found))


if __name__ == '__main__':
    sys.exit(main())
