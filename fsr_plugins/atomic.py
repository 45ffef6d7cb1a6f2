"""Files that are whole or not there."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fsr_plugins.errors import DiskError, UserError

#: Temporary files of this machine: a digest of the file's name, which may be as long as names can be, and the process.
_HOST = re.sub(r'[^\w-]', '_', socket.gethostname())[:40]
_TEMPORARY = re.compile(rf'\.[0-9a-f]{{16}}\.{re.escape(_HOST)}\.(?P<pid>\d+)\.part')
#: Folders in which this process has looked for temporary files of dead ones.
_swept: set[str] = set()
#: Bytes of a file's name, at most, on all usual file systems.
NAME_BYTES = 255
#: By these the system says that a disk is full or fails, and by the last that it has become read-only.
_FULL = frozenset({errno.ENOSPC, errno.EFBIG, errno.EIO, *([errno.EDQUOT] if hasattr(errno, 'EDQUOT') else [])})
_DISK = _FULL | {errno.EROFS}


def disk_error(where: object, reason: object) -> DiskError:
    """What a full disk means for a command that can be given again."""
    return DiskError(f'Cannot write {where}: {reason}. Make room, then give the same command again.')


def is_disk_error(error: OSError) -> bool:
    """Whether the disk is full, fails or has become read-only."""
    return error.errno in _DISK


def cannot_be_made(path: Path, error: OSError, advice: str) -> UserError | DiskError:
    """Why nothing can be begun at ``path``: the disk is full, or the place is wrong and ``advice`` says what to do."""
    if error.errno in _FULL:
        return disk_error(path, error.strerror)
    return UserError(f"'{path}' cannot be written ({error.strerror}): {advice}.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says in a sentence that the disk does not take what is written inside, which belongs to ``path``.

    Raises:
        DiskError: it is full or fails.
    """
    try:
        yield
    except OSError as error:
        if not is_disk_error(error):
            raise
        raise disk_error(path, error.strerror) from error


def cache_folder() -> Path:
    """Where is kept what was found out and can be found out again: ``$XDG_CACHE_HOME/fsr_plugins``, or ``~/.cache``."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'fsr_plugins'


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file under a temporary name, flushes it to the disk and renames it.

    A reader sees the old file or the whole new one, whatever happens in between. Remains of killed processes of this
    machine are removed from the folder first. Processes of other machines may still run: their files stay.

    Raises:
        DiskError: the disk is full or not writable; the temporary file is removed and the old file untouched.
        UserError: where its folder should be there is something else.
    """
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    temporary = path.with_name(f'.{digest}.{_HOST}.{os.getpid()}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        try:
            with open(temporary, 'wb') as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            # Where nothing can be written nothing can be removed either, and the first error is the one to be told.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except (FileExistsError, NotADirectoryError) as error:
        other = next((folder for folder in path.parents if os.path.lexists(folder) and not folder.is_dir()), path)
        raise UserError(
            f"Cannot write {path}: '{other}' is no folder. Move it away, or choose another name."
        ) from error
    except (OSError, RuntimeError) as error:  # torch turns a failing write into a RuntimeError
        raise DiskError(
            f'Cannot write {path}: {error}. What was written before is untouched; make room, then start again to go on.'
        ) from error


def write_text(path: Path, text: str) -> None:
    """:func:`write_atomically` for text."""
    write_atomically(path, lambda file: file.write(text.encode()))


def check_writable(path: Path, what: str) -> None:
    """Finds out before the work whether a file or a folder can be made at ``path``; nothing is left there.

    Args:
        what: the argument that names it, for the message.

    Raises:
        UserError: it cannot.
        DiskError: the disk is full.
    """
    long = [part for part in path.parts if len(os.fsencode(part)) > NAME_BYTES]
    if long:
        raise UserError(f"{what} {path}: '{long[0]}' is too long a name; shorten it.")
    folder = path
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        problem = cannot_be_made(folder, error, 'choose another place')
        raise type(problem)(f'{what} {path}: {problem}') from error


def check_replaceable(path: Path, what: str, kind: str, is_kind: Callable[[Path], bool]) -> None:
    """Finds out before the work whether a file can be written at ``path``, in the place of one of its kind at most.

    Args:
        what: the argument that names it, for the message.
        kind: what it will hold, for the message.
        is_kind: whether a file that is there holds such.

    Raises:
        UserError: it cannot, it is a folder, or a file that holds something else.
        DiskError: the disk is full.
    """
    if not os.path.lexists(path):
        check_writable(path, what)
    elif path.is_dir():
        raise UserError(f'{what} {path}: that is a folder; a file is needed.')
    elif path.is_file() and path.stat().st_size and not is_kind(path):
        raise UserError(f'{what} {path}: this file is there and holds no {kind}; choose another name, or remove it.')
    elif not os.access(path, os.W_OK):
        raise UserError(f'{what} {path}: cannot be written.')


def _sweep(folder: Path) -> None:
    """Removes temporary files of dead processes, once for each folder."""
    if (place := os.path.abspath(folder)) in _swept:
        return
    _swept.add(place)
    with os.scandir(folder) as entries:
        left = [(entry.path, match['pid']) for entry in entries if (match := _TEMPORARY.fullmatch(entry.name))]
    if left:
        import psutil  # here, for every command imports this file
    for path, pid in left:
        if not psutil.pid_exists(int(pid)):
            with suppress(OSError):
                os.unlink(path)
