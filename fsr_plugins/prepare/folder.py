"""Anybody's own pictures: a folder or archive of photographs in any structure, cut or searched for faces."""

from __future__ import annotations

import hashlib
import os
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import Format, Prepared, Preparer, add_output_arguments, given, register
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.centre import centre_crops
from fsr_plugins.prepare.extraction import Align, FaceExtraction, extract_faces
from fsr_plugins.prepare.plan import Item, PreparationPlan, Skip, one_by_one
from fsr_plugins.prepare.source import GROUNDS, Ground, Source, wrong_layout
from fsr_plugins.prepare.sources import is_archive, open_source
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.images import EXTENSIONS, OTHER_EXTENSIONS
from fsr_plugins.stores.manifest import NAME as MANIFEST
from fsr_plugins.stores.records import Face

Crop = Literal['none', 'centre']

#: Bytes of a key, so that what a preparer appends still fits into a store.
_KEY_BYTES = 200


def prepare_folder(
    src: Path,
    dst: Path,
    *,
    crop: Crop = 'centre',
    size: int | None = 128,
    extraction: FaceExtraction | None = None,
    person_from_folder: bool = False,
    keep_duplicates: bool = False,
    ground: Ground = 'black',
    form: Format | None = None,
    encoding: Encoding | None = None,
) -> Prepared:
    """Makes faces of all pictures below a folder or in an archive.

    A key is the picture's path without its ending, all but letters, digits, ``_``, ``+`` and ``-`` replaced by ``_``;
    where several paths become the same, those behind the first by name get ``_2``, ``_3`` and so on. Where all faces
    of a picture are taken they have ``_01``, ``_02`` and so on behind its key, by descending score.

    Args:
        src: Folder, zip or tar, or folder of these. Hidden files are left alone, and so is what is no picture by its
            ending.
        dst: Folder or ``*.lmdb`` to write.
        crop: Without ``extraction``: the ``centre`` square of a picture, or ``none``, the whole of it.
        size: Side to which squares are reduced, as MATLAB's ``imresize`` does; smaller ones are left out. None: as
            they are.
        extraction: Search the pictures for faces, and how to cut these out; ``crop`` and ``size`` do not count then.
        person_from_folder: A picture's folder says who it is: an identity label is the folder's place by path.
        keep_duplicates: Keep faces whose pixels are those of an earlier one.
        ground: Over what pictures with alpha are laid.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.

    Raises:
        UserError: ``src`` is a prepared set, there are no pictures, no face is left, an argument is out of range, a
            detector cannot be opened, or ``dst`` lies in ``src``.
    """
    if extraction is None and size is not None and (crop == 'none' or size < 1):
        raise UserError(f'size {size} does not fit: it is the side of a square, --crop centre or --align makes one.')
    _check_places(src, dst)
    with open_source(src) as source:
        source.ground = ground
        names = [name for name in source.names if is_picture(name)]
        if not names:
            raise wrong_layout(source, 'a collection of pictures', f'files ending in {", ".join(sorted(EXTENSIONS))}')
        items = [
            Item(key, name, PurePosixPath(name).parent.as_posix() if person_from_folder else None)
            for key, name in keys_of(names).items()
        ]
        skipped = [Skip(name, 'link', 'links are not followed') for name in source.links] + _left_out(source)
        protocol: Mapping[str, object]
        if extraction is not None:
            protocol, make = extraction.protocol(), extract_faces(source, extraction)
        else:
            protocol = {'crop': crop, 'size': size}
            whole = one_by_one(lambda item: Face(item.key, source.image(item.name)))
            make = centre_crops(source, size) if crop == 'centre' else whole
        plan = PreparationPlan('folder', protocol, items, make, skipped, not keep_duplicates, source)
        return carry_out(plan, dst, form=form, encoding=encoding)


def _check_places(src: Path, dst: Path) -> None:
    if src.is_dir() and Path(os.path.realpath(dst)).is_relative_to(os.path.realpath(src)):
        raise UserError(f"'{dst}' lies in '{src}', whose pictures are prepared: write elsewhere.")
    if (src / MANIFEST).is_file() and (src / 'images').is_dir():
        raise UserError(f"'{src}' is a prepared set, which may hold maps beside its images: give '{src / 'images'}'.")


def is_picture(name: str) -> bool:
    """Whether a path is that of a picture by its ending, and nothing in it is hidden (``.…``, ``__MACOSX``)."""
    return PurePosixPath(name).suffix.lower() in EXTENSIONS and not _is_hidden(name)


