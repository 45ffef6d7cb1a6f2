"""One process at a time writes into an experiment: the system's lock, and a note of who holds it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from fsr_plugins.atomic import is_disk_error
from fsr_plugins.errors import DiskError, UserError

#: In the experiment's folder while somebody writes there. A process that was killed leaves them; they hold nothing.
LOCK, NOTE = '.running.lock', '.running.json'


def check_writable(folder: Path) -> Path:
    """The folder, or the nearest around it that exists.

    Raises:
        UserError: it may not be written to.
    """
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        state = 'may not be written to' if there.is_dir() else 'is no folder'
        raise UserError(
            f"The results cannot be written to {folder}: '{there}' {state}. Change its permissions, or start from a "
            'folder where you may write.'
        )
    return there


@contextmanager
def only_writer(folder: Path, otherwise: str = "choose another 'name'") -> Iterator[None]:
    """Holds the right to write into a folder, an experiment's for one; readers need none.

    The system gives it back when the process ends, however it ends. What was made for it alone is removed afterwards.

    Args:
        otherwise: what can be done but waiting, for messages.

    Raises:
        UserError: another process holds it, which is named, or the folder cannot be written to.
        DiskError: the disk is full.
    """
    check_writable(folder)
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        holder = 'another process'
        with suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads((folder / NOTE).read_bytes())
            holder = f'process {note["process"]} on {note["host"]}, since {note["since"]},'
        raise UserError(
            f"'{folder}' is in use: {holder} writes there. Wait for its end, stop it, or {otherwise}."
        ) from None
    except OSError as error:
        raise (DiskError if is_disk_error(error) else UserError)(
            f'The results cannot be written to {folder}: {error.strerror}. Make room, or start from another folder.'
        ) from error
    try:
        note = {'host': socket.gethostname(), 'process': os.getpid(), 'since': time.strftime('%Y-%m-%d %H:%M:%S')}
        try:
            (folder / NOTE).write_text(json.dumps(note) + '\n', encoding='utf-8')
        except OSError:  # not missed: only a message is poorer for it
            (folder / NOTE).unlink(missing_ok=True)
        yield
    finally:
        # A process that has opened the file meanwhile checks, once it has the lock, that the file is still there.
        for name in (NOTE, LOCK):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # one that is not empty stays
            for parent in made:
                parent.rmdir()
        lock.release()
