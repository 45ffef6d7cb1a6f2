"""How a script takes its numbers, and how it ends: with a result, or with one line that says what is wrong."""

from __future__ import annotations

import functools
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

from fsr_plugins.errors import RunError, UserError

Parameters = ParamSpec('Parameters')


def positive(text: str) -> int:
    """A whole number of 1 or more: of runs, images, pixels.

    Raises:
        ArgumentTypeError: the text is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"'{text}' is not a whole number of 1 or more")
    return int(text)


def says_what_is_wrong(main: Callable[Parameters, int | None]) -> Callable[Parameters, int]:
    """A script's ``main`` as the exit status: 2 and a line for wrong input, 1 and a line for what failed, else its own.

    Files that cannot be read or written are wrong input. Any other exception is a defect, and shows where it arose.
    """

    @functools.wraps(main)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> int:
        try:
            return main(*args, **kwargs) or 0
        except (UserError, RunError) as problem:
            message, status = str(problem), 2 if isinstance(problem, UserError) else 1
        except OSError as problem:
            if problem.filename is None:
                raise
            message, status = f"'{problem.filename}': {problem.strerror}.", 2
        print(f'{Path(sys.argv[0]).stem}: error: {message}', file=sys.stderr)
        return status

    return call
