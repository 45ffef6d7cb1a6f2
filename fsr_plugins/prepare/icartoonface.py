"""iCartoonFace (Zheng et al., ACM MM 2020), the recognition set: the cartoon faces that ISR-KD learns after CelebA.

ISR-KD says neither how the pictures, which vary in size, become 128x128 nor which are its test set: the centre square
and the characters held out are ours. How many of the pictures are trained with (20,000 or 50,000) is said in the option
files, by ``max_images`` and ``subset_seed``.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import Format, Prepared, Preparer, add_output_arguments, given, register
from fsr_plugins.prepare.boxes import crop_box
from fsr_plugins.prepare.camera import image_seed
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.centre import crop_centre
from fsr_plugins.prepare.plan import Item, PreparationPlan, Skip, images_by_key, one_by_one, without_duplicates
from fsr_plugins.prepare.source import Source, wrong_layout
from fsr_plugins.prepare.sources import open_source
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.records import Face

Split = Literal['train', 'test', 'rectest']
Crop = Literal['centre', 'box']

_RECTRAIN = re.compile(r'(?:.*/)?icartoonface_rectrain/(?P<key>[^/]+/[^/]+)\.(?i:jpg|jpeg|png)')
_RECTEST = re.compile(r'(?:.*/)?icartoonface_rectest/(?P<key>[^/]+)\.(?i:jpg|jpeg|png)')
_BOXES = {
    'rectrain': re.compile(r'(?:.*/)?icartoonface_rectrain_det\.txt'),
    'rectest': re.compile(r'(?:.*/)?icartoonface_rectest_(?:det|info)\.txt'),
}
_PREFIX = 'personai_icartoonface_'
#: No picture of the set is as large; what lies beyond is no annotation.
_FAR = 1 << 16


def prepare_icartoonface(
    src: Path,
    dst: Path,
    *,
    split: Split = 'train',
    held_out: float = 0.02,
    seed: int = 0,
    crop: Crop = 'centre',
    margin: float = 0.3,
    size: int = 128,
    form: Format | None = None,
    encoding: Encoding | None = None,
) -> Prepared:
    """Cuts squares out of iCartoonFace's pictures and reduces them.

    Keys are ``rectrain_00000_0000001``, character and picture; an identity label is the character's place among those
    kept, by name.

    Args:
        src: Folder with ``personai_icartoonface_rectrain.zip`` (``rectest.zip``), or in which they are unpacked, or one
            of the archives. The detection set is not read.
        dst: Folder or ``*.lmdb`` to write.
        split: ``train`` and ``test`` are two parts of the official training set without a common character;
            ``rectest`` is the official test set, whose pictures get no identity, since some are of nobody.
        held_out: Fraction of the characters that are ``test``: the hash of name and ``seed`` decides for each alone.
        seed: Of the choice of these.
        crop: ``centre`` square of the picture, or the square round the annotated ``box``
            (``icartoonface_rectrain_det.txt``; ``icartoonface_rectest_info.txt`` or ``_det.txt``).
        margin: With ``box``: beyond its longer side at either side, as a fraction of that side.
        size: Side to which squares are reduced, as MATLAB's ``imresize`` does; smaller ones are left out.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.

    Raises:
        UserError: another source, boxes that are missing or damaged, an argument out of range, or no image is left.
    """
    if size < 1 or not 0 <= margin <= 4 or not 0 < held_out < 1:
        raise UserError(
            f'size {size}, margin {margin} and held-out {held_out} do not fit: size > 0, 0 <= margin <= 4 and '
            '0 < held-out < 1 are needed.'
        )
    with open_source(src) as source:
        items, skipped = _select(source, split, held_out, seed)
        protocol: dict[str, str | float] = {'split': split, 'crop': crop, 'size': size}
        if split != 'rectest':
            protocol |= {'held_out': held_out, 'seed': seed}
        if crop == 'box':
            protocol['margin'] = margin
            items, unknown = _with_boxes(source, items, 'rectest' if split == 'rectest' else 'rectrain')
            skipped += unknown

        def face(item: Item) -> Face | Skip:
            image = source.image(item.name)
            if crop == 'centre':
                return crop_centre(item, image, size)
            return crop_box(item, image, item.extra, margin=margin, size=size)

        plan = PreparationPlan('icartoonface', protocol, items, one_by_one(face), skipped, source=source)
        return carry_out(plan, dst, form=form, encoding=encoding)


def _select(source: Source, split: Split, held_out: float, seed: int) -> tuple[list[Item], list[Skip]]:
    """The pictures of a split, with their characters where these are known."""
    if split == 'rectest':
        looked_for = 'icartoonface_rectest/<image>.jpg'
        names, skipped = images_by_key(source, "iCartoonFace's recognition test set", looked_for, _RECTEST)
        return [Item(_key(key), name) for key, name in names.items()], skipped
    found = source.by_key(_RECTRAIN)
    if not found:
        raise wrong_layout(source, "iCartoonFace's recognition set", 'icartoonface_rectrain/<character>/<image>.jpg')
    test = {person: image_seed(seed, person) < held_out * 2**63 for person in {key.partition('/')[0] for key in found}}
    wanted = {key: names for key, names in found.items() if test[key.partition('/')[0]] == (split == 'test')}
    if not wanted:
        raise UserError(
            f"None of the {len(test)} characters of '{source.path}' is in the {split} split; "
            'change --held-out or --seed.'
        )
    names, skipped = without_duplicates(source, wanted)
    return [Item(_key(key), name, key.partition('/')[0]) for key, name in names.items()], skipped


def _key(key: str) -> str:
    """The file's name, behind the character's where it does not say it."""
    person, _, stem = key.rpartition('/')
    stem = stem if stem.startswith(person) else f'{person}_{stem}'
    return stem.removeprefix(_PREFIX).replace('.', '_')


def _with_boxes(source: Source, items: Sequence[Item], part: str) -> tuple[list[Item], list[Skip]]:
    """The items with their boxes (x0, y0, x1, y1), and those that have none."""
    found = [name for name in source.names if _BOXES[part].fullmatch(name)]
    if not found:
        raise UserError(
            f"'{source.path}' has no list of boxes (icartoonface_{part}_det.txt); put it there, or take --crop centre."
        )
    boxes: dict[str, tuple[int, int, int, int]] = {}
    for name in found:
        boxes.update(_boxes(source.text(name), source.where(name)))
    known, unknown = [], []
    for item in items:
        # Lists name the pictures below the folder that all are in.
        box = boxes.get(item.name.rpartition(f'icartoonface_{part}/')[2])
        if box is None:
            unknown.append(Skip(item.name, 'no box', 'not in the list of boxes'))
        else:
            known.append(item._replace(extra=box))
    return known, unknown


def _boxes(text: str, where: str) -> Mapping[str, tuple[int, int, int, int]]:
    """Boxes by picture. A line is a picture, four numbers and perhaps a label; the test set's lists pairs as well."""
    boxes = {}
    for line in text.splitlines():
        name, *numbers = line.split()[:5] or ['']
        if len(numbers) < 4:
            continue
        try:
            x0, y0, x1, y1 = map(int, numbers)
        except ValueError as error:
            raise UserError(f"'{where}' is damaged: '{line}' has no four whole numbers; download it again.") from error
        if max(abs(x0), abs(y0), abs(x1), abs(y1)) > _FAR:
            raise UserError(f"'{where}' is damaged: the box of '{line}' is in no picture; download it again.")
        boxes[name] = (x0, y0, x1, y1)
    return boxes


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_icartoonface`."""
    parser.add_argument(
        'src', metavar='SRC', type=given_path, help='folder with the archives, or one of them, or unpacked'
    )
    add_output_arguments(parser)
    parser.add_argument(
        '--split',
        choices=['train', 'test', 'rectest'],
        default='train',
        help='train and test have no character in common; rectest is the official test set (default: train)',
    )
    parser.add_argument('--held-out', type=float, help='fraction of characters in test (default: 0.02)')
    parser.add_argument('--seed', type=int, help='of their choice (default: 0)')
    parser.add_argument(
        '--crop', choices=['centre', 'box'], default='centre', help='square that is cut out (default: centre)'
    )
    parser.add_argument('--margin', type=float, help='beyond the box, at either side (default: 0.3)')
    parser.add_argument('--size', type=int, default=128, help='side of the faces (default: 128)')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_icartoonface` from parsed arguments."""
    return prepare_icartoonface(
        args.src,
        args.dst,
        split=args.split,
        **given(args, args.split != 'rectest', '--split train and test', 'held_out', 'seed'),
        crop=args.crop,
        **given(args, args.crop == 'box', '--crop box', 'margin'),
        size=args.size,
        form=args.format,
        encoding=args.encoding,
    )


register(
    Preparer(
        name='icartoonface',
        summary='iCartoonFace, the recognition set: cartoon faces, 128x128 (ISR-KD)',
        example='fsr prepare icartoonface personai_icartoonface_rectrain.zip datasets/icartoonface/train_hr128.lmdb',
        add_arguments=add_arguments,
        run=run,
        where='https://github.com/luxiangju-PersonAI/iCartoonFace (personai_icartoonface_rectrain.zip)',
        terms='the repository is marked MIT and says nothing of the pictures, which are taken from films: see the page',
        layout='icartoonface_rectrain/<character>/<image>.jpg and icartoonface_rectrain_det.txt; '
        'icartoonface_rectest/<image>.jpg and icartoonface_rectest_info.txt',
    )
)
