"""WebFace as TSNet means it (Table 2): SCGAN's test set of real small faces, whose HR nobody knows."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import Format, Prepared, Preparer, add_output_arguments, register
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.centre import centre_crops
from fsr_plugins.prepare.plan import Item, PreparationPlan, images_by_key
from fsr_plugins.prepare.sources import open_source
from fsr_plugins.stores.encoding import Encoding

_FOLDER = 'WebFace'
_IMAGE = r'(?P<key>[^/]+)\.(?:png|jpg|jpeg|bmp)'


def prepare_webface(
    src: Path, dst: Path, *, size: int = 16, form: Format | None = None, encoding: Encoding | None = None
) -> Prepared:
    """Brings the pictures of a folder ``WebFace`` to ``size``.

    TSNet names "Webface" by reference to SCGAN (Hou et al., TIP 2023) alone, and not how many faces it has. SCGAN's
    prepared test sets hold them in ``imgs_test/WebFace``, as small PNGs, and these are what is taken to be meant:
    CASIA-WebFace, reduced, would show clean small faces, not real ones. Of a picture larger than ``size`` the centre
    square is reduced as MATLAB's ``imresize`` does. Keys are the files' names.

    Args:
        src: The prepared sets as downloaded, zip or folder, with any number of folders above ``WebFace``, or this one.
        dst: Folder or ``*.lmdb`` to write.
        size: Side of the faces; smaller pictures are left out.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.

    Raises:
        UserError: there is no such folder, no image is left, or ``size`` is out of range.
    """
    if size < 1:
        raise UserError(f'size {size} does not fit; it is a number of pixels.')
    with open_source(src) as source:
        inside = '' if src.name == _FOLDER else f'{_FOLDER}/'
        pattern = re.compile(rf'(?:.*/)?{inside}{_IMAGE}', re.IGNORECASE)
        names, skipped = images_by_key(source, "SCGAN's prepared test sets", 'imgs_test/WebFace/<image>.png', pattern)
        items = [Item(key.replace('.', '_'), name) for key, name in names.items()]
        plan = PreparationPlan('webface', {'size': size}, items, centre_crops(source, size), skipped, source=source)
        return carry_out(plan, dst, form=form, encoding=encoding)


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_webface`."""
    parser.add_argument('src', metavar='SRC', type=given_path, help="folder or zip of SCGAN's prepared test sets")
    add_output_arguments(parser)
    parser.add_argument('--size', type=int, default=16, help='side of the faces (default: 16)')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_webface` from parsed arguments."""
    return prepare_webface(args.src, args.dst, size=args.size, form=args.format, encoding=args.encoding)


register(
    Preparer(
        name='webface',
        summary="WebFace, SCGAN's test set of real small faces, 16x16 (TSNet); not CASIA-WebFace",
        example='fsr prepare webface imgs_test.zip datasets/webface/test_lr16.lmdb',
        add_arguments=add_arguments,
        run=run,
        where='the prepared test set linked from https://github.com/HaoHou-98/SCGAN',
        terms='see the page',
        layout='imgs_test/WebFace/<image>.png, small faces',
    )
)
