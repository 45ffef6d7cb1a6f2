"""Folders under a temporary name, until what is written into them is complete."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """A new folder beside ``target``, named after this machine and process; gone afterwards unless it was renamed.

    Those that killed processes of this machine left behind for the same target are removed first. Those of other
    machines are left alone: whether their processes live cannot be known here.
    """
    beginning = f'.{target.name}.{socket.gethostname()}.'
    left = re.compile(rf'{re.escape(beginning)}(?P<pid>\d+)\.partial')
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in target.parent.iterdir():
        match = left.fullmatch(path.name)
        if match is not None and not psutil.pid_exists(int(match['pid'])):
            shutil.rmtree(path, ignore_errors=True)
    folder = target.parent / f'{beginning}{os.getpid()}.partial'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
