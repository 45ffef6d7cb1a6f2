"""The built-in faces, written to a place of one's own choice."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

from fsr_plugins.portraits.spec import SCHEME, parse_spec
from fsr_plugins.portraits.workers import draw
from fsr_plugins.prepare.base import (
    Format,
    Prepared,
    Preparer,
    add_output_arguments,
    chosen_encoding,
    chosen_format,
    register,
)
from fsr_plugins.stores.encoding import Encoding
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.manifest import Origin
from fsr_plugins.stores.progress import progress
from fsr_plugins.stores.records import FaceLike


def prepare_portraits(
    spec: str, dst: Path, *, form: Format | None = None, encoding: Encoding | None = None
) -> Prepared:
    """Draws built-in faces into a folder or an LMDB; the same spec gives the same pixels everywhere.

    Args:
        spec: ``portraits://<domain>/<split>?number=2000&size=64&seed=0``, or the part behind ``portraits://``.
        dst: Folder or ``*.lmdb`` to write.
        form: ``folder`` or ``lmdb``; None: by the name of ``dst``.
        encoding: Of an LMDB; None: raw.

    Raises:
        UserError: the spec is wrong, or ``dst`` exists.
    """
    wanted = parse_spec(spec if spec.startswith(f'{SCHEME}://') else f'{SCHEME}://{spec}')
    people: set[int | None] = set()

    def counted() -> Iterator[FaceLike]:
        for face in draw(wanted):
            people.add(face.identity)
            yield face

    faces = progress(counted(), wanted.number, f'{wanted.domain}/{wanted.split}')
    origin = Origin(dataset='portraits', protocol={'spec': wanted.text()}, found=wanted.number)
    form = chosen_format(dst, form)
    written = chosen_encoding(dst, form, encoding)
    if form == 'lmdb':
        count = write_lmdb(dst, faces, written, origin=origin)
    else:
        count = write_folder(dst, faces, origin=origin)
    return Prepared(str(dst), count, len(people - {None}))


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of :func:`prepare_portraits`."""
    parser.add_argument('spec', metavar='SPEC', help="domain/split, e.g. 'studio/train?number=2000&size=64&seed=0'")
    add_output_arguments(parser)


def run(args: Namespace) -> Prepared:
    """Runs :func:`prepare_portraits` from parsed arguments."""
    return prepare_portraits(args.spec, args.dst, form=args.format, encoding=args.encoding)


register(
    Preparer(
        name='portraits',
        summary='the built-in faces: studio, harsh, cartoon, real_lr and others, drawn by this toolkit',
        example="fsr prepare portraits 'studio/train?number=2000&size=128' datasets/studio.lmdb",
        add_arguments=add_arguments,
        run=run,
    )
)
