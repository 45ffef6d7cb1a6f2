"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fsr_plugins.errors import RunError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file under a temporary name, flushes it to the disk and renames it.

    Whoever reads sees the old file or the whole new one, whatever happens in between.

    Raises:
        RunError: the disk is full or not writable; the temporary file is removed and the old file untouched.
    """
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, 'wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch turns a failing write into a RuntimeError
        temporary.unlink(missing_ok=True)
        raise RunError(
            f'Cannot write {path}: {error}. What was written before is untouched; make room, then start again to go on.'
        ) from error


def write_text(path: Path, text: str) -> None:
    """:func:`write_atomically` for text."""
    write_atomically(path, lambda file: file.write(text.encode()))
