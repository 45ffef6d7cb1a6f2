"""``fsr options``."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

from fsr_plugins.cli.experiment import add_option_file, load
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.errors import UserError

EXAMPLE = 'fsr options -opt options/tsnet.yml --stage joint'


def add_arguments(parser: ArgumentParser) -> None:
    """The option file, and which of its stages; or all that there is."""
    add_option_file(parser, required=False)
    whole = parser.add_mutually_exclusive_group()
    whole.add_argument('--reference', action='store_true', help='print all options there are, as Markdown')
    whole.add_argument('--schema', action='store_true', help='print a JSON schema of option files, for editors')
    parser.add_argument('--stage', metavar='NAME', help='only this stage; default: all')


def run(arguments: Namespace) -> CommandOutcome:
    """Prints a line an option: its key, its value and where it was written; or the reference, or the schema.

    Raises:
        UserError: the file is wrong, or has no such stage.
    """
    if arguments.reference or arguments.schema:
        return _all(arguments)
    if arguments.opt is None:
        raise UserError('Give an option file by -opt, or ask for --reference or --schema.')
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


def _all(arguments: Namespace) -> CommandOutcome:
    if arguments.opt is not None:
        raise UserError('--reference and --schema are of all option files: leave out -opt.')
    from fsr_plugins.config.reference import json_schema, reference
    from fsr_plugins.registry import load_plugins

    load_plugins()
    if arguments.reference:
        print(reference(), end='')
        return CommandOutcome()
    schema = json_schema()
    print(json.dumps(schema, indent=2))
    return CommandOutcome(schema)
