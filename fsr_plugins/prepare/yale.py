"""Extended Yale B, cropped (Georghiades et al., 2001; Lee et al., 2005): 38 people under 64 lights, folder or zip."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import (
    Format,
    Prepared,
    Preparer,
    add_output_arguments,
    register,
)
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.plan import Item, PreparationPlan, Skip, images_by_key, one_by_one
from fsr_plugins.prepare.sources import open_source
from fsr_plugins.prepare.window import Window
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.records import Face

#: Every cropped image is of this size; an uncropped ambient one, as the archive has for some people, is 480x640.
HEIGHT, WIDTH = 192, 168

_KEY = r'(?:.*/)?(?P<key>yaleB\d\d_P\d\d(?:A[+-]\d{3}E[+-]\d\d|_Ambient))\.pgm'
_IMAGE = re.compile(_KEY)
#: What the archive's authors found damaged and renamed.
_BAD = re.compile(_KEY + r'\.bad')


def prepare_yale(
    src: Path,
    dst: Path,
    *,
    form: Format | None = None,
    encoding: Encoding | None = None,
    size: int = 128,
    top: int = (HEIGHT - WIDTH) // 2,
    ambient: bool = False,
) -> Prepared:
    """Cuts a square of the images' whole width and reduces it; grey is repeated in three channels.

    Keys are ``yaleB11_P00A+000E+00``: subject, pose, azimuth and elevation of the light in degrees. An identity label
    is the subject's place among those kept, by name.

    Args:
        src: The folder or zip as downloaded (``CroppedYale``).
        dst: Folder or ``*.lmdb`` to write.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.
        size: Side to which the square of 168 is reduced, antialiased as MATLAB's ``imresize`` does.
        top: First row of the square, 0 to 24. In the centre (12) brows, mouth and most chins are inside: the eyes are
            around row 45 and the mouth around row 146 of 192.
        ambient: Take the images under ambient light too, as far as they are cropped.

    Raises:
        UserError: the source is not the cropped Extended Yale B, no image is left, or an argument is out of range.
    """
    if not 0 < size <= WIDTH:
        raise UserError(f'size {size} does not fit: the square of {WIDTH} can be reduced to 1 to {WIDTH}.')
    if not 0 <= top <= HEIGHT - WIDTH:
        raise UserError(f'top {top} does not fit: the square begins in one of the rows 0 to {HEIGHT - WIDTH}.')
    window = Window(top, 0, WIDTH, size)
    with open_source(src) as images:
        names, skipped = images_by_key(images, 'the cropped Extended Yale B', 'yaleB01_P00A+000E+00.pgm', _IMAGE)
        bad = [name for name in images.names if _BAD.fullmatch(name)]
        skipped += [Skip(name, 'bad', "marked so by the set's authors") for name in bad]
        items = []
        for key, name in names.items():
            if ambient or not key.endswith('_Ambient'):
                items.append(Item(key, name, key.partition('_')[0]))
            else:
                skipped.append(Skip(name, 'under ambient light', '--ambient takes those that are cropped'))

        def face(item: Item) -> Face:
            return Face(item.key, window.image(images.image(item.name, (HEIGHT, WIDTH))))

        protocol = {'crop': WIDTH, 'top': top, 'left': 0, 'size': size, 'ambient': ambient}
        plan = PreparationPlan('yale', protocol, items, one_by_one(face), skipped, source=images)
        return carry_out(plan, dst, form=form, encoding=encoding)


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_yale`."""
    parser.add_argument('src', metavar='SRC', type=given_path, help='folder or zip of the cropped Extended Yale B')
    add_output_arguments(parser)
    parser.add_argument('--size', type=int, default=128, help='reduce the 168x168 square to this side (default: 128)')
    parser.add_argument(
        '--top',
        type=int,
        default=(HEIGHT - WIDTH) // 2,
        help='first row of the square, 0 to 24 (default: 12, the centre)',
    )
    parser.add_argument('--ambient', action='store_true', help='take the images under ambient light too')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_yale` from parsed arguments."""
    return prepare_yale(
        args.src,
        args.dst,
        form=args.format,
        encoding=args.encoding,
        size=args.size,
        top=args.top,
        ambient=args.ambient,
    )


register(
    Preparer(
        name='yale',
        summary='Extended Yale B, cropped: 168x168 of the 168x192 images, reduced to 128x128',
        example='fsr prepare yale CroppedYale.zip datasets/yale128.lmdb',
        add_arguments=add_arguments,
        run=run,
        where='http://vision.ucsd.edu/~leekc/ExtYaleDatabase/ExtYaleB.html (the cropped images)',
        terms='see the site',
        layout='CroppedYale/yaleB01/yaleB01_P00A+000E+00.pgm, 168x192, in a folder, zip or tar',
    )
)
