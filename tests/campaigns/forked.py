"""Cases in processes of their own: how they ended, how much memory they took, and what they changed on disk."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from common import LIMIT, Broken, check

#: How much memory a case may take beyond what the campaign itself holds, in MiB.
MEMORY = 1500
#: The status of a function that raised.
_RAISED = 99


class Ended(NamedTuple):
    """How a process ended: its status (negative: by which signal, None: it took too long), and its memory in MiB."""

    status: int | None
    memory: int


def fork(function: Callable[[], int], log: int) -> int:
    """Begins a function, whose result is the status, in a copy of this process; the number of that process.

    Args:
        log: the open file that its output goes to.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = _RAISED
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, 'w', encoding='utf-8', closefd=False) for number in (1, 2))
        status = function()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(children: Sequence[int], seconds: float = LIMIT) -> list[Ended]:
    """How processes ended; those that take too long are killed."""
    ended: dict[int, Ended] = {}
    deadline = time.monotonic() + seconds
    try:
        while len(ended) < len(children) and time.monotonic() < deadline:
            for child in children:
                if child not in ended:
                    done, status, usage = os.wait4(child, os.WNOHANG)
                    if done:
                        ended[child] = Ended(os.waitstatus_to_exitcode(status), usage.ru_maxrss // 1024)
            time.sleep(0 if len(ended) == len(children) else 0.005)
    finally:
        for child in children:
            if child not in ended:
                os.kill(child, signal.SIGKILL)
                ended[child] = Ended(None, os.wait4(child, 0)[2].ru_maxrss // 1024)
    return [ended[child] for child in children]


def _nothing() -> int:
    return 0


def judged(
    function: Callable[[], int], folder: Path, may_write: tuple[str, ...], looks: bool = True
) -> tuple[int, str]:
    """Runs a function in a process of its own; its status, and what it printed.

    Args:
        folder: in which it may write.
        may_write: how names begin, in that folder, that it may write.
        looks: whether files are compared before and after; they are read for that.
    Raises:
        Broken: it ended in another way than a command may, without a word, took too much memory, wrote what it may not,
            or left temporary files.
    """
    before = content(folder) if looks else {}
    with tempfile.TemporaryFile() as caught:
        # What a fork holds before it has done anything: it is handed not all that the campaign holds. Before and after,
        # for meanwhile the campaign may have given memory back.
        (before_it,) = wait([fork(_nothing, caught.fileno())])
        (ended,) = wait([fork(function, caught.fileno())])
        (after_it,) = wait([fork(_nothing, caught.fileno())])
        idle = min(before_it.memory, after_it.memory)
        caught.seek(0)
        text = caught.read().decode('utf-8', 'replace')
    check(ended.status, text)
    if ended.status is None or ended.status and 'error: ' not in text:
        raise Broken(f'status {ended.status} without a word', text)
    if ended.memory > idle + MEMORY:
        raise Broken(f'{ended.memory} MiB', text)
    after = content(folder) if looks else {}
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    if outside := [name for name in changed if not name.split(os.sep)[0].startswith(may_write)]:
        raise Broken(f'written where it may not: {outside}', text)
    if left := [name for name in changed if name.endswith(('.part', '.partial'))]:
        raise Broken(f'temporary files: {left}', text)
    return ended.status, text


def content(folder: Path) -> dict[str, bytes | str]:
    """All files below a folder and what is in them; folders and links by what they are."""
    found: dict[str, bytes | str] = {}
    for place, below, names in os.walk(folder):
        for name in [*below, *names]:
            path = os.path.join(place, name)
            inside = os.path.relpath(path, folder)
            if os.path.islink(path):
                found[inside] = f'link to {os.readlink(path)}'
            elif os.path.isfile(path):
                found[inside] = Path(path).read_bytes()
            else:
                found[inside] = 'folder' if os.path.isdir(path) else 'special'
    return found
