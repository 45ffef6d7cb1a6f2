"""CASIA-WebFace (Yi et al., 2014): a folder for each person, 250x250 as published, or aligned to 112x112."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import Format, Prepared, Preparer, add_output_arguments, register
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.lists import read_names
from fsr_plugins.prepare.plan import TOO_SMALL, Item, PreparationPlan, Skip, images_by_key, one_by_one
from fsr_plugins.prepare.sources import open_source
from fsr_plugins.prepare.window import Window
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.records import Face

_IMAGE = re.compile(r'(?:.*/)?(?P<key>\d{1,9}/\d{1,9})\.(?:jpg|png)')


def prepare_casia(
    src: Path,
    dst: Path,
    *,
    crop: int = 128,
    size: int | None = None,
    without: Path | None = None,
    form: Format | None = None,
    encoding: Encoding | None = None,
) -> Prepared:
    """Cuts the centre out of CASIA-WebFace's images.

    Keys are ``0000045_001``; an identity label is the person's place among those kept, by name. C-Face trains with all
    494,414 images; its "crop all the images into 128x128" is taken to mean the centre, without alignment (rows and
    columns 61 to 188 of 250).

    Args:
        src: Folder or archive with a folder for each person, named by numbers: as published, or as InsightFace's
            aligned 112x112 faces lie when unpacked (``crop=112`` takes these whole).
        dst: Folder or ``*.lmdb`` to write.
        crop: Side of the centre square; smaller images are left out.
        size: Reduce the square to this side, antialiased as MATLAB's ``imresize`` does; None: leave it.
        without: Text file of folders to leave out, the first word of each line: people whom LFW has, too.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.

    Raises:
        UserError: the source is not CASIA-WebFace, no image is left, the list does not fit it, or an argument is wrong.
    """
    size = crop if size is None else size
    if not 0 < size <= crop:
        raise UserError(f'crop {crop} and size {size} do not fit: 0 < size <= crop is needed.')
    with open_source(src) as images:
        names, skipped = images_by_key(images, 'CASIA-WebFace', '0000045/001.jpg', _IMAGE)
        people = {_person(key) for key in names}
        left_out: set[str] = set()
        if without is not None:
            # People listed who are not there do not matter, unless nobody is.
            left_out = people & set(read_names(without, 'list of people to leave out'))
            if not left_out:
                raise UserError(f"'{without}' lists none of the people; it needs names of folders, as 0000045.")
            if left_out == people:
                raise UserError(f"'{without}' lists all people.")
        items = [
            Item(key.replace('/', '_'), name, _person(key))
            for key, name in names.items()
            if _person(key) not in left_out
        ]

        def face(item: Item) -> Face | Skip:
            image = images.image(item.name)
            height, width = image.shape[:2]
            if min(height, width) < crop:
                return Skip(item.name, TOO_SMALL, f'{width}x{height}')
            return Face(item.key, Window((height - crop) // 2, (width - crop) // 2, crop, size).image(image))

        protocol = {'crop': crop, 'size': size, 'people_left_out': len(left_out)}
        plan = PreparationPlan('casia', protocol, items, one_by_one(face), skipped, source=images)
        return carry_out(plan, dst, form=form, encoding=encoding)


def _person(key: str) -> str:
    return key.partition('/')[0]


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_casia`."""
    parser.add_argument('src', metavar='SRC', type=given_path, help='folder or archive of CASIA-WebFace')
    add_output_arguments(parser)
    parser.add_argument('--crop', type=int, default=128, help='side of the centre square (default: 128)')
    parser.add_argument('--size', type=int, help='reduce the square to this side, antialiased')
    parser.add_argument('--without', type=given_path, metavar='FILE', help='folders of people to leave out, one a line')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_casia` from parsed arguments."""
    return prepare_casia(
        args.src,
        args.dst,
        crop=args.crop,
        size=args.size,
        without=args.without,
        form=args.format,
        encoding=args.encoding,
    )


register(
    Preparer(
        name='casia',
        summary='CASIA-WebFace: the 128x128 centre of the images, with identities (C-Face, SphereFace)',
        example='fsr prepare casia CASIA-WebFace datasets/casia/hr128.lmdb',
        add_arguments=add_arguments,
        run=run,
        where='http://www.cbsr.ia.ac.cn/english/CASIA-WebFace-Database.html',
        terms='see the site',
        layout='CASIA-WebFace/0000045/001.jpg, 250x250, a folder for each of 10,575 people',
    )
)
