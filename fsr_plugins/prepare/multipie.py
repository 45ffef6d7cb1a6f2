"""CMU Multi-PIE (Gross et al., 2008): 337 people, 15 viewpoints, 19 lights; licensed data, cropped or as recorded."""

from __future__ import annotations

import csv
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import Format, Prepared, Preparer, add_output_arguments, given, register
from fsr_plugins.prepare.boxes import crop_box
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.centre import crop_centre
from fsr_plugins.prepare.plan import Item, PreparationPlan, Skip, images_by_key, one_by_one
from fsr_plugins.prepare.source import Source
from fsr_plugins.prepare.sources import open_source
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.records import Face

#: Subject, session, recording, camera, light.
_IMAGE = re.compile(r'(?:.*/)?(?P<key>\d{3}_\d{2}_\d{2}_\d{3}_\d{2})\.(?:png|jpg|bmp|ppm)')
_COLUMNS = ('image', 'x0', 'y0', 'x1', 'y1')

#: x0, y0, x1, y1: edges of a box.
_Box = tuple[float, ...]


def prepare_multipie(
    src: Path,
    dst: Path,
    *,
    size: int = 128,
    cameras: Sequence[str] = (),
    illuminations: Sequence[str] = (),
    boxes: Path | None = None,
    margin: float = 0.0,
    form: Format | None = None,
    encoding: Encoding | None = None,
) -> Prepared:
    """Reduces Multi-PIE's faces, cropped before or by a list of boxes.

    Keys are ``001_01_01_051_07``, the files' names: subject, session, recording, camera and light; an identity label is
    the subject's place among those kept.

    DAP-FSR crops "the aligned faces", tests with ten splits by pose and illumination, and trains with Multi-PIE; how it
    aligns, which splits and which images are not said, and landmarks are not public. So the images are either squares
    that the user has cropped, or cut by the user's boxes out of images as recorded (640x480).

    Args:
        src: Folder or archive, with the set's own folders (``session01/multiview/001/01/05_1``) or any others.
        dst: Folder or ``*.lmdb`` to write.
        size: Side to which squares are reduced, antialiased as MATLAB's ``imresize`` does; smaller ones are left out.
        cameras: Only these, ``051`` or ``05_1``; none: all.
        illuminations: Only these, ``00`` to ``19``; none: all.
        boxes: CSV with the columns image, x0, y0, x1, y1 in pixels (edges, x1 - x0 is the width). ``image`` is a key, a
            key without its light (``001_01_01_051``), or a camera (``051``), in this order of preference.
        margin: Fraction of a box's longer side added on each side.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.

    Raises:
        UserError: the source is not Multi-PIE, nothing of a camera or light is there, no image is left, the boxes
            cannot be read, or an argument is out of range.
    """
    if size < 1 or not -0.5 < margin <= 4:
        raise UserError(f'size {size} and margin {margin} do not fit: 0 < size and -0.5 < margin <= 4 are needed.')
    table = None if boxes is None else _read_boxes(boxes)
    chosen = {'cameras': sorted(camera.replace('_', '') for camera in cameras), 'illuminations': sorted(illuminations)}
    with open_source(src) as images:
        names, skipped = images_by_key(images, 'Multi-PIE', '001_01_01_051_07.png', _IMAGE)
        names = _choose(images, names, chosen)
        items, unknown = _items(names, table)

        def face(item: Item) -> Face | Skip:
            image = images.image(item.name)
            height, width = image.shape[:2]
            if item.extra is not None:
                return crop_box(item, image, item.extra, margin=margin, size=size)
            if height != width:
                return Skip(item.name, 'not cropped', f'{width}x{height}; boxes of the faces are needed')
            return crop_centre(item, image, size)

        protocol: dict[str, object] = {'size': size, **chosen, 'boxes': table is not None, 'margin': margin}
        plan = PreparationPlan('multipie', protocol, items, one_by_one(face), skipped + unknown, source=images)
        return carry_out(plan, dst, form=form, encoding=encoding)


def _choose(images: Source, names: Mapping[str, str], chosen: Mapping[str, Sequence[str]]) -> dict[str, str]:
    left = dict(names)
    for place, (what, wanted) in zip((3, 4), chosen.items(), strict=True):
        there = {key.split('_')[place] for key in names}
        unknown = sorted(set(wanted) - there)
        if unknown:
            raise UserError(
                f"'{images.path}' has nothing of {what} {unknown[0]}; there are {', '.join(sorted(there))}."
            )
        left = {key: name for key, name in left.items() if not wanted or key.split('_')[place] in wanted}
    return left


def _items(names: Mapping[str, str], table: Mapping[str, _Box] | None) -> tuple[list[Item], list[Skip]]:
    items, unknown = [], []
    for key, name in names.items():
        person, camera = key[:3], key.split('_')[3]
        near = (key, key.rpartition('_')[0], camera)
        box = None if table is None else next((table[image] for image in near if image in table), None)
        if table is not None and box is None:
            unknown.append(Skip(name, 'no box', 'not in the list of boxes'))
        else:
            items.append(Item(key, name, person, box))
    return items, unknown


def _read_boxes(path: Path) -> dict[str, _Box]:
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            rows = list(csv.DictReader(file))
        return {row['image']: tuple(float(row[column]) for column in _COLUMNS[1:]) for row in rows}
    except OSError as error:
        raise UserError(f"The boxes '{path}' cannot be read: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(
            f"The boxes '{path}' need the columns {', '.join(_COLUMNS)}, all but the first numbers."
        ) from error


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_multipie`."""
    parser.add_argument(
        'src', metavar='SRC', type=given_path, help='folder or archive of the images, cropped or as recorded'
    )
    add_output_arguments(parser)
    parser.add_argument('--size', type=int, default=128, help='reduce the squares to this side (default: 128)')
    parser.add_argument('--cameras', nargs='+', default=[], metavar='CAMERA', help='only these, for instance 05_1 14_0')
    parser.add_argument(
        '--illuminations', nargs='+', default=[], metavar='LIGHT', help='only these, for instance 00 07'
    )
    parser.add_argument('--boxes', type=given_path, metavar='CSV', help='image,x0,y0,x1,y1: a face, or all of a camera')
    parser.add_argument('--margin', type=float, help='added around boxes, in their sides (default: 0)')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_multipie` from parsed arguments."""
    return prepare_multipie(
        args.src,
        args.dst,
        size=args.size,
        cameras=args.cameras,
        illuminations=args.illuminations,
        boxes=args.boxes,
        **given(args, args.boxes is not None, '--boxes', 'margin'),
        form=args.format,
        encoding=args.encoding,
    )


register(
    Preparer(
        name='multipie',
        summary='CMU Multi-PIE: cropped faces, or cut by boxes, by camera and light (DAP-FSR)',
        example='fsr prepare multipie MultiPIE-cropped datasets/multipie128.lmdb',
        add_arguments=add_arguments,
        run=run,
        where='http://www.cs.cmu.edu/afs/cs/project/PIE/MultiPie/Multi-Pie/Home.html',
        terms='licensed by Carnegie Mellon University; see the site',
        layout=(
            '001_01_01_051_07.png (subject, session, recording, camera, light) in any folders, squares of the faces; '
            'or as recorded, 640x480, with --boxes. Landmarks are not public'
        ),
    )
)
