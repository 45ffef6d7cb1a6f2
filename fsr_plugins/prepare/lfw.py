"""Labelled Faces in the Wild (Huang et al., 2007): original, funneled or deep-funneled; folder, tgz or zip."""

from __future__ import annotations

import csv
import hashlib
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

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
from fsr_plugins.prepare.lists import read_names
from fsr_plugins.prepare.plan import Item, PreparationPlan, Skip, images_by_key, one_by_one, without_duplicates
from fsr_plugins.prepare.source import Source
from fsr_plugins.prepare.sources import open_source
from fsr_plugins.prepare.window import Window
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.records import Face

#: Every image of the three alignments is a square of this side.
SIDE = 250

_IMAGE = re.compile(r'(?:.*/)?(?P<person>[^/]+)/(?P<key>(?P=person)_\d{4})\.jpg')
_MAP = re.compile(r'(?:.*/)?(?P<key>[^/]+_\d{4})\.png')
_POINTS = ('left_eye', 'right_eye', 'nose', 'mouth_left', 'mouth_right')


def prepare_lfw(
    src: Path,
    dst: Path,
    *,
    form: Format | None = None,
    encoding: Encoding | None = None,
    crop: int = 128,
    top: int | None = None,
    size: int | None = None,
    landmarks: Path | None = None,
    parsing: Path | None = None,
    people: Path | None = None,
    fraction: tuple[float, float] = (0.0, 1.0),
    lists: Sequence[Path] = (),
) -> Prepared:
    """Cuts the centre out of LFW's images; keys are ``Name_0001``, labels the persons' places by name among those kept.

    Args:
        src: The folder, tgz or zip as downloaded, with or without a top folder.
        dst: Folder or ``*.lmdb`` to write.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.
        crop: Side of the centre square; 128 is rows and columns 61 to 188 of 250.
        top: First row of the square, from 0; None: centred as the columns are.
        size: Reduce the square to this side, antialiased; None: leave it.
        landmarks: CSV with the columns image, left_eye_x, left_eye_y, … mouth_right_y in pixels of the 250x250 image;
            images without a row are left out.
        parsing: Folder or zip of parsing maps ``Name_0001.png``, 250x250; images without one are left out.
        people: Text file of persons' names, one a line, or a list of LFW's own: only those.
        fraction: Only people whose hash, uniform in [0, 1), lies from the first to below the second; ``(0, 0.5)`` and
            ``(0.5, 1)`` are two halves without a common person.
        lists: Lists of pairs in LFW's format, or BLUFR's protocol (``*.mat``, ``*.npz``); images missing are reported.

    Raises:
        UserError: the source is not LFW, no image is left, or an argument is out of range.
    """
    window = _window(crop, top, size)
    if not 0 <= fraction[0] < fraction[1] <= 1:
        raise UserError(f'people-fraction {fraction[0]} {fraction[1]} is not an ascending pair within 0 and 1.')
    points = {} if landmarks is None else _read_landmarks(landmarks)
    with ExitStack() as opened:
        images = opened.enter_context(open_source(src))
        names, skipped = images_by_key(images, 'LFW', 'Name/Name_0001.jpg', _IMAGE)
        skipped += _unresolved(lists, names)
        names = _select(images.path, names, people, fraction)
        maps = None if parsing is None else opened.enter_context(open_source(parsing))
        mapped = {} if maps is None else without_duplicates(maps, maps.by_key(_MAP))[0]
        items = []
        for key, name in names.items():
            if landmarks is not None and key not in points:
                skipped.append(Skip(name, 'no landmarks', f'not in {landmarks}'))
            elif maps is not None and key not in mapped:
                skipped.append(Skip(name, 'no parsing map', f'not in {parsing}'))
            else:
                items.append(Item(key, name, _person(key), (points.get(key), mapped.get(key))))
        protocol: dict[str, object] = {'crop': crop, 'top': window.top, 'left': window.left, 'size': window.size}
        protocol['people_fraction'] = list(fraction)
        make = one_by_one(partial(_face, images, maps, window))
        plan = PreparationPlan('lfw', protocol, items, make, skipped, source=images)
        return carry_out(plan, dst, form=form, encoding=encoding)


def _window(crop: int, top: int | None, size: int | None) -> Window:
    if not 0 < crop <= SIDE or not 0 < (crop if size is None else size) <= crop:
        raise UserError(f'crop {crop} and size {size} do not fit: 0 < size <= crop <= {SIDE} is needed.')
    left = (SIDE - crop) // 2
    top = left if top is None else top
    if not 0 <= top <= SIDE - crop:
        raise UserError(f'top {top} does not fit: a square of {crop} begins at row 0 to {SIDE - crop}.')
    return Window(top, left, crop, crop if size is None else size)


