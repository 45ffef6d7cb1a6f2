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

from fsr_plugins.atomic import cannot_be_made, writing


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """A new folder beside ``target``, named after this machine and process; gone afterwards unless it was renamed.

    Those that killed processes of this machine left beside it, for whatever target, are removed first. Those of other
    machines are left alone: whether their processes live cannot be known here.

    Raises:
        UserError: there can be no folder.
        DiskError: the disk does not take it, or what is written inside.
    """
    host = socket.gethostname()
    left = re.compile(rf'\..+\.{re.escape(host)}\.(?P<pid>\d+)\.partial', re.DOTALL)
    folder = target.parent / f'.{target.name}.{host}.{os.getpid()}.partial'
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in target.parent.iterdir():
            match = left.fullmatch(path.name)
            if match is not None and not psutil.pid_exists(int(match['pid'])):
                shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    except OSError as error:
        raise cannot_be_made(target, error, 'choose another place') from error
    try:
        with writing(target):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
