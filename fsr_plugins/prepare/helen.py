"""Helen (Le et al., ECCV 2012): 2,330 photographs with 194 points on a face of each, folder of zips or unpacked."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Literal

import numpy as np

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import Format, Prepared, Preparer, add_output_arguments, given, register
from fsr_plugins.prepare.boxes import box_of_points, crop_box
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.centre import crop_centre
from fsr_plugins.prepare.plan import Item, PreparationPlan, Skip, images_by_key, one_by_one
from fsr_plugins.prepare.source import Source
from fsr_plugins.prepare.sources import open_source
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.records import Face

Split = Literal['train', 'val', 'test', 'all']
Crop = Literal['points', 'centre']

#: x0, y0, x1, y1: edges of a box.
_Box = tuple[float, float, float, float]

POINTS = 194
#: Training images that are kept to validate: the last by name.
VALIDATION = 50

_IMAGE = re.compile(r'(?:.*/)?(?P<key>\d+_\d+)\.jpg')
_ANNOTATION = re.compile(r'(?:.*/)?annotation/(?P<key>\d+)\.txt')
_POINT = re.compile(r'\s*(-?\d{1,6}(?:\.\d+)?)\s*,\s*(-?\d{1,6}(?:\.\d+)?)\s*')


def prepare_helen(
    src: Path,
    dst: Path,
    *,
    split: Split = 'all',
    crop: Crop = 'points',
    size: int = 128,
    margin: float = 0.1,
    form: Format | None = None,
    encoding: Encoding | None = None,
) -> Prepared:
    """Cuts the annotated face out of each photograph and reduces it; keys are the files' names.

    PKDN, as KDFSRNet, crops by DIC's boxes, one for each face. DIC's repository does not hold them, nor lists of 1,955,
    50 and 50 images to train, validate and test with. Here, which is a deviation, the square is made of
    Helen's own 194 points (jaw, nose, lips, eyes and brows): their box with a tenth of its longer side around it; and
    the split is Helen's, 2,000 images to train, of which the last 50 by name validate, and 330 to test.

    Landmarks are not held: the tip of the nose is none of the 194 points.

    Args:
        src: Folder with the zips as downloaded and ``trainnames.txt`` and ``testnames.txt``, or with what is unpacked.
        dst: Folder or ``*.lmdb`` to write.
        split: As above; ``all`` needs no lists.
        crop: ``points``, or ``centre``: the largest square in the middle, for photographs without annotations.
        size: Side to which the square is reduced, antialiased; smaller faces are left out.
        margin: Of ``points``: fraction of the box's longer side added on each side.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.

    Raises:
        UserError: the source is not Helen, points or lists are missing, no image is left, or an argument is out of
            range.
    """
    if size < 1 or not -0.5 < margin <= 4:
        raise UserError(f'size {size} and margin {margin} do not fit: 0 < size and -0.5 < margin <= 4 are needed.')
    with open_source(src) as source:
        names, skipped = images_by_key(source, 'Helen', 'helen_1.zip to helen_5.zip, or 232194_1.jpg', _IMAGE)
        names, absent = _of_split(source, names, split)
        boxes = _boxes(source) if crop == 'points' else None
        items, unknown = [], []
        for key, name in names.items():
            box = None if boxes is None else boxes.get(key, 'not annotated')
            if isinstance(box, str):
                unknown.append(Skip(name, 'no points', box))
            else:
                items.append(Item(key, name, extra=box))

        def face(item: Item) -> Face | Skip:
            image = source.image(item.name)
            if crop == 'centre':
                return crop_centre(item, image, size)
            return crop_box(item, image, item.extra, margin=margin, size=size)

        protocol: dict[str, object] = {'split': split, 'crop': crop, 'size': size}
        if crop == 'points':
            protocol |= {'margin': margin, 'deviation': "Helen's 194 points in place of DIC's boxes"}
        plan = PreparationPlan('helen', protocol, items, one_by_one(face), skipped + absent + unknown, source=source)
        return carry_out(plan, dst, form=form, encoding=encoding)


def _of_split(source: Source, names: dict[str, str], split: Split) -> tuple[dict[str, str], list[Skip]]:
    """The images of a split, and what its list names that is not there."""
    if split == 'all':
        return names, []
    file = 'testnames.txt' if split == 'test' else 'trainnames.txt'
    text = source.text(source.one(re.compile(r'(?:.*/)?' + re.escape(file)), f"{file}, Helen's list of the split"))
    listed = sorted(line.strip() for line in text.splitlines() if line.strip())
    if split != 'test':
        listed = listed[:-VALIDATION] if split == 'train' else listed[-VALIDATION:]
    absent = [Skip(key, 'listed, not there', file) for key in listed if key not in names]
    return {key: names[key] for key in listed if key in names}, absent


def _boxes(source: Source) -> dict[str, _Box | str]:
    """The box of each image's points by its name, or what is wrong with them.

    Raises:
        UserError: there are no annotations.
    """
    files = [names[0] for names in source.by_key(_ANNOTATION).values()]
    if not files:
        raise UserError(
            f"'{source.path}' has no annotation/1.txt: put annotation.zip there, or take the photographs' centre "
            '(--crop centre).'
        )
    boxes: dict[str, _Box | str] = {}
    for file in files:
        # The first line is the image's name, the others are x and y.
        name, *lines = [line.strip() for line in source.text(file).splitlines() if line.strip()] or ['']
        points = [match.groups() for match in map(_POINT.fullmatch, lines) if match]
        if len(points) == len(lines) == POINTS:
            boxes[name] = box_of_points(np.array(points, np.float64))
        else:
            boxes[name] = f'{file} does not have {POINTS} points'
    return boxes


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_helen`."""
    parser.add_argument(
        'src', metavar='SRC', type=given_path, help='folder of the zips and lists, or of their contents'
    )
    add_output_arguments(parser)
    parser.add_argument(
        '--split',
        choices=['train', 'val', 'test', 'all'],
        default='all',
        help="Helen's lists; val is the last 50 of the training images",
    )
    parser.add_argument(
        '--crop', choices=['points', 'centre'], default='points', help='around the annotated face, or the middle'
    )
    parser.add_argument('--size', type=int, default=128, help='reduce the square to this side (default: 128)')
    parser.add_argument('--margin', type=float, help='of points, in sides of their box (default: 0.1)')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_helen` from parsed arguments."""
    return prepare_helen(
        args.src,
        args.dst,
        split=args.split,
        crop=args.crop,
        size=args.size,
        **given(args, args.crop == 'points', '--crop points', 'margin'),
        form=args.format,
        encoding=args.encoding,
    )


register(
    Preparer(
        name='helen',
        summary='Helen: the annotated faces, 128x128, with its split (PKDN)',
        example='fsr prepare helen Helen datasets/helen/train_hr128.lmdb --split train',
        add_arguments=add_arguments,
        run=run,
        where='http://www.ifp.illinois.edu/~vuongle2/helen/',
        terms='photographs from Flickr; see the site',
        layout='helen_1.zip to helen_5.zip (or what they hold), annotation.zip, trainnames.txt, testnames.txt',
    )
)