def _unresolved(lists: Sequence[Path], names: Mapping[str, str]) -> list[Skip]:
    """What lists name and the source does not have."""
    from fsr_plugins.metrics.blufr_protocol import read_protocol
    from fsr_plugins.metrics.pairs import read_pairs

    missing = []
    for path in lists:
        if path.suffix in ('.mat', '.npz'):
            named = [Path(image).stem for image in read_protocol(path).images]
        else:
            pairs = read_pairs(path)
            named = [*pairs.first, *pairs.second]
        missing += [Skip(key, 'listed, not there', path.name) for key in sorted(set(named) - names.keys())]
    return missing


def _face(images: Source, maps: Source | None, window: Window, item: Item) -> Face:
    shape = (SIDE, SIDE)
    points, mapped = item.extra
    return Face(
        key=item.key,
        image=window.image(images.image(item.name, shape)),
        landmarks=None if points is None else window.points(np.array(points, np.float32)),
        parsing=None if maps is None else window.labels(maps.labels(mapped, shape)),
    )


def _person(key: str) -> str:
    return key.rpartition('_')[0]


def _select(path: Path, names: dict[str, str], people: Path | None, fraction: tuple[float, float]) -> dict[str, str]:
    if people is not None:
        # LFW's own lists begin with the number of people, and nobody has a number for a name.
        listed = {name for name in read_names(people, 'list of people') if not name.isdigit()}
        unknown = sorted(listed - {_person(key) for key in names})
        if unknown:
            raise UserError(f"'{people}' lists '{unknown[0]}', but '{path}' has no image of this person.")
        names = {key: name for key, name in names.items() if _person(key) in listed}
    # A hash of the name is a person's place in [0, 1), so that it does not depend on who else is there.
    digests = {person: hashlib.sha256(person.encode()).digest() for person in map(_person, names)}
    places = {person: int.from_bytes(digest[:6], 'big') / (1 << 48) for person, digest in digests.items()}
    names = {key: name for key, name in names.items() if fraction[0] <= places[_person(key)] < fraction[1]}
    if not names:
        raise UserError(f"Nobody of '{path}' is left after the choice of people.")
    return names


def _read_landmarks(path: Path) -> dict[str, list[list[float]]]:
    columns = [f'{point}_{axis}' for point in _POINTS for axis in 'xy']
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            rows = list(csv.DictReader(file))
        return {
            Path(row['image']).stem: np.array([float(row[column]) for column in columns], np.float32)
            .reshape(5, 2)
            .tolist()
            for row in rows
        }
    except OSError as error:
        raise UserError(f"The landmarks '{path}' cannot be read: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(
            f"The landmarks '{path}' need numbers in the columns image, {', '.join(columns)}: {error}."
        ) from error


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_lfw`."""
    parser.add_argument(
        'src', metavar='SRC', type=given_path, help='folder, tgz or zip of LFW, any of its three alignments'
    )
    add_output_arguments(parser)
    parser.add_argument('--crop', type=int, default=128, help='side of the centre square (default: 128)')
    parser.add_argument('--top', type=int, help='first row of the square (default: centred)')
    parser.add_argument('--size', type=int, help='reduce the square to this side, antialiased')
    parser.add_argument(
        '--landmarks', type=given_path, metavar='CSV', help='five points an image, in its 250x250 pixels'
    )
    parser.add_argument('--parsing', type=given_path, metavar='SRC', help='folder or zip of parsing maps, 250x250 PNGs')
    parser.add_argument(
        '--people',
        type=given_path,
        metavar='FILE',
        help="only the persons listed, one name a line, or LFW's peopleDevTest.txt",
    )
    parser.add_argument(
        '--people-fraction',
        type=float,
        nargs=2,
        default=[0.0, 1.0],
        metavar=('FROM', 'TO'),
        help='only a part of the people; 0 0.5 and 0.5 1 have nobody in common',
    )
    parser.add_argument(
        '--lists',
        type=given_path,
        nargs='+',
        default=[],
        metavar='FILE',
        help='pairs.txt, blufr_lfw_config.mat: the report names the images that these lists have and SRC lacks',
    )


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_lfw` from parsed arguments."""
    return prepare_lfw(
        args.src,
        args.dst,
        form=args.format,
        encoding=args.encoding,
        crop=args.crop,
        top=args.top,
        size=args.size,
        landmarks=args.landmarks,
        parsing=args.parsing,
        people=args.people,
        fraction=(args.people_fraction[0], args.people_fraction[1]),
        lists=args.lists,
    )


register(
    Preparer(
        name='lfw',
        summary='Labelled Faces in the Wild: the 128x128 centre of the 250x250 images',
        example='fsr prepare lfw lfw-deepfunneled.zip datasets/lfw.lmdb',
        add_arguments=add_arguments,
        run=run,
        where='http://vis-www.cs.umass.edu/lfw/ (lfw.tgz, lfw-funneled.tgz, lfw-deepfunneled.tgz, pairs.txt)',
        terms='photographs from the news; see the site',
        layout='<top folder>/Name/Name_0001.jpg, 250x250, in a folder, tgz or zip',
    )
)
