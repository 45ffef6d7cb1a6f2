"""The command ``fsr``. Each command has ``EXAMPLE``, ``add_arguments`` and ``run``, and is imported when it is used.

Exit status: 0 done, 1 failed while running, 2 the user's input is wrong, 128 + n ended by signal n.
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fsr_plugins.atomic import disk_error, is_disk_error
from fsr_plugins.cli.commands import COMMANDS, GOES_ON, Command, load_command, outside_commands, summaries
from fsr_plugins.cli.outcome import CommandOutcome, add_json, check_json
from fsr_plugins.cli.plugins import load_named
from fsr_plugins.cli.streams import (
    Ended,
    ended_by_signals,
    notice_closed_output,
    printed,
    reader_gone,
    say,
    tell_launcher,
)
from fsr_plugins.engine.plain import plain
from fsr_plugins.errors import Interrupted, RunError, UserError, shown
from fsr_plugins.version import __version__

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

__all__ = ['COMMANDS', 'CommandOutcome', 'main']


_INTERRUPTED = 'fsr: error: ended at once by Ctrl-C, without saving: only what was saved before is there.'


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status.

    Args:
        argv: the arguments after ``fsr``; those of the process if None.
    """
    notice_closed_output()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')  # names of files need not be UTF-8
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        with ended_by_signals():
            status = _run(given)
    except SystemExit as end:  # argparse: help, or wrong arguments
        status = end.code if isinstance(end.code, int) else 0
        if not isinstance(end.code, int | None):  # of another package: as Python ends with it
            say(str(end.code))
            status = 1
    except KeyboardInterrupt:
        # One more must not end what ends already, with a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if os.environ.get('RANK', '0') == '0':
            say(f'{_INTERRUPTED} {GOES_ON.get(_chosen(given), "")}'.rstrip())
        status = 128 + signal.SIGINT
    except Ended as end:
        say(f'fsr: ended by {signal.Signals(end.number).name}.')
        status = 128 + end.number
    except BrokenPipeError:
        return reader_gone()
    return printed(status)


def _run(argv: list[str]) -> int:
    json_file: Path | None = None
    try:
        command, arguments = _parse(argv)
        check_json(arguments)
        json_file = arguments.json
        load_named(arguments)
        outcome = command.run(arguments)
        _write_json(json_file, outcome.found)
        return outcome.status
    except (UserError, RunError, OSError) as problem:
        error = _named(problem)
        rank = os.environ.get('RANK', '0')
        say(f'fsr{"" if rank == "0" else f" (process {rank})"}: error: {error}')
        tell_launcher(str(error))
        with suppress(UserError, RunError):  # said already, if it was this file
            _write_json(json_file, {'error': str(error)})
        if isinstance(error, Interrupted):
            return error.status
        return 2 if isinstance(error, UserError) else 1


def _named(problem: UserError | RunError | OSError) -> UserError | RunError:
    """The problem as a command ends with it: a name that the system does not take is wrong input, a disk may be full.

    Raises:
        OSError: any other, which is a defect.
    """
    if isinstance(problem, UserError | RunError):
        return problem
    if problem.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return UserError(f'{shown(str(problem.filename))}: {problem.strerror}.')
    if problem.errno == errno.EBADF and problem.filename is None:
        return RunError(f'Standard output cannot be written: {problem.strerror}.')
    if is_disk_error(problem):
        return disk_error(problem.filename or 'the output', problem.strerror)
    raise problem


class _Parser(argparse.ArgumentParser):
    """argparse passes over a help that cannot be written, and shows a command's unknown arguments as its own."""

    own: argparse.ArgumentParser | None = None
    below: argparse.Action | None = None

    def add_subparsers(self, **options: Any) -> Any:
        """As argparse's; what is added is kept, for its usage."""
        self.below = super().add_subparsers(**options)
        return self.below

    def error(self, message: str) -> NoReturn:
        """Ends with the usage of the command that does not know its arguments, and the nearest of several choices."""
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message, re.DOTALL)
        if choice:
            from fsr_plugins.registry import near  # only where it is needed

            message += near(choice[1], [each.strip("'") for each in choice[2].split(', ')])
        unknown = message.removeprefix('unrecognized arguments: ')
        if self.own is None or unknown == message:
            super().error(message)
        hint = ' (--set takes one KEY=VALUE; repeat it for more)' if '=' in unknown and '--' not in unknown else ''
        if '--force_yml' in unknown:  # BasicSR's
            hint = ' (instead of --force_yml train:total_iter=100 give --set train.total_iter=100)'
        self.own.error(f'unknown arguments: {unknown}{hint}')

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Prints the help; what the output does not take is raised."""
        print(self.format_help(), end='', file=file)


def _chosen(argv: Sequence[str]) -> str:
    """The name of the command that is given, if one is."""
    return next((argument for argument in argv if not argument.startswith('-')), '')


def _parse(argv: list[str]) -> tuple[Command, argparse.Namespace]:
    parser = _Parser(
        prog='fsr',
        description='Face super-resolution on top of BasicSR.',
        epilog='Example: fsr train -opt options/tsnet.yml',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'fsr_plugins {__version__}')
    parsers = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    chosen = _chosen(argv)
    outside = outside_commands()
    command: Command | None = None
    for name, summary in summaries(outside).items():
        described = parsers.add_parser(
            name,
            help=summary.replace('%', '%%'),  # argparse formats it
            description=f'{summary[0].upper()}{summary[1:]}.',
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == chosen:
            command = load_command(name, outside)
            described.epilog = f'Example: {command.EXAMPLE}'
            described.set_defaults(json=None)
            add_json(described)
            command.add_arguments(described)
            kinds = getattr(described.below, 'choices', None) or {}
            parser.own = next((kinds[word] for word in argv[1:] if word in kinds), described)
    given = argv[0] if argv else ''
    if given.startswith('-') and not any(own.startswith(given) for own in ('-h', '--help', '--version')):
        first = next((word for word in argv if word in parsers.choices), 'COMMAND')
        parser.error(f'the command comes first, its options behind it: fsr {first} {given} …, or fsr --help')
    arguments = parser.parse_args(argv)
    assert command is not None  # argparse ends otherwise
    return command, arguments


def _write_json(path: Path | None, found: Mapping[str, object]) -> None:
    if path is None or os.environ.get('RANK', '0') != '0':
        return
    try:
        path.write_text(json.dumps(plain(dict(found)), indent=2, default=str, allow_nan=False) + '\n', encoding='utf-8')
    except OSError as error:
        problem = f'--json {path}: cannot be written: {error.strerror}.'
        raise RunError(f'{problem} Make room.') if is_disk_error(error) else UserError(problem) from error
