"""The command ``fsr``. Each command is a module with ``EXAMPLE``, ``add_arguments``, ``run``, imported when it is used.

Exit status: 0 done, 1 failed while running, 2 the user's input is wrong, 128 + n ended by signal n.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from fsr_plugins.atomic import check_writable
from fsr_plugins.cli.outcome import Outcome, add_json
from fsr_plugins.errors import Interrupted, RunError, UserError

__all__ = ['Outcome', 'main']

#: Every command and what it does, so that ``fsr --help`` imports none of them.
COMMANDS = {
    'train': 'train an experiment, stage by stage; started again, it goes on where it stopped',
    'test': 'measure a trained experiment again on its validation sets',
    'infer': 'enlarge faces, or the small faces in photographs, by a trained network',
    'export': 'write a trained network as ONNX or for PyTorch alone, to be used without this toolkit',
    'adapt': 'adapt a trained network to a new domain by one or more of its faces',
    'oneshot': 'adapt by one exemplar after the other, split by split, and show mean and deviation',
    'bench': 'one fair table of many networks: trains what is not trained, measures all alike, writes a report',
    'prepare': 'make a dataset ready: draw the built-in faces, or unpack a public set',
    'doctor': 'look for everything that would stop an experiment, one dry training step included; changes nothing',
    'list': 'show what option files can name: archs, losses, models, datasets, metrics, degradations',
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status.

    Args:
        argv: the arguments after ``fsr``; those of the process if None.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')  # names of files need not be UTF-8
    try:
        arguments, module = _parse(argv)
        status = _run(module, arguments)
        sys.stdout.flush()
        return status
    except SystemExit as end:  # argparse: help, or wrong arguments
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read the output has gone; what Python still holds for it must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE


def _parse(argv: list[str]) -> tuple[argparse.Namespace, ModuleType]:
    parser = argparse.ArgumentParser(
        prog='fsr',
        description='Face super-resolution on top of BasicSR.',
        epilog='Example: fsr train -opt options/tsnet.yml',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    chosen = next((argument for argument in argv if not argument.startswith('-')), '')
    module: ModuleType | None = None
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f'{summary[0].upper()}{summary[1:]}.',
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == chosen:
            module = importlib.import_module(f'fsr_plugins.cli.{name}_command')
            command.epilog = f'Example: {module.EXAMPLE}'
            command.set_defaults(json=None)
            add_json(command)
            module.add_arguments(command)
    arguments = parser.parse_args(argv)
    assert module is not None  # argparse ends otherwise
    return arguments, module


def _run(module: ModuleType, arguments: argparse.Namespace) -> int:
    try:
        _check_json(arguments.json)
        outcome = module.run(arguments)
        _write_json(arguments.json, outcome.found)
    except (UserError, RunError) as error:
        outcome = Outcome({'error': str(error)}, _status(error))
        rank = os.environ.get('RANK', '0')
        print(f'fsr{"" if rank == "0" else f" (process {rank})"}: error: {error}', file=sys.stderr)
        with suppress(UserError):  # what is wrong has been said
            _write_json(arguments.json, outcome.found)
    return outcome.status


def _status(error: UserError | RunError) -> int:
    if isinstance(error, Interrupted):
        return error.status
    return 2 if isinstance(error, UserError) else 1


def _check_json(path: Path | None) -> None:
    """Finds out before the work whether what was found can be written after it."""
    if path is None:
        return
    if os.path.isdir(path):
        raise UserError(f'--json {path}: that is a folder; a file is needed.')
    if not os.path.isdir(path.parent):
        raise UserError(f"--json {path}: cannot be written: there is no folder '{path.parent}'.")
    if not os.path.exists(path):
        check_writable(path, '--json')
    elif not os.access(path, os.W_OK):
        raise UserError(f'--json {path}: cannot be written.')


def _write_json(path: Path | None, found: dict[str, Any]) -> None:
    if path is None or os.environ.get('RANK', '0') != '0':
        return
    try:
        path.write_text(json.dumps(found, indent=2, default=str) + '\n', encoding='utf-8')
    except OSError as error:
        raise UserError(f'--json {path}: cannot be written: {error.strerror}.') from error
