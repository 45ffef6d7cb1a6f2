"""``--plugins``, for commands that open checkpoints: a file says what module its network needs, and never decides."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace


def add_plugins(parser: ArgumentParser) -> None:
    """``--plugins MODULE``, as often as needed."""
    parser.add_argument(
        '--plugins', action='append', default=[], metavar='MODULE',
        help='import this module first, e.g. for the network of a checkpoint; may be repeated',
    )  # fmt: skip


def load_named(arguments: Namespace) -> None:
    """Imports what ``--plugins`` names.

    Raises:
        UserError: a module is not there, or fails to import.
    """
    if named := getattr(arguments, 'plugins', None):
        from fsr_plugins.registry import load_plugins

        load_plugins(dict.fromkeys(named, '--plugins'))
