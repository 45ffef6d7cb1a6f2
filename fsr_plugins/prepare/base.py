"""What every preparer is: a function with typed arguments, and the two callables that put it on a command line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

from fsr_plugins.arguments import given_path
from fsr_plugins.errors import UserError

if TYPE_CHECKING:
    from fsr_plugins.stores.encoding import Encoding

Format = Literal['folder', 'lmdb']


@dataclass(frozen=True)
class Prepared:
    """What a preparer has written; ``skipped`` counts what was left out by reason."""

    path: str
    images: int
    identities: int
    left_out: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """For ``--json``."""
        return asdict(self)


@dataclass(frozen=True)
class Preparer:
    """An entry of ``fsr prepare``: ``add_arguments`` declares what ``run`` takes; ``--help`` shows all the texts.

    For a public dataset ``where`` says where the official data is, ``terms`` under what terms, and ``layout`` which
    layout is expected.
    """

    name: str
    summary: str
    example: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], Prepared]
    where: str = ''
    terms: str = ''
    layout: str = ''

    def help(self) -> str:
        """What ``--help`` says below the arguments."""
        said = [('Official data', self.where), ('Terms', self.terms), ('Expected layout', self.layout)]
        paragraphs = [fill(f'{title}: {text}', 100, break_long_words=False) for title, text in said if text]
        return '\n\n'.join([*paragraphs, f'Example: {self.example}'])


#: All preparers by name; a module of this package, or of a plugin, adds its own by :func:`register`.
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
    parser.add_argument(
        'dst', metavar='DST', type=given_path, help='folder to write; a name ending in .lmdb gives an LMDB'
    )
    parser.add_argument('--format', choices=['folder', 'lmdb'], help='default: by the name of DST')
    parser.add_argument('--encoding', choices=['raw', 'png'], help='of an LMDB (default: raw)')


def add_engine_arguments(parser: ArgumentParser, usual: str | None, others: str) -> None:
    """``--engine``, ``--weights`` and ``--device`` of what a network finds on faces.

    Args:
        usual: the default; None: chosen when it runs, the best that is there without a download.
    """
    said = f'default: {usual}; others: {others}' if usual else f'default: the first that is installed of {others}'
    parser.add_argument('--engine', default=usual, metavar='NAME', help=said)
    parser.add_argument(
        '--weights', type=given_path, metavar='FILE', help='local weights (mediapipe: a folder of its files)'
    )
    parser.add_argument('--device', default='cpu', help='where the network runs (default: cpu)')


def given(args: Namespace, is_read: bool, needed: str, *names: str) -> dict[str, Any]:
    """Those of some options that were given, by name; of the others a preparation's own defaults hold.

    Args:
        is_read: whether these have an effect beside the others.
        needed: what they go with, for the message.
        names: of options that the parser gives no default.

    Raises:
        UserError: one is given that has no effect.
    """
    found = {name: value for name in names if (value := getattr(args, name)) is not None}
    for name in () if is_read else found:
        raise UserError(f'--{name.replace("_", "-")} goes with {needed}, and has no effect here: leave it out.')
    return found


def weights_digests(weights: Path | None) -> dict[str, str] | None:
    """What a manifest says of local weights: SHA-256 by file name; None for the published ones."""
    from fsr_plugins.weights import file_sha256

    if weights is None:
        return None
    files = sorted(weights.iterdir()) if weights.is_dir() else [weights]
    return {file.name: file_sha256(file) for file in files if file.is_file()}


def chosen_format(dst: Path, form: Format | None) -> Format:
    """The format that the output arguments ask for; ``form`` None goes by the name of ``dst``.

    Raises:
        UserError: the name does not fit the format.
    """
    named_lmdb = dst.suffix == '.lmdb'
    if form == 'folder' and named_lmdb:
        raise UserError(
            f"'{dst}' is to be a folder of images, but a name ending in .lmdb is read as an LMDB; rename it."
        )
    return 'lmdb' if named_lmdb else form or 'folder'


def chosen_encoding(dst: Path, form: Format, encoding: Encoding | None) -> Encoding:
    """How images are written: a folder holds PNGs, an LMDB what is asked for.

    Raises:
        UserError: an encoding is asked for, of a folder.
    """
    if form == 'folder' and encoding is not None:
        raise UserError(f"--encoding goes with an LMDB, and '{dst}' is to be a folder of PNGs: leave it out.")
    return 'png' if form == 'folder' else encoding or 'raw'
