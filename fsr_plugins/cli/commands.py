"""Which commands there are: the toolkit's own, and those that installed packages bring.

A package names its commands as entry points of the group ``fsr_plugins.commands``. Only metadata are read to list them.
"""

from __future__ import annotations

import importlib
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.errors import UserError, why_not_imported

#: The toolkit's own commands and what each does, so that ``fsr --help`` imports none of them.
COMMANDS = {
    'train': 'train an experiment, stage by stage; rerunning resumes',
    'test': 'measure a trained experiment on its validation sets',
    'infer': 'enlarge faces, or the small faces in photographs, with a trained network',
    'serve': 'restore pictures in the browser and by HTTP, on this machine',
    'export': 'write a trained network as ONNX or for PyTorch alone, for use without this toolkit',
    'adapt': 'adapt a trained network to a new domain, given one or more of its faces',
    'oneshot': 'adapt to one exemplar after the other, split by split; shows mean and deviation',
    'bench': 'compare many networks fairly: train missing ones, measure all alike, write a report',
    'measure': 'measure images of any program against their HR',
    'prepare': 'prepare a dataset: draw the built-in faces, or convert a public set',
    'doctor': 'check an experiment before it runs, with one dry training step; changes nothing',
    'options': 'print the merged options of an experiment, each with its file and line',
    'list': 'show what option files can name: archs, losses, models, datasets, metrics, degradations, bundled weights',
}

#: What goes on with what was done before Ctrl-C; other commands begin anew.
GOES_ON = {
    **dict.fromkeys(('train', 'oneshot', 'bench'), 'Give the same command again to go on from that.'),
    'infer': 'With --skip-existing the same command leaves out what is done, and goes on with what was begun of clips.',
}

ENTRY_POINT_GROUP = 'fsr_plugins.commands'


class Command(Protocol):
    """A module, or any object, with these three names.

    Attributes:
        EXAMPLE: one line or several that show how it is called; the end of its help.
    """

    EXAMPLE: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Adds its arguments to its parser. ``--json`` is there already."""

    def run(self, arguments: Namespace) -> CommandOutcome:
        """Does the work, and says what was found.

        Raises:
            UserError: the input is wrong; the message is shown, and the exit status is 2.
            RunError: it failed while running; the message is shown, and the exit status is 1.
        """


def outside_commands() -> dict[str, list[EntryPoint]]:
    """The entry points of installed packages by the command they name; more than one where packages disagree."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        found.setdefault(point.name, []).append(point)
    return dict(sorted(found.items()))


def summaries(outside: Mapping[str, list[EntryPoint]]) -> dict[str, str]:
    """What every command does, ours first; of an outside one, the summary of the package that brings it."""
    found = dict(COMMANDS)
    for name, points in outside.items():
        package, about = points[0].dist, 'no summary'
        if package is not None and 'Summary' in package.metadata:
            about = package.metadata['Summary']
        found.setdefault(name, f'{about} (from {" and ".join(map(_origin, points))})')
    return found


def load_command(name: str, outside: Mapping[str, list[EntryPoint]]) -> Command:
    """Imports one command, and nothing of the others.

    Raises:
        UserError: two packages bring the command, or one brings a name of ours; it cannot be imported, or is none.
    """
    points = outside.get(name, [])
    if len(points) + (name in COMMANDS) > 1:
        owners = [*(['fsr itself'] if name in COMMANDS else []), *map(_origin, points)]
        raise UserError(f"The command '{name}' is brought by {' and by '.join(owners)}: uninstall all but one.")
    if not points:
        return cast(Command, importlib.import_module(f'fsr_plugins.cli.{name}_command'))
    where = f"The command '{name}' of {_origin(points[0])} ({points[0].value})"
    try:
        command = points[0].load()
    except (Exception, SystemExit) as error:
        raise UserError(f'{where} cannot be imported: {why_not_imported(points[0].module, error)}') from error
    missing = [part for part in ('EXAMPLE', 'add_arguments', 'run') if not hasattr(command, part)]
    if missing:
        raise UserError(f"{where} has no '{missing[0]}': a command needs EXAMPLE, add_arguments and run.")
    return cast(Command, command)


def _origin(point: EntryPoint) -> str:
    return f'{point.dist.name} {point.dist.version}' if point.dist is not None else point.value
