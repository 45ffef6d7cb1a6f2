"""The two ways a command ends badly; whatever else escapes is a defect of this toolkit and keeps its traceback."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

#: The type of the errors of :func:`misfit`.
MISFIT = 'misfit'


class UserError(Exception):
    """The user's input is wrong: the command ends with status 2.

    The message names the file, key or image, says what is wrong with it and what to do.
    """


class RunError(Exception):
    """A correct run could not go on (NaN loss, full disk, lost process): the command ends with status 1.

    The message says at what point, what is kept and how to go on.
    """


class Interrupted(RunError):
    """The run was asked to stop (SIGTERM, Ctrl-C) and has saved; ``status`` is the shell's convention, 128 + signal."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.status = 128 + signal_number


def misfit(reason: str) -> PydanticCustomError:
    """What a validator of options raises when several of them do not fit together.

    Args:
        reason: a sentence without its full stop. Other validators complete "must be …".
    """
    return PydanticCustomError(MISFIT, '{reason}', {'reason': reason})
