"""LMDB environments, opened once a process and path.

py-lmdb 2 and later refuse to open an environment twice in a process, and a forked child inherits its parent's. So the
stores of a process share one environment a path, and a child closes what it inherited and opens its own.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import lmdb

from fsr_plugins.errors import UserError

_Identity = tuple[int, int, int]

_lock = threading.Lock()
_opened: dict[str, tuple[_Identity, lmdb.Environment]] = {}


def environment(folder: Path) -> lmdb.Environment:
    """The process's read-only environment of an LMDB folder; opened anew when the folder has been replaced.

    Raises:
        UserError: it is no LMDB, or its data file is shorter than its pages.
    """
    path = os.path.realpath(folder)
    data = os.path.join(path, 'data.mdb')
    with _lock:
        try:
            status = os.stat(data)
        except OSError as error:
            raise UserError(f"'{folder}' is no LMDB: it has no readable data.mdb ({error.strerror}).") from error
        identity = (status.st_dev, status.st_ino, status.st_mtime_ns)
        known = _opened.get(path)
        if known is not None and known[0] == identity:
            return known[1]
        if known is not None:
            _opened.pop(path)[1].close()
        opened = _open(path, status.st_size)
        _opened[path] = (identity, opened)
        return opened


def _open(path: str, size: int) -> lmdb.Environment:
    try:
        opened = lmdb.open(path, readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.Error as error:
        raise UserError(f"The LMDB '{path}' cannot be opened, it is damaged or open elsewhere: {error}") from error
    # Pages past the end of the file are mapped all the same, and touching one kills the process (SIGBUS).
    needed = (opened.info()['last_pgno'] + 1) * opened.stat()['psize']
    if size < needed:
        opened.close()
        raise UserError(
            f"The LMDB '{path}' is truncated: data.mdb has {size} of {needed} bytes; prepare or copy it again."
        )
    return opened


def release(folder: Path) -> None:
    """Closes this process's environment of the folder, if it is open; the next use opens it again."""
    with _lock:
        known = _opened.pop(os.path.realpath(folder), None)
        if known is not None:
            known[1].close()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # the parent's may have been held by a thread that does not exist here
    for _, inherited in _opened.values():
        inherited.close()
    _opened.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_after_fork)
