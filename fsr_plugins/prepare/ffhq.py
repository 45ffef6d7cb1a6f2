"""FFHQ (Karras et al., CVPR 2019): aligned faces as 1024x1024, 512x512 or 128x128 PNGs, folder or zip."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Literal

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import Format, Prepared, Preparer, add_output_arguments, register
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.centre import crop_centre
from fsr_plugins.prepare.plan import Item, PreparationPlan, Skip, images_by_key, one_by_one
from fsr_plugins.prepare.sources import open_source
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.records import Face

Split = Literal['train', 'val', 'all']

_IMAGE = r'(?P<key>\d{5})\.(?:png|jpg|webp)'
#: Which images of a source are taken: the first that are there. Originals before alignment are never.
_LAYOUTS = [
    re.compile(rf'(?:.*/)?images1024x1024/(?:.*/)?{_IMAGE}'),
    re.compile(rf'(?!(?:.*/)?(?:in-the-wild-images|thumbnails128x128)/)(?:.*/)?{_IMAGE}'),
    re.compile(rf'(?:.*/)?thumbnails128x128/(?:.*/)?{_IMAGE}'),
]
_LARGE, _SMALL = 'images1024x1024/00000/00000.png', 'thumbnails128x128/00000/00000.png'
#: FFHQ's own: the first 60,000 images are for training, the other 10,000 for validation.
TRAINING = 60_000


def prepare_ffhq(
    src: Path,
    dst: Path,
    *,
    size: int = 128,
    split: Split = 'all',
    number: int | None = None,
    form: Format | None = None,
    encoding: Encoding | None = None,
) -> Prepared:
    """Reduces FFHQ's faces, which are aligned and cropped already; keys are ``00000`` to ``69999``.

    TSNet trains with 20,000 of them at 64x64, and tests with others, both processed as in SCGAN, which publishes its
    sets ready made. Which images these are is not said: ``number=20000`` takes the first of FFHQ's training images, and
    its validation images are there to test. That is a choice of this preparer.

    Args:
        src: Folder or zip of ``images1024x1024``, of ``thumbnails128x128`` or of any other size, with the sub-folders
            ``00000`` to ``69000`` or without. Where several sizes are there, the largest that is named so is taken.
        dst: Folder or ``*.lmdb`` to write.
        size: Side to which faces are reduced, antialiased as MATLAB's ``imresize`` does; smaller ones are left out.
        split: FFHQ's: 00000 to 59999 to train, 60000 to 69999 to validate (``category`` in ``ffhq-dataset-v2.json``).
        number: Only so many, the first; None: all.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.

    Raises:
        UserError: the source is not FFHQ or has fewer images, no image is left, or an argument is out of range.
    """
    if size < 1 or number is not None and number < 1:
        raise UserError(f'size {size} and number {number} do not fit: both are at least 1.')
    with open_source(src) as images:
        names, skipped = images_by_key(images, 'FFHQ', f'{_LARGE} or {_SMALL}', *_LAYOUTS)
        if split != 'all':
            names = {key: name for key, name in names.items() if (int(key) < TRAINING) == (split == 'train')}
        if number is not None and number > len(names):
            raise UserError(f"'{src}' has {len(names)} images of the split {split}; {number} are asked for.")
        items = [Item(key, name) for key, name in list(names.items())[:number]]

        def face(item: Item) -> Face | Skip:
            return crop_centre(item, images.image(item.name), size)

        protocol = {'size': size, 'split': split, 'number': number}
        plan = PreparationPlan('ffhq', protocol, items, one_by_one(face), skipped, source=images)
        return carry_out(plan, dst, form=form, encoding=encoding)


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_ffhq`."""
    parser.add_argument('src', metavar='SRC', type=given_path, help='folder or zip of the aligned faces, of any size')
    add_output_arguments(parser)
    parser.add_argument('--size', type=int, default=128, help='reduce the faces to this side (default: 128)')
    parser.add_argument(
        '--split', choices=['train', 'val', 'all'], default='all', help='the first 60,000 images, the others, or all'
    )
    parser.add_argument('--number', type=int, help='only so many of the split, the first')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_ffhq` from parsed arguments."""
    return prepare_ffhq(
        args.src,
        args.dst,
        size=args.size,
        split=args.split,
        number=args.number,
        form=args.format,
        encoding=args.encoding,
    )


register(
    Preparer(
        name='ffhq',
        summary='FFHQ: the aligned faces, reduced (TSNet: 20,000 at 64x64)',
        example='fsr prepare ffhq images1024x1024 datasets/ffhq/train_hr64.lmdb --size 64 --split train --number 20000',
        add_arguments=add_arguments,
        run=run,
        where='https://github.com/NVlabs/ffhq-dataset',
        terms=(
            'the set is under Creative Commons BY-NC-SA 4.0, non-commercial; each photograph has a licence of its own, '
            'said in ffhq-dataset-v2.json'
        ),
        layout=f'{_LARGE} or {_SMALL}, or 00000.png in one folder',
    )
)
