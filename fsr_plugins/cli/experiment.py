"""The arguments of the commands that take an option file, and the table of figures they end with."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fsr_plugins.arguments import given_path

if TYPE_CHECKING:
    from fsr_plugins.config import Experiment


#: Shown for a figure that is NaN or Inf.
_NOT_FINITE = 'not finite'


def add_option_file(parser: ArgumentParser, required: bool = True) -> None:
    """``-opt``, ``--set`` and ``--debug``."""
    parser.add_argument('-opt', '--opt', type=given_path, required=required, metavar='FILE', help='the option file')
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        dest='overrides',
        help='change an option everywhere, e.g. train.total_iter=100, or in one stage, stages.NAME.KEY=VALUE; '
        'may be repeated',
    )
    parser.add_argument(
        '--debug', action='store_true', help="as BasicSR's: 'debug_' before the name, frequent printing and validation"
    )


def add_launcher(parser: ArgumentParser) -> None:
    """``--launcher``, and ``--local_rank`` as older launchers pass it."""
    parser.add_argument(
        '--launcher', choices=('none', 'pytorch', 'slurm'), default='none', help='pytorch under torchrun; default: none'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='accepted and ignored')


def load(arguments: Namespace, tests: bool = False) -> Experiment:
    """The experiment of ``-opt``, ``--set`` and ``--debug``; see :func:`fsr_plugins.config.load`."""
    from fsr_plugins import config

    return config.load(arguments.opt, arguments.overrides, debug=arguments.debug, tests=tests)


def show_figures(
    validation: Mapping[str, Mapping[str, Mapping[str, float | None]]], conventions: Mapping[str, Mapping[str, str]]
) -> None:
    """Prints ``{set: {net: {metric: value}}}``, a table a set, a column a network; in the first process only.

    Args:
        validation: the figures; None for one that is NaN or Inf.
        conventions: how they were taken, ``{stage: {metric: convention}}``; what is absent there is shown as ``-``, and
            why below.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from fsr_plugins.metrics.base import ABSENT

    if os.environ.get('RANK', '0') != '0':
        return
    named = {name: text for metrics in conventions.values() for name, text in metrics.items()}
    absent = {name: text for name, text in named.items() if text.startswith(ABSENT)}
    for name, nets in validation.items():
        if not absent and not any(nets.values()):
            Console().print(f"{name}: no figures; it has no HR, or 'val.metrics' none that does without.", markup=False)
            continue
        table = Table(escape(name), *map(escape, nets))
        for metric in dict.fromkeys([*(metric for row in nets.values() for metric in row), *absent]):
            shown = '-' if metric in absent else None
            row = [values.get(metric, shown) for values in nets.values()]
            lost = [metric in values and values[metric] is None for values in nets.values()]
            table.add_row(
                escape(metric), *(_NOT_FINITE if gone else _cell(value) for value, gone in zip(row, lost, strict=True))
            )
        Console().print(table)
    for name, text in absent.items():
        Console().print(f'{name}: {text}', markup=False, highlight=False)


def show_tables(tables: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
    """Prints tables given as rows of named cells, in the first process only."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    for title, rows in tables.items() if os.environ.get('RANK', '0') == '0' else ():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        table = Table(*map(escape, columns), title=escape(title))
        for row in rows:
            table.add_row(*(escape(_cell(row.get(column))) for column in columns))
        Console().print(table)


def _cell(value: object) -> str:
    if value is None:
        return ''
    return f'{value:.4f}' if isinstance(value, float) else str(value)
