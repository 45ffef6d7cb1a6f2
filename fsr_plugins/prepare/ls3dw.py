"""LS3D-W balanced (Bulat and Tzimiropoulos, ICCV 2017): faces of all poses with 68 points; a test set of TSNet's."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import Format, Prepared, Preparer, add_output_arguments, register
from fsr_plugins.prepare.boxes import box_of_points, crop_box
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.plan import Item, PreparationPlan, Skip, one_by_one, without_duplicates
from fsr_plugins.prepare.source import Source, wrong_layout
from fsr_plugins.prepare.sources import open_source
from fsr_plugins.prepare.t7 import read_tensor
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.records import Face

_IMAGE = re.compile(r'(?:.*/)?(?P<key>\d{1,9})\.(?:jpg|png)')
#: In iBUG's order, from 0: the points of either eye in the image, the tip of the nose, the corners of the mouth.
_LEFT_EYE, _RIGHT_EYE, _NOSE, _MOUTH = slice(36, 42), slice(42, 48), 30, (48, 54)


def prepare_ls3dw(
    src: Path,
    dst: Path,
    *,
    size: int = 64,
    margin: float = 0.4,
    form: Format | None = None,
    encoding: Encoding | None = None,
) -> Prepared:
    """Cuts a square round the 68 points of each image and reduces it; five points are kept.

    TSNet takes the set "processed in the same way as SCGAN", whose repository gives the small faces and not how they
    were cut: the margin is ours. Keys are the images' numbers with six digits.

    Args:
        src: Folder or zip as downloaded; ``7.t7`` beside ``7.jpg`` holds its points.
        dst: Folder or ``*.lmdb`` to write.
        size: Side to which squares are reduced, as MATLAB's ``imresize`` does; a smaller square is left out.
        margin: What the square has beyond the points at either side, as a fraction of their larger extent.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.

    Raises:
        UserError: the source is not LS3D-W balanced, no image is left, or an argument is out of range.
    """
    if size < 1 or not 0 <= margin <= 4:
        raise UserError(f'size {size} and margin {margin} do not fit: size > 0 and 0 <= margin <= 4 are needed.')
    with open_source(src) as source:
        items, skipped = _select(source)

        def face(item: Item) -> Face | Skip:
            try:
                points = read_tensor(source.read(item.extra))
            except ValueError as error:
                return Skip(item.name, 'no landmarks', f"'{item.extra}' cannot be read: {error}")
            if points.shape not in ((68, 2), (68, 3)) or not np.isfinite(points).all() or np.abs(points).max() > 1e6:
                return Skip(item.name, 'no landmarks', f"'{item.extra}' holds {points.shape}, no 68 points in an image")
            image, box, five = source.image(item.name), box_of_points(points[:, :2]), five_of_68(points)
            return crop_box(item, image, box, margin=margin, size=size, points=five)

        plan = PreparationPlan(
            'ls3dw', {'size': size, 'margin': margin}, items, one_by_one(face), skipped, source=source
        )
        return carry_out(plan, dst, form=form, encoding=encoding)


def _select(source: Source) -> tuple[list[Item], list[Skip]]:
    """The images with points, in the order of their numbers, and those without."""
    found = source.by_key(_IMAGE)
    if not any(Path(name).with_suffix('.t7').as_posix() in source.sizes for names in found.values() for name in names):
        raise wrong_layout(source, 'LS3D-W balanced', '<number>.jpg with <number>.t7')
    names, skipped = without_duplicates(source, found)
    items = []
    for key, name in sorted(names.items(), key=lambda entry: int(entry[0])):
        points = Path(name).with_suffix('.t7').as_posix()
        if points in source.sizes:
            items.append(Item(f'{int(key):06d}', name, None, points))
        else:
            skipped.append(Skip(name, 'no landmarks', f"'{points}' is not there"))
    return items, skipped


def five_of_68(points: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """The five points of a store of iBUG's 68: eye centres as means of their outlines' points, nose, mouth corners.

    Args:
        points: (68, 2 or more), x and y first.

    Returns:
        float32 (5, 2).
    """
    eyes = [points[eye, :2].mean(axis=0) for eye in (_LEFT_EYE, _RIGHT_EYE)]
    return np.stack([*eyes, points[_NOSE, :2], *points[list(_MOUTH), :2]]).astype(np.float32)


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_ls3dw`."""
    parser.add_argument('src', metavar='SRC', type=given_path, help='folder or zip of LS3D-W balanced')
    add_output_arguments(parser)
    parser.add_argument('--size', type=int, default=64, help='side of the faces (default: 64)')
    parser.add_argument('--margin', type=float, default=0.4, help='beyond the points, at either side (default: 0.4)')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_ls3dw` from parsed arguments."""
    return prepare_ls3dw(
        args.src, args.dst, size=args.size, margin=args.margin, form=args.format, encoding=args.encoding
    )


register(
    Preparer(
        name='ls3dw',
        summary='LS3D-W balanced: faces of all poses by their 68 points, 64x64 (TSNet)',
        example='fsr prepare ls3dw LS3D-W-balanced-20-03-2017.zip datasets/ls3dw/test_hr64.lmdb',
        add_arguments=add_arguments,
        run=run,
        where='https://www.adrianbulat.com/face-alignment/ (LS3D-W-balanced-20-03-2017.zip)',
        terms='see the site',
        layout='new_dataset/<number>.jpg with new_dataset/<number>.t7, a tensor of 68 points of torch7',
    )
)
