"""``fsr options``."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

from fsr_plugins.arguments import given_path
from fsr_plugins.cli.experiment import add_option_file, load
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.errors import UserError

EXAMPLE = 'fsr options -opt options/tsnet.yml --stage joint'


def add_arguments(parser: ArgumentParser) -> None:
    """The option file, and which of its stages; or all that there is."""
    add_option_file(parser, required=False)
    whole = parser.add_mutually_exclusive_group()
    whole.add_argument('--reference', action='store_true', help='print all options, as Markdown')
    whole.add_argument(
        '--copy',
        nargs=2,
        type=given_path,
        metavar=('NAME', 'DIR'),
        help='copy a bundled option file, with all that it inherits, into a folder',
    )
    whole.add_argument('--names', action='store_true', help='print the names of the bundled option files')
    whole.add_argument('--schema', action='store_true', help='print a JSON schema of option files, for editors')
    parser.add_argument('--stage', metavar='NAME', help='only this stage; default: all')


def run(arguments: Namespace) -> CommandOutcome:
    """Prints a line an option: its key, its value and where it was written; or the reference, or the schema.

    Raises:
        UserError: the file is wrong, or has no such stage.
    """
    if arguments.reference or arguments.schema or arguments.names or arguments.copy is not None:
        of_a_file = {'-opt': arguments.opt, '--set': arguments.overrides, '--debug': arguments.debug}
        given = [option for option, value in {**of_a_file, '--stage': arguments.stage}.items() if value]
        if given:
            raise UserError(
                f'--names, --copy, --reference and --schema are of no file of yours: leave out {" and ".join(given)}.'
            )
        return _all(arguments) if arguments.reference or arguments.schema else _bundled(arguments)
    if arguments.opt is None:
        raise UserError('Give an option file by -opt, or ask for --names, --copy, --reference or --schema.')
    experiment = load(arguments)
    from fsr_plugins.config.listing import list_options
    from fsr_plugins.registry import near

    if arguments.stage is not None and arguments.stage not in experiment.stages:
        there = ', '.join(experiment.stages)
        hint = near(arguments.stage, experiment.stages)
        raise UserError(f"{arguments.opt} has no stage '{arguments.stage}' (there are: {there}).{hint}")
    shown = [name for name in experiment.stages if arguments.stage in (None, name)]
    found = {name: list_options(experiment.stages[name]) for name in shown}
    for number, (name, options) in enumerate(found.items()):
        print(f'{"" if number == 0 else chr(10)}# stage {name}')
        for option in options:
            print(option.line())
    return CommandOutcome({name: [option._asdict() for option in options] for name, options in found.items()})


def _bundled(arguments: Namespace) -> CommandOutcome:
    from fsr_plugins.config.bundled import copy, names

    lines = (
        names() if arguments.copy is None else [str(each) for each in copy(str(arguments.copy[0]), arguments.copy[1])]
    )
    print('\n'.join(lines))
    return CommandOutcome({'names' if arguments.copy is None else 'copied': lines})


def _all(arguments: Namespace) -> CommandOutcome:
    from fsr_plugins.config.reference import json_schema, reference
    from fsr_plugins.registry import load_plugins

    load_plugins()
    if arguments.reference:
        print(reference(), end='')
        return CommandOutcome()
    schema = json_schema()
    print(json.dumps(schema, indent=2))
    return CommandOutcome(schema)
