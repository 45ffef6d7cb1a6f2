"""What every preparer is: a function with typed arguments, and the two callables that put it on a command line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from fsr_plugins.data.folder_store import write_folder
from fsr_plugins.data.lmdb_writer import write_lmdb
from fsr_plugins.data.records import FaceLike
from fsr_plugins.errors import UserError

Format = Literal['folder', 'lmdb']
Encoding = Literal['raw', 'png']


@dataclass(frozen=True)
class Prepared:
    """What a preparer has written."""

    path: str
    images: int
    identities: int
    left_out: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


@dataclass(frozen=True)
class Preparer:
    """An entry of ``fsr prepare``: ``add_arguments`` declares what ``run`` takes, ``--help`` shows ``example``."""

    name: str
    summary: str
    example: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], Prepared]


#: All preparers by name; a module of this package adds its own by :func:`register`.
PREPARERS: dict[str, Preparer] = {}


def register(preparer: Preparer) -> Preparer:
    """Adds a preparer.

    Raises:
        ValueError: the name is taken.
    """
    if preparer.name in PREPARERS:
        raise ValueError(f"Two preparers are named '{preparer.name}'.")
    PREPARERS[preparer.name] = preparer
    return preparer


def add_output_arguments(parser: ArgumentParser) -> None:
    """``DST``, ``--format`` and ``--encoding``, alike for all preparers."""
    parser.add_argument('dst', metavar='DST', type=Path, help='folder to write; a name ending in .lmdb gives an LMDB')
    parser.add_argument('--format', choices=['folder', 'lmdb'], help='default: by the name of DST')
    parser.add_argument('--encoding', choices=['raw', 'png'], default='raw', help='of an LMDB (default: raw)')


def write_faces(dst: Path, faces: Iterable[FaceLike], form: Format | None, encoding: Encoding) -> int:
    """Writes faces as the output arguments say; ``form`` None goes by the name of ``dst``. Returns their number.

    Raises:
        UserError: ``dst`` exists, or its name does not fit the format.
    """
    named_lmdb = dst.suffix == '.lmdb'
    if form == 'folder' and named_lmdb:
        raise UserError(
            f"'{dst}' is to be a folder of images, but a name ending in .lmdb is read as an LMDB; rename it."
        )
    return write_lmdb(dst, faces, encoding) if form == 'lmdb' or named_lmdb else write_folder(dst, faces)
