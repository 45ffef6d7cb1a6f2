"""The arguments of the commands that take a trained network."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from fsr_plugins.arguments import given_path


def add_checkpoint(parser: ArgumentParser, default: str | None = None) -> None:
    """``-c``, which must be given where there is no default."""
    more = f'; default: {default}' if default else ''
    parser.add_argument(
        '-c',
        '--checkpoint',
        type=given_path,
        required=default is None,
        default=None if default is None else Path(default),
        metavar='FILE',
        help=f'a network that this toolkit trained, or the name of a bundled one (see `fsr list weights`){more}',
    )


def add_lr_size_and_weights(parser: ArgumentParser) -> None:
    """``--size`` and ``--param-key``."""
    parser.add_argument(
        '--size', type=int, nargs=2, metavar=('H', 'W'), help='the size of LR faces; default: as in the training'
    )
    parser.add_argument('--param-key', choices=('params', 'params_ema'), help='which weights; default: averaged ones')
