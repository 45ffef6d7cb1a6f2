"""What people write for a path, on a command line and in an option file."""

from __future__ import annotations

import os
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


def home_path(text: str | Path) -> Path:
    """A path, from the home folder on where it begins with ``~``.

    That of nobody stays as it is, and so is not there; pathlib's own raises.
    """
    return Path(os.path.expanduser(text))
