"""LMDB environments, opened once a process and path.

py-lmdb 2 and later refuse to open an environment twice in a process, and a forked child inherits its parent's. So the
stores of a process share one environment a path, and a child closes what it inherited and opens its own.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import lmdb

from fsr_plugins.errors import DamagedError, UserError

_Identity = tuple[int, int, int]

_lock = threading.Lock()
_opened: dict[str, tuple[_Identity, lmdb.Environment]] = {}


def environment(folder: Path, remedy: str) -> lmdb.Environment:
    """The process's read-only environment of an LMDB folder; opened anew when the folder has been replaced.

    Args:
        remedy: what is to be done with a damaged one, for the message.

    Raises:
        DamagedError: it has no data file, or one that is no LMDB or shorter than its pages.
        UserError: it cannot be opened.
    """
    path = os.path.realpath(folder)
    data = os.path.join(path, 'data.mdb')
    with _lock:
        try:
            status = os.stat(data)
        except OSError as error:
            raise DamagedError(
                f"'{folder}' is no LMDB: it has no readable data.mdb ({error.strerror}); {remedy}."
            ) from error
        identity = (status.st_dev, status.st_ino, status.st_mtime_ns)
        known = _opened.get(path)
        if known is not None and known[0] == identity:
            return known[1]
        if known is not None:
            _opened.pop(path)[1].close()
        opened = _open(path, status.st_size, remedy)
        _opened[path] = (identity, opened)
        return opened


def _open(path: str, size: int, remedy: str) -> lmdb.Environment:
    try:
        opened = lmdb.open(path, readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.InvalidError as error:
        raise DamagedError(f"The LMDB '{path}' is damaged ({str(error).split(': ', 1)[-1]}); {remedy}.") from error
    except lmdb.Error as error:
        raise UserError(f"The LMDB '{path}' cannot be opened, it is damaged or open elsewhere: {error}") from error
    # Pages past the end of the file are mapped all the same, and touching one kills the process (SIGBUS).
    needed = (opened.info()['last_pgno'] + 1) * opened.stat()['psize']
    if size < needed:
        opened.close()
        raise DamagedError(f"The LMDB '{path}' is truncated: data.mdb has {size} of {needed} bytes; {remedy}.")
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
