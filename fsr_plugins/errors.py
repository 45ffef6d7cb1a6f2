"""The two ways a command ends badly; whatever else escapes is a defect of this toolkit and keeps its traceback."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import PydanticCustomError

#: The type of the errors of :func:`misfit`.
MISFIT = 'misfit'
#: The most characters of a line of a message, and of a value in it.
_LINE, _VALUE = 2000, 100


class UserError(Exception):
    """The user's input is wrong: the command ends with status 2.

    The message names the file, key or image, says what is wrong with it and what to do. What it quotes may be of any
    length: a line that nobody would read to its end is cut in the middle.
    """

    def __str__(self) -> str:
        return '\n'.join(
            line if len(line) <= _LINE else f'{line[: _LINE // 2]} […] {line[-_LINE // 4 :]}'
            for line in super().__str__().split('\n')
        )


class DamagedError(UserError):
    """A file that was good is not any more; whatever options or arguments name it, none of them is wrong."""


class RunError(Exception):
    """A correct run could not go on (NaN loss, full disk, lost process): the command ends with status 1.

    The message says at what point, what is kept and how to go on.
    """


class DiskError(RunError):
    """What a run has to write cannot be written: the disk is full or fails. Nothing else will go better."""


class NoRoomError(RunError):
    """There is too little room on a disk for what is to be written, in bytes."""

    def __init__(self, message: str, free: int, needed: int) -> None:
        super().__init__(message)
        self.free, self.needed = free, needed


class Interrupted(RunError):
    """The run was asked to stop (SIGTERM, Ctrl-C) and has saved; ``status`` is the shell's convention, 128 + signal."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.status = 128 + signal_number


def shown(value: object) -> str:
    """A value as a message quotes it: cut where it is long."""
    text = repr(value[: 2 * _VALUE] if isinstance(value, str | bytes) else value)
    cut = len(text) > _VALUE
    return f'{text[: _VALUE - 20]}…{text[-10:]}' if cut else text


def misfit(reason: str) -> PydanticCustomError:
    """What a validator of options raises when several of them do not fit together.

    Args:
        reason: a sentence without its full stop. Other validators complete "must be …".
    """
    from pydantic_core import PydanticCustomError  # here, for every command imports this file

    return PydanticCustomError(MISFIT, '{reason}', {'reason': reason})


def why_not_imported(module: str, error: BaseException) -> str:
    """What a module has raised while it was imported, where in its own files, and how its author sees all of it."""
    machinery = ('<frozen importlib', str(Path(importlib.__file__).parent))
    # The first is the one that imports.
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__)[1:] if not frame.filename.startswith(machinery)
    ]
    if isinstance(error, SystemExit):
        reason = f'it ends the process with {error.code!r}'
    else:
        reason = str(error).split('\n')[0][: _LINE // 4] or 'without a word'
    place = ''
    if isinstance(error, SyntaxError) and error.filename:
        reason, place = error.msg, f' in {error.filename}:{error.lineno}'
    elif frames:
        own = Path(frames[0].filename).parent
        last = next(frame for frame in reversed(frames) if Path(frame.filename).is_relative_to(own))
        place = f' in {last.filename}:{last.lineno}'
    python = Path(sys.executable).name
    return (
        f"{reason} ({type(error).__name__}{place}). Mend or uninstall it; `{python} -c 'import {module}'` shows where "
        'that comes from.'
    )
