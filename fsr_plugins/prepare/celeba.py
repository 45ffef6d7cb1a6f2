"""CelebA (Liu et al., ICCV 2015): aligned or in the wild, folder or zip, with the lists that come with it."""

from __future__ import annotations

import logging
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import Format, Prepared, Preparer, add_output_arguments, given, register
from fsr_plugins.prepare.boxes import box_of_points, crop_box
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.celeba_annotations import (
    ALIGNED_POINTS,
    BOXES,
    IDENTITIES,
    PARTITION,
    WILD_POINTS,
    Row,
    read_list,
    required_list,
)
from fsr_plugins.prepare.plan import Item, PreparationPlan, Skip, images_by_key, one_by_one
from fsr_plugins.prepare.source import Source
from fsr_plugins.prepare.sources import open_source
from fsr_plugins.prepare.window import Window
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.records import Face

logger = logging.getLogger(__name__)

#: Two squares of the aligned images (178x218), and one around the faces in the wild:
#:
#: - ``isrkd``: all columns and the rows 20 to 197. ISR-KD says "centre crop" of 178x178; the rows are those of the
#:   public code of EIPNet, whose network it has. DAP-FSR, which says no more than that aligned faces are cropped and
#:   resized, is given the same.
#: - ``centre128``: the centre 128x128, rows 45 to 172 and columns 25 to 152, which C-Face's "crop all the images into
#:   128x128" is taken to mean.
#: - ``pkdn``: images in the wild. PKDN, as KDFSRNet, crops by DIC's boxes, one for each face, which DIC's repository
#:   does not hold. Here the square is made of CelebA's own five points (or of its boxes), which is a deviation: the
#:   points' box and 0.8 of its longer side on each side, in an upright face from the forehead to the chin. Nor does it
#:   hold the lists of the 168,854, 100 and 1,000 images to train, validate and test with: here the split is the
#:   official one, without faces smaller than ``size``.
Crop = Literal['isrkd', 'centre128', 'pkdn']
Split = Literal['train', 'val', 'test', 'all']
BoxSource = Literal['landmarks', 'annotated']

#: Below the folder of its layout, or directly in the source.
_IMAGE = r'(?P<key>\d{6})\.(?:jpg|png)'
#: Every aligned image is of this size.
HEIGHT, WIDTH = 218, 178
#: Squares of the aligned image: top, left, side.
_WINDOWS = {'isrkd': (20, 0, 178), 'centre128': (45, 25, 128)}
#: Fraction of a box's longer side that is added on each side. The five points' box has the eyes and the mouth alone.
_MARGINS: dict[BoxSource, float] = {'landmarks': 0.8, 'annotated': 0.0}
_SPLITS = {'train': 0, 'val': 1, 'test': 2}


class _Annotations(NamedTuple):
    """What the lists say of an image, by its number; None where there is no such list."""

    split: Mapping[str, Row] | None
    person: Mapping[str, Row] | None
    points: Mapping[str, Row] | None
    boxes: Mapping[str, Row] | None


def prepare_celeba(
    src: Path,
    dst: Path,
    *,
    split: Split = 'all',
    crop: Crop = 'isrkd',
    size: int = 128,
    box: BoxSource = 'landmarks',
    margin: float | None = None,
    annotations: Path | None = None,
    form: Format | None = None,
    encoding: Encoding | None = None,
) -> Prepared:
    """Cuts a square out of each image and reduces it; keys are ``000001``, labels the persons' numbers.

    Args:
        src: Folder or archive of the images; the unpacked folder itself, or one with the downloaded zip.
        dst: Folder or ``*.lmdb`` to write.
        split: Part of the official partition, ``list_eval_partition.txt``.
        crop: One of the squares of :data:`Crop`.
        size: Side to which the square is reduced, antialiased; nothing is enlarged.
        box: Of ``pkdn``: around the five points of ``list_landmarks_celeba.txt``, or ``list_bbox_celeba.txt``.
        margin: Of ``pkdn``: fraction of the box's longer side added on each side; None: 0.8 for points, 0 for boxes.
        annotations: Folder or archive with the lists; None: ``src``. Identities and landmarks are held where
            ``identity_CelebA.txt`` and the landmarks of the layout are there.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.

    Raises:
        UserError: the source is not CelebA, a list is missing or damaged, no image is left, or an argument is wrong.
    """
    wild = crop == 'pkdn'
    if size < 1 or not wild and size > _WINDOWS[crop][2]:
        raise UserError(f'size {size} does not fit crop {crop}: nothing is enlarged.')
    margin = _MARGINS[box] if margin is None else margin
    if not -0.5 < margin <= 4:
        raise UserError(f'margin {margin} does not fit; it is a fraction of the box, above -0.5 and at most 4.')
    with ExitStack() as opened:
        images = opened.enter_context(open_source(src))
        texts = images if annotations is None else opened.enter_context(open_source(annotations))
        folder = 'img_celeba' if wild else 'img_align_celeba'
        in_folder, alone = re.compile(rf'(?:.*/)?{folder}(?:_png)?/{_IMAGE}'), re.compile(_IMAGE)
        names, skipped = images_by_key(images, 'CelebA', f'{folder}/000001.jpg', in_folder, alone)
        items, missing = _items(names, _annotations(texts, split, wild, box), split)
        protocol: dict[str, object] = {'split': split, 'crop': crop, 'size': size}
        if wild:
            protocol |= {'box': box, 'margin': margin, 'deviation': "CelebA's points or boxes in place of DIC's"}

        def face(item: Item) -> Face | Skip:
            points = None if item.extra[0] is None else np.array(item.extra[0], np.float32).reshape(5, 2)
            if not wild:
                top, left, side = _WINDOWS[crop]
                window = Window(top, left, side, size)
                moved = None if points is None else window.points(points)
                return Face(item.key, window.image(images.image(item.name, (HEIGHT, WIDTH))), landmarks=moved)
            return crop_box(item, images.image(item.name), item.extra[1], margin=margin, size=size, points=points)

        plan = PreparationPlan('celeba', protocol, items, one_by_one(face), skipped + missing, source=images)
        return carry_out(plan, dst, form=form, encoding=encoding)


