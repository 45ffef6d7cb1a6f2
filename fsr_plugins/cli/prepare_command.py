"""``fsr prepare``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from fsr_plugins.cli.outcome import CommandOutcome, add_json
from fsr_plugins.wording import many

EXAMPLE = 'fsr prepare portraits --help'


def add_arguments(parser: ArgumentParser) -> None:
    """A command for each preparer, of :mod:`fsr_plugins.prepare` and of plugins."""
    from fsr_plugins.prepare import PREPARERS
    from fsr_plugins.registry import load_outside_plugins

    load_outside_plugins()
    datasets = parser.add_subparsers(dest='dataset', metavar='DATASET', required=True)
    for name, preparer in PREPARERS.items():
        command = datasets.add_parser(
            name,
            help=preparer.summary,
            description=preparer.summary,
            epilog=preparer.help(),
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        add_json(command)
        preparer.add_arguments(command)


def run(arguments: Namespace) -> CommandOutcome:
    """Prepares the dataset and says what was written."""
    from fsr_plugins.prepare import PREPARERS

    prepared = PREPARERS[arguments.dataset].run(arguments)
    from fsr_plugins.prepare.carry_out import REPORT, skip_counts

    people = f' of {many(prepared.identities, "person", "people")}' if prepared.identities else ''
    print(f'{prepared.path}: {many(prepared.images, "image")}{people}')
    if prepared.left_out:
        which = f'; {Path(prepared.path) / REPORT} says which' if prepared.skipped else ''
        print(f'left out: {skip_counts(prepared.skipped) if prepared.skipped else prepared.left_out}{which}')
    return CommandOutcome(prepared.as_dict())
