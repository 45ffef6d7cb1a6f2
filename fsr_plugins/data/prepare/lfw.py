"""Labelled Faces in the Wild (Huang et al., 2007): original, funneled or deep-funneled, folder or zip."""

from __future__ import annotations

import csv
import hashlib
import logging
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
    encoding: Encoding = 'raw',
    crop: int = 128,
    top: int | None = None,
    size: int | None = None,
    landmarks: Path | None = None,
    parsing: Path | None = None,
    people: Path | None = None,
    fraction: tuple[float, float] = (0.0, 1.0),
) -> Prepared:
    """Cuts the centre out of LFW's images.

    Keys are ``Name_0001``; an identity label is the person's place among those kept, by name.

    Args:
        src: The folder or zip as downloaded, with or without a top folder.
        dst: Folder or ``*.lmdb`` to write.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB.
        crop: Side of the centre square; 128 is rows and columns 61 to 188 of 250.
        top: First row of the square, from 0; None: centred as the columns are.
        size: Reduce the square to this side, antialiased; None: leave it.
        landmarks: CSV with the columns image, left_eye_x, left_eye_y, … mouth_right_y in pixels of the 250x250 image;
            images without a row are left out.
        parsing: Folder or zip of parsing maps ``Name_0001.png``, 250x250; images without one are left out.
        people: Text file of persons' names, one a line: only those.
        fraction: Only people whose hash, uniform in [0, 1), lies from the first to below the second; ``(0, 0.5)`` and
            ``(0.5, 1)`` are two halves without a common person.

    Raises:
        UserError: the source is not LFW, an image does not decode, or an argument is out of range.
    """
    if not 0 < crop <= SIDE or not 0 < (size or crop) <= crop:
        raise UserError(f'crop {crop} and size {size} do not fit: 0 < size <= crop <= {SIDE} is needed.')
    offset = (SIDE - crop) // 2
    top = offset if top is None else top
    if not 0 <= top <= SIDE - crop:
        raise UserError(f'top {top} does not fit: a square of {crop} begins at row 0 to {SIDE - crop}.')
    if not 0 <= fraction[0] < fraction[1] <= 1:
        raise UserError(f'people-fraction {fraction[0]} {fraction[1]} is not an ascending pair within 0 and 1.')
    window = Window(top, offset, crop, size or crop)
    points = _read_landmarks(landmarks) if landmarks is not None else None
    with open_source(src) as images, open_source(parsing or src) as maps:
        names = _select(images, people, fraction)
        mapped = maps.by_key(_MAP) if parsing is not None else None
        needed = [held for held in (points, mapped) if held is not None]
        kept = {key: name for key, name in names.items() if all(key in held for held in needed)}
        if len(kept) < len(names):
            lost = len(names) - len(kept)
            logger.warning('%d of %d images have no landmarks or parsing map and are left out.', lost, len(names))
        labels = {person: label for label, person in enumerate(sorted({_person(key) for key in kept}))}
        faces = _faces(images, kept, labels, window, points, (maps, mapped) if mapped is not None else None)
        count = write_faces(dst, progress(faces, len(kept), 'lfw'), form, encoding)
    return Prepared(str(dst), count, len(labels), len(names) - count)


def _person(key: str) -> str:
    return key.rpartition('_')[0]


def _select(images: Source, people: Path | None, fraction: tuple[float, float]) -> dict[str, str]:
    names = images.by_key(_IMAGE)
    if not names:
        raise UserError(f"'{images.path}' is not LFW: it has no images Name/Name_0001.jpg.")
    if people is not None:
        try:
            listed = set(people.read_text(encoding='utf-8').split())
        except OSError as error:
            raise UserError(f"The list of people '{people}' cannot be read: {error.strerror}.") from error
        unknown = sorted(listed - {_person(key) for key in names})
        if unknown:
            raise UserError(f"'{people}' lists '{unknown[0]}', of whom '{images.path}' has no image.")
        names = {key: name for key, name in names.items() if _person(key) in listed}
    names = {key: name for key, name in names.items() if fraction[0] <= _place(_person(key)) < fraction[1]}
    if not names:
        raise UserError(f"Nobody of '{images.path}' is left after the choice of people.")
    return names


def _place(person: str) -> float:
    """The person's place in [0, 1): a hash of the name, so that it does not depend on who else is there."""
    return int.from_bytes(hashlib.sha256(person.encode()).digest()[:6], 'big') / (1 << 48)


def _read_landmarks(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    columns = [f'{point}_{axis}' for point in _POINTS for axis in 'xy']
    try:
        with path.open(newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
        return {
            Path(row['image']).stem: np.array([float(row[column]) for column in columns], np.float32).reshape(5, 2)
            for row in rows
        }
    except OSError as error:
        raise UserError(f"The landmarks '{path}' cannot be read: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"The landmarks '{path}' need numbers in the columns image, {', '.join(columns)}: {error}."
        ) from error


def _faces(
    images: Source,
    names: Mapping[str, str],
    labels: Mapping[str, int],
    window: Window,
    points: Mapping[str, npt.NDArray[np.float32]] | None,
    maps: tuple[Source, Mapping[str, str]] | None,
) -> Iterator[Face]:
    shape = (SIDE, SIDE)
    for key, name in names.items():
        yield Face(
            key=key,
            image=window.image(images.image(name, shape)),
            identity=labels[_person(key)],
            landmarks=window.points(points[key]) if points is not None else None,
            parsing=window.labels(maps[0].labels(maps[1][key], shape)) if maps is not None else None,
        )


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_lfw`."""
    parser.add_argument('src', metavar='SRC', type=Path, help='folder or zip of LFW, any of its three alignments')
    add_output_arguments(parser)
    parser.add_argument('--crop', type=int, default=128, help='side of the centre square (default: 128)')
    parser.add_argument('--top', type=int, help='first row of the square (default: centred)')
    parser.add_argument('--size', type=int, help='reduce the square to this side, antialiased')
    parser.add_argument('--landmarks', type=Path, metavar='CSV', help='five points an image, in its 250x250 pixels')
    parser.add_argument('--parsing', type=Path, metavar='SRC', help='folder or zip of parsing maps, 250x250 PNGs')
    parser.add_argument('--people', type=Path, metavar='FILE', help='only the persons listed, one name a line')
    parser.add_argument(
        '--people-fraction',
        type=float,
        nargs=2,
        default=[0.0, 1.0],
        metavar=('FROM', 'TO'),
        help='only a part of the people; 0 0.5 and 0.5 1 have nobody in common',
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
    )


register(
    Preparer(
        name='lfw',
        summary='Labelled Faces in the Wild: the 128x128 centre of the 250x250 images',
        example='fsr prepare lfw lfw-deepfunneled.zip datasets/lfw.lmdb',
        add_arguments=add_arguments,
        run=run,
    )
)
