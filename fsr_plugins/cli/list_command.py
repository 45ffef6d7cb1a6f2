"""``fsr list``."""

from __future__ import annotations

import inspect
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.wording import summary_of

EXAMPLE = 'fsr list archs'

KINDS = ('archs', 'losses', 'models', 'datasets', 'metrics', 'degradations', 'weights')
COLUMNS = ('name', 'origin', 'summary', 'signature')
WEIGHT_COLUMNS = ('name', 'MB', 'SHA-256', 'summary')


def add_arguments(parser: ArgumentParser) -> None:
    """What to list."""
    parser.add_argument('kind', choices=KINDS)


def run(arguments: Namespace) -> CommandOutcome:
    """Prints a table on a terminal, lines separated by tabs elsewhere."""
    columns, rows = (
        (WEIGHT_COLUMNS, _weights()) if arguments.kind == 'weights' else (COLUMNS, _registered(arguments.kind))
    )
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(*columns)
        for row in rows:
            table.add_row(*(escape(row[column]) for column in columns))
        Console().print(table)
    else:
        for row in rows:
            print('\t'.join(row[column] for column in columns))
    return CommandOutcome({arguments.kind: rows})


def _registered(kind: str) -> list[dict[str, str]]:
    from fsr_plugins.registry import REGISTRIES, load_plugins_of

    load_plugins_of(kind)
    found = dict(iter(REGISTRIES[kind]))
    if kind == 'metrics':
        # BasicSR's are functions of two images, which option files cannot name.
        found = {name: target for name, target in found.items() if inspect.isclass(target)}
    return [describe(name, target) for name, target in sorted(found.items())]


def _weights() -> list[dict[str, str]]:
    """A bundled network a row."""
    from fsr_plugins.checkpoints import bundled, bundled_file, summary

    return [
        dict(
            zip(
                WEIGHT_COLUMNS,
                (name, f'{bundled_file(name).stat().st_size / 1e6:.1f}', digest, summary(name)),
                strict=True,
            )
        )
        for name, digest in sorted(bundled().items())
    ]


def describe(name: str, target: Callable[..., object]) -> dict[str, str]:
    """Name, package it comes from, what its docstring says first, and signature of a registered class or function."""
    try:
        signature = inspect.signature(target, eval_str=True)
    except NameError:  # names that only a type checker imports
        signature = inspect.signature(target)
    return {
        'name': name,
        'origin': target.__module__.partition('.')[0],
        'summary': summary_of(target),
        'signature': str(signature),
    }