def _is_hidden(name: str) -> bool:
    return any(part.startswith('.') and part != '..' or part == '__MACOSX' for part in PurePosixPath(name).parts)


def _left_out(source: Source) -> list[Skip]:
    """What may be pictures, or hold some, and is not looked into."""
    skipped = []
    for name in source.names:
        if is_archive(Path(name)) and not _is_hidden(name):
            skipped.append(Skip(name, 'archive', 'archives are opened directly in the folder only; unpack it'))
        elif PurePosixPath(name).suffix.lower() in OTHER_EXTENSIONS and not _is_hidden(name):
            skipped.append(Skip(name, 'other kind', 'it is not read; convert it'))
    return skipped


def keys_of(names: Iterable[str]) -> dict[str, str]:
    """Paths by keys that a store can hold, all different, in the order of the paths."""
    keys: dict[str, str] = {}
    for name in sorted(names):
        first = re.sub(r'[^\w+-]+', '_', PurePosixPath(name).with_suffix('').as_posix()).strip('_') or '_'
        if len(first.encode()) > _KEY_BYTES:
            # A long path is cut; what is cut away still tells keys apart.
            digest = hashlib.sha256(first.encode()).hexdigest()[:12]
            first = f'{first.encode()[:_KEY_BYTES].decode(errors="ignore")}_{digest}'
        key = first
        number = 1
        while key in keys:
            number += 1
            key = f'{first}_{number}'
        keys[key] = name
    return keys


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_folder`."""
    parser.add_argument('src', metavar='SRC', type=given_path, help='folder, zip or tar of pictures')
    add_output_arguments(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument('--crop', choices=['none', 'centre'], default='centre', help='what is cut out (default: centre)')
    how.add_argument(
        '--align',
        choices=['ffhq', '112x96', 'box'],
        help="search for faces, and cut them out as FFHQ's, as SphereFace's 112x96, or by a square round the box",
    )
    parser.add_argument('--size', type=int, help='side of the faces (default: 128; 112x96 has its own)')
    parser.add_argument('--person-from-folder', action='store_true', help="a picture's folder says who it is")
    parser.add_argument(
        '--ground',
        choices=list(GROUNDS),
        default='black',
        help='background of pictures with alpha (default: black)',
    )
    parser.add_argument('--keep-duplicates', action='store_true', help='keep faces with equal pixels')
    usual = FaceExtraction('box')
    search = parser.add_argument_group('with --align')
    search.add_argument('--detector', metavar='NAME', help='(default: the best that needs no download)')
    search.add_argument('--weights', type=given_path, metavar='FILE', help='local weights; for mediapipe a folder')
    search.add_argument('--device', help=f'of the detector (default: {usual.device})')
    search.add_argument('--min-size', type=int, help="longer side of a face's box, at least (default: 0)")
    search.add_argument('--margin', type=float, help=f'of box (default: {usual.margin})')
    search.add_argument('--faces', choices=['all', 'largest'], help=f'of a picture (default: {usual.faces})')


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_folder` from parsed arguments."""
    align: Align | None = args.align
    if align == '112x96' and args.size is not None:
        raise UserError('--size does not fit --align 112x96, whose faces are 112x96; leave it out.')
    size = 128 if args.size is None else args.size
    extraction = None
    box = given(args, align == 'box', '--align box', 'margin')
    search = given(args, align is not None, '--align', 'detector', 'weights', 'device', 'min_size', 'faces')
    if align is not None:
        from fsr_plugins.faces import best_without_download

        found = {'detector': search.get('detector') or best_without_download(args.weights)}
        extraction = FaceExtraction(align=align, size=size, **{**box, **search, **found})
    return prepare_folder(
        args.src,
        args.dst,
        crop=args.crop,
        size=args.size if args.crop == 'none' and not align else size,
        extraction=extraction,
        person_from_folder=args.person_from_folder,
        keep_duplicates=args.keep_duplicates,
        ground=args.ground,
        form=args.format,
        encoding=args.encoding,
    )


register(
    Preparer(
        name='folder',
        summary='your own pictures: the centre of each, or the faces found in it',
        example='fsr prepare folder holiday/ datasets/holiday.lmdb --align ffhq --size 128',
        add_arguments=add_arguments,
        run=run,
        layout='pictures in folders of any depth, or an archive of them',
    )
)
