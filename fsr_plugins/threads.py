"""How many cores and how much memory there are, and keeping torch's threads out of the way of the decoders'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

#: Threads that decode, at most: there are no cores for more.
MOST_DECODERS = 256
#: Threads that compute, at most: torch ends the process where the system gives it no more.
MOST_THREADS = 1024


def available_cores() -> int:
    """How many cores this process may use."""
    process = psutil.Process()
    # Not every system lets a process be bound to cores.
    return len(process.cpu_affinity()) if hasattr(process, 'cpu_affinity') else psutil.cpu_count() or 1


#: Where Linux says how much memory a container has, and what it is used for; files that are cached there give way.
_CONTAINER = Path('/sys/fs/cgroup')


def available_memory() -> int:
    """The bytes of memory that this machine, or the container that the process is in, can give."""
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError, KeyError):  # 'max' where there is no limit; other systems have no such files
        used = dict(line.split() for line in (_CONTAINER / 'memory.stat').read_text().splitlines())
        free = min(free, int((_CONTAINER / 'memory.max').read_text()) - int(used['anon']) - int(used['shmem']))
    return max(0, free)


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Inside, torch computes on the CPU with the calling thread alone, where ``device`` is the CPU.

    For short operations between long ones. After a parallel operation torch's threads wait for the next by spinning,
    and so take the cores from the threads that decode images or filter them: more than parallelism gains here.
    """
    if device.type != 'cpu':
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
