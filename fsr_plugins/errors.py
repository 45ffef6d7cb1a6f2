"""The two ways a command ends badly; whatever else escapes is a defect of this toolkit and keeps its traceback."""

from __future__ import annotations

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
    return PydanticCustomError(MISFIT, '{reason}', {'reason': reason})
