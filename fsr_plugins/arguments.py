"""What arguments of a command line are read as."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path


def given_path(text: str) -> Path:
    """A path as it is given.

    Raises:
        ArgumentTypeError: the text is empty, which as a path would be the working directory.
    """
    if not text:
        raise ArgumentTypeError("the path is empty: name one ('.' is the working directory)")
    return Path(text)
