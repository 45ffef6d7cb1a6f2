#!/usr/bin/env python
"""Runs BasicSR's own option files on tiny data, and says which run here and why others do not.

    git clone https://github.com/XPixelGroup/BasicSR
    python scripts/basicsr_recipes.py --recipes BasicSR/options
    python scripts/basicsr_recipes.py --recipes BasicSR/options --only EDSR ESRGAN -o table.md

Each file of ``train/`` is trained by ``fsr train`` for some iterations, with validation in between; each of ``test/``
is measured by ``fsr test``, as it lies there. The images, LMDBs and lists are made where the file says that they are,
below a folder of its own. What a CPU and a minute need is changed by ``--set``: the number of GPUs, of iterations, of
threads, the sizes of networks, crops and batches; weights to begin with and VGG's losses are left out. A file for
testing gets random weights under the name that it gives.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
import yaml

from fsr_plugins.cli import main as fsr
from fsr_plugins.config.basicsr import DATASETS, MODELS
from fsr_plugins.config.yamlfile import read
from fsr_plugins.registry import build_network

from basicsr.utils.lmdb_util import make_lmdb_from_imgs  # isort: skip

Options = dict[str, Any]
#: Sizes of networks, by the argument's name.
SMALL: Mapping[str, object] = {
    'num_feat': 8, 'num_block': 1, 'num_group': 1, 'num_grow_ch': 4, 'squeeze_factor': 4, 'num_channel': 8,
    'embed_dim': 12, 'depths': [2, 2], 'num_heads': [2, 2], 'img_size': 16,
}  # fmt: skip
#: Of all files, as far as they have the key.
COMMON: Mapping[str, object] = {
    'num_gpu': 0, 'train.total_iter': 4, 'val.val_freq': 2, 'logger.print_freq': 2, 'logger.save_checkpoint_freq': 4,
    'datasets.train.batch_size_per_gpu': 2, 'datasets.train.num_worker_per_gpu': 1,
}  # fmt: skip
#: The side of LR crops; that of HR crops where a discriminator takes one size only.
LQ_SIZE, JUDGED_SIZE = 16, 128
#: Images of a set to train on, and of others; height and width of the LR of these.
TRAINED, MEASURED, LQ_SHAPE = 6, 3, (24, 30)


@dataclass(frozen=True)
class Outcome:
    """What became of an option file."""

    file: str
    model: str
    runs: bool
    said: str  #: figures, or why it does not run


def outcome(file: Path, folder: Path) -> Outcome:
    """Makes the data of an option file below ``folder`` and runs it there."""
    opt = read(file).values
    testing = 'train' not in opt
    given = dict(edits(opt))
    arguments = ['test' if testing else 'train', '-opt', str(file), '--json', 'out.json']
    for key, value in given.items():
        arguments += ['--set', f'{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}']
    said = io.StringIO()
    with inside(folder), redirect_stdout(io.StringIO()), redirect_stderr(said):
        if opt['model_type'] in MODELS:
            make_data(opt, folder)
            if testing:
                make_weights(opt, given, folder)
        said.seek(0)
        said.truncate()
        status = fsr(arguments)
    name = str(PurePosixPath(*file.parts[-2:]))
    if status == 0:
        return Outcome(name, opt['model_type'], True, figures(folder / 'out.json', folder))
    lines = [line for line in said.getvalue().splitlines() if file.name in line] or [said.getvalue().strip()]
    reason = next((line for line in lines if 'model_type' in line), lines[0])
    return Outcome(name, opt['model_type'], False, reason.partition(file.name)[2].lstrip(':0123456789 '))


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Inside, the working directory is another."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def figures(file: Path, folder: Path) -> str:
    """In a few words, what a run has left: figures of the result on each set, and pictures."""
    found = yaml.safe_load(file.read_text(encoding='utf-8'))
    told = [
        f'{name}: ' + ', '.join(f'{metric} {value:.2f}' for metric, value in nets['result'].items())
        for name, nets in found['validation'].items()
        if nets.get('result')
    ]
    pictures = len(list(folder.glob('results/**/*.png')))
    return '; '.join(told + ([f'{pictures} pictures'] if pictures else []))


def edits(opt: Options) -> Iterator[tuple[str, object]]:
    """What ``--set`` gives to an option file."""
    for key, value in COMMON.items():
        block, _, last = key.rpartition('.')
        if last in (_at(opt, block) or {}):
            yield key, value
    for network in (key for key in opt if key.startswith('network_')):
        for argument in opt[network]:
            if argument in SMALL:
                yield f'{network}.{argument}', SMALL[argument]
    if 'network_d' not in opt and 'gt_size' in (_at(opt, 'datasets.train') or {}):
        yield 'datasets.train.gt_size', LQ_SIZE * opt['scale']
    train = opt.get('train') or {}
    for key, block in train.items():
        if isinstance(block, dict) and block.get('type') == 'PerceptualLoss':
            yield f'train.{key}', None
    if train:
        for key, value in (opt.get('path') or {}).items():
            if key.startswith('pretrain_') and value is not None:
                yield f'path.{key}', None


def _at(opt: Options, keys: str) -> Any:
    found: Any = opt
    for key in keys.split('.') if keys else ():
        found = found.get(key) if isinstance(found, dict) else None
    return found


def make_data(opt: Options, folder: Path) -> None:
    """Writes the images, LMDBs and lists of every set where the option file says that they are."""
    for phase, block in opt['datasets'].items():
        if block['type'] not in DATASETS:
            continue
        count = TRAINED if phase == 'train' else MEASURED
        scale = opt['scale']
        side = max(JUDGED_SIZE // scale, LQ_SIZE) + 4
        height, width = (side, side) if phase == 'train' else LQ_SHAPE
        names = [f'{number:04d}' for number in range(count)]
        template = block.get('filename_tmpl', '{}')
        # What is validated on need not be a multiple of the scale.
        beyond = 0 if phase == 'train' else scale - 1
        if 'dataroot_gt' in block:
            write_images(folder / block['dataroot_gt'], names, height * scale + beyond, width * scale)
        if 'dataroot_lq' in block:
            write_images(folder / block['dataroot_lq'], [template.format(name) for name in names], height, width)
        if block.get('meta_info_file'):
            listed = folder / block['meta_info_file']
            listed.parent.mkdir(parents=True, exist_ok=True)
            lines = [f'{name}.png ({height * scale},{width * scale},3)' for name in names]
            listed.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def write_images(place: Path, names: Sequence[str], height: int, width: int) -> None:
    """Writes smooth random images, uint8 (height, width, 3), into a folder, or an LMDB if it is called so."""
    if place.exists():
        return
    is_lmdb = place.suffix == '.lmdb'
    images = place.with_suffix('.images') if is_lmdb else place
    images.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for name in names:
        coarse = numbers.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        cv2.imwrite(str(images / f'{name}.png'), cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    if is_lmdb:
        make_lmdb_from_imgs(str(images), str(place), [f'{name}.png' for name in names], list(names), map_size=2**26)


def make_weights(opt: Options, given: Mapping[str, object], folder: Path) -> None:
    """Writes random weights, laid out as BasicSR's, under the name that a file for testing gives."""
    path = (opt.get('path') or {}).get('pretrain_network_g')
    if path is None:
        return
    own = {key.partition('.')[2]: value for key, value in given.items() if key.startswith('network_g.')}
    torch.manual_seed(0)
    net = build_network({**opt['network_g'], **own})
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    torch.save({'params': net.state_dict()}, folder / path)


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as Markdown; of why a file does not run, the first clause."""
    lines = ['| option file | `model_type` | runs as | said |', '|---|---|---|---|']
    for each in outcomes:
        state = f'`{MODELS.get(each.model, each.model)}`' if each.runs else 'refused'
        said = each.said if each.runs else each.said.split(';')[0]
        lines.append(f'| {each.file} | `{each.model}` | {state} | {said.replace("|", "/")} |')
    return '\n'.join(lines) + '\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; the exit status is 1 if a file of a model that runs here does not run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--recipes', type=Path, required=True, metavar='DIR', help="the folder options/ of BasicSR's")
    parser.add_argument('--only', nargs='*', metavar='WORD', help='option files whose path has one of these words')
    parser.add_argument('-o', '--output', type=Path, help='write the table there too')
    given = parser.parse_args(arguments)
    found = sorted(given.recipes.resolve().glob('train/**/*.yml')) + sorted(
        given.recipes.resolve().glob('test/**/*.yml')
    )
    files = [file for file in found if not given.only or any(word in str(file) for word in given.only)]
    if not files:
        parser.error(f'{given.recipes} has no option file in train/ or test/ that is asked for.')
    outcomes = []
    for file in files:
        with TemporaryDirectory(prefix='recipe_') as folder:
            outcomes.append(outcome(file, Path(folder)))
        print(f'{"runs" if outcomes[-1].runs else "refused":<8} {outcomes[-1].file}: {outcomes[-1].said}', flush=True)
    text = table(outcomes)
    print(f'\n{text}')
    if given.output is not None:
        given.output.write_text(text, encoding='utf-8')
    return int(any(each.model in MODELS and not each.runs for each in outcomes))


if __name__ == '__main__':
    raise SystemExit(main())
