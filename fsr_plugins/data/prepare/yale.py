"""Extended Yale B, cropped (Georghiades et al., 2001; Lee et al., 2005): 38 people under 64 lights, folder or zip."""

from __future__ import annotations

import logging
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path

from fsr_plugins.data.prepare.base import (
    Encoding,
    Format,
    Prepared,
    Preparer,
    add_output_arguments,
    register,
    write_faces,
)
from fsr_plugins.data.prepare.sources import Source, open_source
from fsr_plugins.data.prepare.window import Window
from fsr_plugins.data.progress import progress
from fsr_plugins.data.records import Face
from fsr_plugins.errors import UserError

logger = logging.getLogger(__name__)

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
    encoding: Encoding = 'raw',
    size: int = 128,
    top: int = (HEIGHT - WIDTH) // 2,
    ambient: bool = False,
) -> Prepared:
    """Cuts a square of the images' whole width and reduces it; grey is repeated in three channels.

    Keys are ``yaleB11_P00A+000E+00``: subject, pose, azimuth and elevation of the light in degrees. An identity label
    is the subject's place among those kept, by name. What is left out is counted by reason in one warning.

    Args:
        src: The folder or zip as downloaded (``CroppedYale``).
        dst: Folder or ``*.lmdb`` to write.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB.
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
    with open_source(src) as images:
        names, left_out = _select(images, ambient)
        labels = {subject: label for label, subject in enumerate(sorted({_subject(key) for key in names}))}
        faces = _faces(images, names, labels, Window(top, 0, WIDTH, size))
        count = write_faces(dst, progress(faces, len(names), 'yale'), form, encoding)
    return Prepared(str(dst), count, len(labels), left_out)


def _subject(key: str) -> str:
    return key.partition('_')[0]


def _select(images: Source, ambient: bool) -> tuple[dict[str, str], int]:
    """The names of the images in use, by key in order, and how many others there are."""
    named, bad = images.by_key(_IMAGE), images.by_key(_BAD)
    if not named:
        raise UserError(
            f"'{images.path}' is not the cropped Extended Yale B: it has no images yaleB01_P00A+000E+00.pgm."
        )
    wanted = {key: named[key] for key in sorted(named) if ambient or not key.endswith('_Ambient')}
    faults = _faults(images, wanted)
    sound = {key: name for key, name in wanted.items() if key not in faults}
    reasons = {
        'under ambient light (--ambient takes those that are cropped)': len(named) - len(wanted),
        "marked as bad by the set's authors": len(bad),
        f'damaged or of another size, e.g. {next(iter(faults.values()), "")}': len(faults),
    }
    left_out = sum(reasons.values())
    said = '; '.join(f'{count} {reason}' for reason, count in reasons.items() if count)
    if not sound:
        raise UserError(f"All {left_out} images of '{images.path}' would be left out: {said}")
    if left_out:
        logger.warning('%d of %d images are left out: %s', left_out, left_out + len(sound), said)
    return sound, left_out


def _faults(images: Source, names: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with the images that do not decode or are of another size, by key."""
    faults: dict[str, str] = {}
    for key, name in names.items():
        try:
            images.image(name, (HEIGHT, WIDTH))
        except UserError as error:
            faults[key] = str(error)
    return faults


def _faces(images: Source, names: Mapping[str, str], labels: Mapping[str, int], window: Window) -> Iterator[Face]:
    for key, name in names.items():
        yield Face(key, window.image(images.image(name, (HEIGHT, WIDTH))), labels[_subject(key)])


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_yale`."""
    parser.add_argument('src', metavar='SRC', type=Path, help='folder or zip of the cropped Extended Yale B')
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
    )
)
