"""Hundreds of broken checkpoints for ``fsr_plugins.load``, ``fsr infer``, ``fsr export`` and ``fsr adapt``.

Every case must end well or with one message and status 1 or 2: no traceback, no hang, no file outside its folder, no
code run, no memory taken. Where bits, bytes or pieces of the file were changed and a command ends well, it must have
read what was written. A case is a function of seed and number::

    python tests/campaigns/checkpoints.py --seed 1 --number 300 --seconds 1200
    python tests/campaigns/checkpoints.py --seed 1 --only 17 --show
"""

from __future__ import annotations

import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:3]]

import common
import numpy as np
import tiny_adapter
import torch
from checkpoint_faults import FAULTS
from common import Broken

import fsr_plugins
from fsr_plugins.checkpoints import describe, save_network
from fsr_plugins.config.settings import read_settings
from fsr_plugins.errors import UserError
from fsr_plugins.registry import build_network, load_plugins
from fsr_plugins.stores.images import encode_png

#: Bytes of addresses that a case may take beyond what the process has; letters of a message.
MEMORY, LONGEST = 3 << 30, 1500
#: Faults after which whatever loads must be what was written.
PHYSICAL = frozenset({'bit', 'many_bytes', 'cut', 'cut_inside'})
OLD = Path(__file__).parents[1] / 'fixtures/v0_1/checkpoints'
SWINIR = {
    'type': 'SwinIR', 'upscale': 2, 'in_chans': 3, 'img_size': 8, 'window_size': 4, 'depths': [2], 'embed_dim': 8,
    'num_heads': [2], 'mlp_ratio': 2, 'upsampler': 'pixelshuffledirect',
}  # fmt: skip
POINTS = [[4.8, 6.2], [11.1, 6.1], [8.0, 9.5], [5.5, 12.1], [10.6, 12.0]]


def run(seed: int, number: int, seconds: float, only: int | None = None, show: bool = False) -> Counter[str]:
    """Runs cases: see ``common.run_cases``."""
    with tempfile.TemporaryDirectory() as kept:
        files = whole_files(Path(kept))
    return common.run_cases([(kind, partial(one, kind, files)) for kind in FAULTS], seed, number, seconds, only, show)


def whole_files(folder: Path) -> dict[str, bytes]:
    """Checkpoints that are all right: this version's and the first one's, one that cannot be built without memory."""
    load_plugins()
    about = {'train': [{'size': [tiny_adapter.SIZE] * 2, 'points': POINTS, 'kind': 'folder', 'count': 3}]}
    opt = {'name': 'x', 'scale': 2, 'degradation': tiny_adapter.DEGRADATION, 'datasets': {'train': {'name': 'x'}}}
    for name, block in (('adapt', tiny_adapter.ARCH), ('swinir', SWINIR)):
        torch.manual_seed(0)
        save_network(
            folder / f'{name}.pth',
            {'params': build_network(block)},
            describe('net_sr', block, 7, read_settings(opt).training(about)),
        )
    files = [*sorted(folder.glob('*.pth')), *sorted(OLD.glob('*.pth'))]
    return {file.stem: file.read_bytes() for file in files}


def one(kind: str, files: dict[str, bytes], draw: random.Random, folder: Path) -> str:
    """Makes a case and runs a command on it; in words how it ended.

    Raises:
        Broken: against the rules.
    """
    name = draw.choice(['adapt', 'adapt', *files])
    suffix = 'safetensors' if kind == 'safetensors' and draw.random() < 0.5 else 'pth'
    path = Path(f'net.{suffix}')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        FAULTS[kind](draw, files[name], path)
    # Faces of the size that most of these networks were trained with; exemplars in HR.
    face = np.random.default_rng(0).integers(0, 256, (tiny_adapter.SIZE, tiny_adapter.SIZE, 3), np.uint8)
    Path('lr.png').write_bytes(encode_png(face[::2, ::2].copy()))
    Path('hr.png').write_bytes(encode_png(face))
    command = draw.choice(['load', 'infer', 'infer as trained', 'export', 'export as trained', 'adapt'])
    if command == 'adapt' and name != 'adapt':
        command = 'load'
    with common.limited(memory=MEMORY):
        status = COMMANDS[command](path)
    there = {file.name for file in folder.iterdir()}
    may = {path.name, 'lr.png', 'hr.png'} | ({'out', 'net.pt2', 'out.pth', 'out.png'} if not status else set())
    if more := there - may:
        raise Broken(f'{command} has left {sorted(more)} with status {status}')
    if status == 0 and kind in PHYSICAL:
        compare(path, files[name])
    return f'{command} {status}'


def compare(path: Path, whole: bytes) -> None:
    """Raises Broken where a broken file gives other weights, or says other things of itself, than the whole one."""
    unbroken = Path('whole.pth')
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
        status, said = common.fsr([arguments[0], '-c', str(path), *arguments[1:]])
        if status:
            check_message(said)
        return status

    return call


def check_message(said: str) -> None:
    """Raises Broken where an error is no one message of bounded length."""
    errors = said[said.rfind('fsr: error: ') :]
    if 'fsr: error: ' not in said or 'Traceback' in said or len(errors) > LONGEST or errors.count('\n') > 4:
        raise Broken(f'no one message, {len(errors)} letters', said)


COMMANDS: dict[str, Callable[[Path], int]] = {
    'load': load,
    'infer': command('infer', '-o', 'out', '--device', 'cpu', '--fit', 'lr.png', '--size', '8', '8'),
    'infer as trained': command('infer', '-o', 'out', '--device', 'cpu', '--fit', 'lr.png'),
    'export': command('export', '-o', 'net.pt2', '--size', '8', '8'),
    'export as trained': command('export', '-o', 'net.pt2'),
    'adapt': command('adapt', '-o', 'out.pth', '--exemplar', 'hr.png'),
}


if __name__ == '__main__':
    sys.exit(common.main(run, __doc__ or '', number=300, seconds=1200))
