"""What a command hands back, and where it is written."""

from __future__ import annotations

import json
import os
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fsr_plugins.arguments import given_path
from fsr_plugins.atomic import check_replaceable
from fsr_plugins.errors import UserError


@dataclass(frozen=True)
class CommandOutcome:
    """What a command found, as plain values for ``--json``, and its exit status."""

    found: Mapping[str, object] = field(default_factory=dict)
    status: int = 0


def add_json(parser: ArgumentParser) -> None:
    """``--json FILE``; without a default, so that a subcommand's parser leaves alone what was given before it."""
    parser.add_argument(
        '--json', type=given_path, metavar='FILE', default=SUPPRESS, help='also write the results to FILE, as JSON'
    )


def check_json(arguments: Namespace) -> None:
    """Finds out before the work whether what was found can be written after it, and that no other file is lost.

    Raises:
        UserError: ``--json`` names what no file can be, a file that holds something else, or another argument's file.
    """
    path: Path | None = arguments.json
    if path is None:
        return
    if not os.path.isdir(path.parent):
        raise UserError(f"--json {path}: cannot be written: there is no folder '{path.parent}'.")
    check_replaceable(path, '--json', 'JSON', _is_json)
    for name, value in vars(arguments).items():
        for given in value if isinstance(value, list) else [value]:
            if name != 'json' and isinstance(given, str | Path) and _is_same(path, given):
                raise UserError(f'--json {path}: this file is given to the command as well; choose another name.')


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError, RecursionError):
        return False


def _is_same(path: Path, other: str | Path) -> bool:
    """Whether a file is there under both names; a path may also be what the command has yet to write."""
    try:
        return (isinstance(other, Path) and os.path.realpath(path) == os.path.realpath(other)) or os.path.samefile(
            path, other
        )
    except (OSError, ValueError):
        return False
