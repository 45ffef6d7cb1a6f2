"""Images, clips, LMDBs and lists, tiny and of random pixels, where an option file for BasicSR says that its data is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from basicsr.utils.lmdb_util import make_lmdb_from_imgs  # isort: skip

Options = dict[str, Any]
#: Images of a set to train on, and of others; height and width of the LR of these.
TRAINED, MEASURED, LQ_SHAPE = 6, 3, (24, 30)
#: Clips of a set, frames of each, and what a frame is called: REDS' have 100 frames, Vimeo's seven from 1 on.
REDS, VIMEO, TESTED = (
    (['001'], 100, '{:08d}', 0),
    (['00001/0001', '00001/0002'], 7, 'im{}', 1),
    (['000'], 7, '{:08d}', 0),
)


def make_set(block: Options, phase: str, opt: Options, side: int, folder: Path) -> None:
    """Writes the data of one set below ``folder``.

    Args:
        opt: the whole file.
        side: the least side of its LR.
    """
    _MAKERS.get(block['type'], _images)(block, phase, opt, side, folder)


def write_images(place: Path, names: Sequence[str], height: int, width: int) -> None:
    """Writes smooth random images, uint8 (height, width, 3), into a folder, or an LMDB if it is called so."""
    is_lmdb = place.suffix == '.lmdb'
    images = place.with_suffix('.images') if is_lmdb else place
    if (images / f'{names[0]}.png').exists():
        return
    numbers = np.random.default_rng(0)
    for name in names:
        coarse = numbers.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(images / f'{name}.png'), cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    if is_lmdb:
        make_lmdb_from_imgs(str(images), str(place), [f'{name}.png' for name in names], list(names), map_size=2**28)


def _list(file: Path, lines: Sequence[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('\n'.join(lines) + '\n', encoding='utf-8')


def _images(block: Options, phase: str, opt: Options, side: int, folder: Path) -> None:
    scale = opt.get('scale', 1)
    training = phase == 'train'
    height, width = (side, side) if training or scale == 1 else LQ_SHAPE
    names = [f'{number:04d}' for number in range(TRAINED if training else MEASURED)]
    template = block.get('filename_tmpl', '{}')
    # What is validated on need not be a multiple of the scale.
    beyond = 0 if training else scale - 1
    if 'dataroot_gt' in block:
        write_images(folder / block['dataroot_gt'], names, height * scale + beyond, width * scale)
    if 'dataroot_lq' in block:
        write_images(folder / block['dataroot_lq'], [template.format(name) for name in names], height, width)
    if block.get('meta_info_file'):
        lines = [f'{name}.png ({height * scale},{width * scale},3)' for name in names]
        _list(folder / block['meta_info_file'], lines)


def _clips(kind: tuple[list[str], int, str, int]) -> Callable[..., None]:
    clips, frames, called, first = kind

    def make(block: Options, phase: str, opt: Options, side: int, folder: Path) -> None:
        names = [f'{clip}/{called.format(number + first)}' for clip in clips for number in range(frames)]
        size = side * opt['scale']
        # TOFlow takes LR that has been enlarged before.
        lq = size if opt['network_g']['type'] == 'TOFlow' else side
        write_images(folder / block['dataroot_gt'], names, size, size)
        write_images(folder / block['dataroot_lq'], names, lq, lq)
        if 'meta_info_file' in block:
            _list(folder / block['meta_info_file'], [f'{clip} {frames} ({size},{size},3)' for clip in clips])

    return make


def _listed(block: Options, phase: str, opt: Options, side: int, folder: Path) -> None:
    """Real-ESRGAN's sets: images that a list names."""
    names = [f'HR/{number:04d}' for number in range(TRAINED)]
    write_images(folder / block['dataroot_gt'], names, side * opt['scale'], side * opt['scale'])
    lines = [f'{name}.png' for name in names]
    if 'dataroot_lq' in block:
        pairs = [name.replace('HR', 'LR') for name in names]
        write_images(folder / block['dataroot_lq'], pairs, side, side)
        lines = [f'{line}, {pair}.png' for line, pair in zip(lines, pairs, strict=True)]
    _list(folder / block['meta_info'], lines)


def _faces(block: Options, phase: str, opt: Options, side: int, folder: Path) -> None:
    """GFPGAN's set: faces, and a file that says where eyes and mouths are."""
    write_images(folder / block['dataroot_gt'], [f'{number:08d}' for number in range(TRAINED)], side, side)
    if 'component_path' in block:
        places = {'left_eye': (0.35, 0.4, 0.08), 'right_eye': (0.65, 0.4, 0.08), 'mouth': (0.5, 0.75, 0.12)}
        parts = {part: torch.tensor(place) * side for part, place in places.items()}
        file = folder / block['component_path']
        file.parent.mkdir(parents=True, exist_ok=True)
        names = [f'{number:08d}' for number in range(TRAINED)]
        torch.save({name: {part: place.clone() for part, place in parts.items()} for name in names}, file)


_MAKERS: Mapping[str, Callable[..., None]] = {
    'REDSDataset': _clips(REDS),
    'REDSRecurrentDataset': _clips(REDS),
    'Vimeo90KDataset': _clips(VIMEO),
    'Vimeo90KRecurrentDataset': _clips(VIMEO),
    'VideoTestDataset': _clips(TESTED),
    'VideoTestDUFDataset': _clips(TESTED),
    'VideoRecurrentTestDataset': _clips(TESTED),
    'VideoTestVimeo90KDataset': _clips(VIMEO),
    'RealESRGANDataset': _listed,
    'RealESRGANPairedDataset': _listed,
    'FFHQDegradationDataset': _faces,
}
