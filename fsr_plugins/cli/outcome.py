"""What a command hands back, and where it is written."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser
from collections.abc import Mapping
from dataclasses import dataclass, field

from fsr_plugins.arguments import given_path


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
