"""The page's own folder: every upload and every result lies there, none of them for long."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: Seconds after which a file is removed, and those that any file is kept where room is needed.
OLD, YOUNG = 3600.0, 300.0
#: Bytes of all files together.
QUOTA = 2 << 30


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            with suppress(OSError):  # it has just been moved or removed
                yield path, os.lstat(path)


def used(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(status.st_size for _, status in _files(folder))


def sweep(folder: Path, age: float = OLD) -> int:
    """Removes files that were written ``age`` seconds ago or earlier, and empty folders; how many files they were."""
    now, removed = time.time(), 0
    for path, status in list(_files(folder)):
        if now - status.st_mtime >= age:
            with suppress(OSError):
                os.unlink(path)
                removed += 1
    for place, _, _ in os.walk(folder, topdown=False):
        # A folder that is young may be about to be filled.
        with suppress(OSError):
            if place != str(folder) and now - os.lstat(place).st_mtime >= min(age, YOUNG):
                os.rmdir(place)
    return removed


def has_room(folder: Path, more: int) -> bool:
    """Whether so many bytes may be added; older files make room for them."""
    if used(folder) + more <= QUOTA:
        return True
    sweep(folder, YOUNG)
    return used(folder) + more <= QUOTA