def _annotations(texts: Source, split: Split, wild: bool, box: BoxSource) -> _Annotations:
    by_box = wild and box == 'annotated'
    points = WILD_POINTS if wild else ALIGNED_POINTS
    lists = _Annotations(
        split=None if split == 'all' else required_list(texts, PARTITION),
        person=read_list(texts, IDENTITIES),
        points=required_list(texts, points) if wild and not by_box else read_list(texts, points),
        boxes=required_list(texts, BOXES) if by_box else None,
    )
    for listing, rows in ((IDENTITIES, lists.person), (points, lists.points)):
        if rows is None:
            logger.warning("'%s' has no %s: the faces will be without %s.", texts.path, listing.file, listing.what)
    return lists


def _items(names: Mapping[str, str], lists: _Annotations, split: Split) -> tuple[list[Item], list[Skip]]:
    """The images of a split, each with its points and its box, and what a list does not know or the source lacks."""
    items, missing = [], []
    if lists.split is not None:
        wanted = (_SPLITS[split],)
        chosen = {key for key, part in lists.split.items() if part == wanted}
        missing += [Skip(key, 'listed, not there', PARTITION.file) for key in sorted(chosen - names.keys())]
        missing += [Skip(names[key], 'no split', PARTITION.file) for key in sorted(names.keys() - lists.split.keys())]
        names = {key: name for key, name in names.items() if key in chosen}
    for key, name in names.items():
        unknown = [rows is not None and key not in rows for rows in lists[1:]]
        if any(unknown):
            missing.append(Skip(name, 'not listed', f'in {("identities", "landmarks", "boxes")[unknown.index(True)]}'))
            continue
        person = None if lists.person is None else lists.person[key][0]
        points = None if lists.points is None else lists.points[key]
        box: tuple[float, ...] | None = None  # its edges: x0, y0, x1, y1
        if lists.boxes is not None:
            x, y, width, height = lists.boxes[key]
            box = (x, y, x + width, y + height)
        elif points is not None:
            box = box_of_points(np.array(points, np.float64).reshape(5, 2))
        items.append(Item(key, name, person, (points, box)))
    return items, missing


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_celeba`."""
    parser.add_argument('src', metavar='SRC', type=given_path, help='folder or zip of CelebA')
    add_output_arguments(parser)
    parser.add_argument(
        '--split', choices=['train', 'val', 'test', 'all'], default='all', help='of the official partition'
    )
    parser.add_argument(
        '--crop',
        choices=['isrkd', 'centre128', 'pkdn'],
        default='isrkd',
        help='isrkd: 178x178 of the aligned images; centre128: their centre (C-Face); pkdn: around faces in the wild',
    )
    parser.add_argument('--size', type=int, default=128, help='reduce the square to this side (default: 128)')
    parser.add_argument('--box', choices=['landmarks', 'annotated'], help='of pkdn (default: landmarks)')
    parser.add_argument(
        '--margin', type=float, help="of pkdn, in sides of the box (default: 0.8 of the points', else 0)"
    )
    parser.add_argument('--annotations', type=given_path, metavar='SRC', help='folder of the lists (default: SRC)')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_celeba` from parsed arguments."""
    return prepare_celeba(
        args.src,
        args.dst,
        split=args.split,
        crop=args.crop,
        size=args.size,
        **given(args, args.crop == 'pkdn', '--crop pkdn', 'box', 'margin'),
        annotations=args.annotations,
        form=args.format,
        encoding=args.encoding,
    )


register(
    Preparer(
        name='celeba',
        summary='CelebA: the crops of ISR-KD, C-Face and PKDN, official split, identities and landmarks',
        example='fsr prepare celeba CelebA datasets/celeba/train_hr128.lmdb --split train',
        add_arguments=add_arguments,
        run=run,
        where='http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html',
        terms="non-commercial research only, by the dataset's release agreement; see the site",
        layout=(
            'img_align_celeba.zip, or the folder img_align_celeba; for --crop pkdn the folder img_celeba, to be '
            'unpacked from img_celeba.7z.001 and following (7z archives are not read). Beside it, or in --annotations: '
            'list_eval_partition.txt, identity_CelebA.txt, list_landmarks_align_celeba.txt, list_landmarks_celeba.txt, '
            'list_bbox_celeba.txt'
        ),
    )
)
