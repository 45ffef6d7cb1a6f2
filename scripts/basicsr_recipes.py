#!/usr/bin/env python
"""Runs BasicSR's own option files on tiny data, and says which run here and why others do not.

    git clone https://github.com/XPixelGroup/BasicSR
    python scripts/basicsr_recipes.py --recipes BasicSR/options
    python scripts/basicsr_recipes.py --recipes BasicSR/options --only EDSR ESRGAN -o table.md
    python scripts/basicsr_recipes.py --recipes Real-ESRGAN/options --plugins realesrgan

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
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml
from messages import says_what_is_wrong

from fsr_plugins.cli import main as fsr
from fsr_plugins.config.basicsr import MODELS
from fsr_plugins.config.yamlfile import read
from fsr_plugins.registry import build_network

sys.path.insert(0, str(Path(__file__).parent))
from recipe_data import make_set

Options = dict[str, Any]
#: Sizes of networks, by the argument's name.
SMALL: Mapping[str, object] = {
    'num_feat': 8, 'num_block': 1, 'num_group': 1, 'num_grow_ch': 4, 'squeeze_factor': 4, 'num_channel': 8,
    'embed_dim': 12, 'depths': [2, 2], 'num_heads': [2, 2], 'img_size': 16,
    'mid_channels': 8, 'num_blocks': 1, 'num_extract_block': 1, 'num_reconstruct_block': 1, 'deformable_groups': 2,
    'num_layer': 16, 'crop_size': 64, 'narrow': 0.0625, 'num_mlp': 2,
    'spynet_path': None, 'edvr_path': None, 'decoder_load_path': None,
}  # fmt: skip
#: Of all files, as far as they have the key.
COMMON: Mapping[str, object] = {
    'num_gpu': 0, 'train.total_iter': 4, 'val.val_freq': 2, 'logger.print_freq': 2, 'logger.save_checkpoint_freq': 4,
    'datasets.train.batch_size_per_gpu': 2, 'datasets.train.num_worker_per_gpu': 1,
    'train.net_g_reg_every': 2, 'train.net_d_reg_every': 2, 'queue_size': 4,
}  # fmt: skip
#: The side of LR crops; that of HR crops where a discriminator takes one size only.
LQ_SIZE, JUDGED_SIZE, FACE_SIZE = 16, 128, 512
#: Of networks that need larger ones, by their type; frames of a clip, of networks that take any number.
LQ_SIZES, FRAMES = {'BasicVSR': 64, 'IconVSR': 64, 'BasicVSRPlusPlus': 64, 'HiFaceGAN': 64}, 5


@dataclass(frozen=True)
class Outcome:
    """What became of an option file."""

    file: str
    model: str
    runs: bool
    said: str  #: figures, or why it does not run


def outcome(file: Path, folder: Path, plugins: Sequence[str] = ()) -> Outcome:
    """Makes the data of an option file below ``folder`` and runs it there, with packages for BasicSR."""
    opt = read(file).values
    testing = 'train' not in opt
    given: dict[str, object] = {**dict(edits(opt)), **({'plugins': list(plugins)} if plugins else {})}
    arguments = ['test' if testing else 'train', '-opt', str(file), '--json', 'out.json']
    for key, value in given.items():
        arguments += ['--set', f'{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}']
    said = io.StringIO()
    with inside(folder), redirect_stdout(io.StringIO()), redirect_stderr(said):
        make_data(opt, given, folder)
        if testing:
            make_weights(opt, given, folder)
        said.seek(0)
        said.truncate()
        status = fsr(arguments)
    name = str(PurePosixPath(*file.parts[-2:]))
    if status == 0:
        return Outcome(name, opt['model_type'], True, figures(folder / 'out.json', folder))
    told = [line for line in said.getvalue().splitlines() if 'has no effect here' not in line]
    lines = [line for line in told if file.name in line] or [' '.join(told).strip()]
    reason = next((line for line in lines if 'model_type' in line), lines[0])
    return Outcome(name, opt['model_type'], False, reason.rpartition(file.name)[2].lstrip(':0123456789 '))


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
    if not told:
        told = [f'{stage["iterations"]} iterations' for stage in found.get('stages', {}).values()]
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
            if argument == 'input_size' and hosts(opt):
                yield f'{network}.{argument}', lq_size(opt) * opt['scale']
            elif argument == 'out_size':
                yield f'{network}.{argument}', lq_size(opt)
            elif argument in SMALL:
                yield f'{network}.{argument}', SMALL[argument]
    if 'network_d' not in opt or hosts(opt):
        for key in ('datasets.train.gt_size', 'gt_size'):
            if _at(opt, key) is not None:
                yield key, lq_size(opt) * opt['scale']
    if 'out_size' in (_at(opt, 'datasets.train') or {}):
        yield 'datasets.train.out_size', lq_size(opt)
    if (_at(opt, 'datasets.train.num_frame') or 0) > FRAMES:
        yield 'datasets.train.num_frame', FRAMES
    train = opt.get('train') or {}
    if train and hosts(opt):
        yield from (('train.total_iter', 2), ('logger.save_checkpoint_freq', 2))
        if lq_size(opt) > LQ_SIZE:
            yield 'datasets.train.batch_size_per_gpu', 1
    for key, block in train.items():
        if isinstance(block, dict) and block.get('type') == 'PerceptualLoss':
            yield f'train.{key}', None
            if 'pixel_opt' not in train:
                yield 'train.pixel_opt', {'type': 'L1Loss'}
    if train:
        for key, value in (opt.get('path') or {}).items():
            if key.startswith('pretrain_') and value is not None:
                yield f'path.{key}', None


def _at(opt: Options, keys: str) -> Any:
    found: Any = opt
    for key in keys.split('.') if keys else ():
        found = found.get(key) if isinstance(found, dict) else None
    return found


def make_data(opt: Options, given: Mapping[str, object], folder: Path) -> None:
    """Writes the data of every set where the option file says that it is."""
    side = max(JUDGED_SIZE // opt.get('scale', 1), lq_size(opt)) + 4
    if hosts(opt):
        # Crops of a clip must fit into it; whole images are of the size that a network makes.
        side = lq_size(opt)
    for phase, block in opt['datasets'].items():
        make_set(block, phase, opt, side, folder)


def hosts(opt: Options) -> bool:
    """Whether the file is for a model that is hosted."""
    return opt['model_type'] not in MODELS


def lq_size(opt: Options) -> int:
    """The side of LR crops: what the networks need."""
    network = opt['network_g']['type']
    if 'out_size' in opt['network_g']:
        # Eyes and mouths are cut out by the whole number of times that a face is larger than this.
        return FACE_SIZE if 'network_d_mouth' in opt else LQ_SIZE
    if network not in LQ_SIZES and 'input_size' in opt.get('network_d', {}) and hosts(opt):
        return JUDGED_SIZE // int(opt['scale'])
    return LQ_SIZES.get(network, LQ_SIZE)


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
        state = (f'`{MODELS[each.model]}`' if each.model in MODELS else 'hosted') if each.runs else 'refused'
        said = each.said if each.runs else each.said.split(';')[0]
        lines.append(f'| {each.file} | `{each.model}` | {state} | {said.replace("|", "/")} |')
    return '\n'.join(lines) + '\n'


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; the exit status is 1 if a file does not run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--recipes', type=Path, required=True, metavar='DIR', help="the folder options/ of BasicSR's")
    parser.add_argument('--only', nargs='*', metavar='WORD', help='option files whose path has one of these words')
    parser.add_argument('--plugins', nargs='*', default=[], help='packages that register what the files name')
    parser.add_argument('-o', '--output', type=Path, help='write the table there too')
    given = parser.parse_args(arguments)
    # Real-ESRGAN and GFPGAN have theirs in one folder.
    patterns = ('train/**/*.yml', 'test/**/*.yml', '*.yml')
    found = [file for pattern in patterns for file in sorted(given.recipes.resolve().glob(pattern))]
    files = [file for file in found if not given.only or any(word in str(file) for word in given.only)]
    if not files:
        parser.error(f'{given.recipes} has no option file in train/ or test/ that is asked for.')
    outcomes = []
    for file in files:
        with TemporaryDirectory(prefix='recipe_') as folder:
            outcomes.append(outcome(file, Path(folder), given.plugins))
        print(f'{"runs" if outcomes[-1].runs else "refused":<8} {outcomes[-1].file}: {outcomes[-1].said}', flush=True)
    text = table(outcomes)
    print(f'\n{text}')
    if given.output is not None:
        given.output.write_text(text, encoding='utf-8')
    return int(not all(each.runs for each in outcomes))


if __name__ == '__main__':
    sys.exit(main())
