"""How many threads a training on a CPU computes with beside other busy programs on the same cores."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import psutil
import torch
from typing_extensions import Self

logger = logging.getLogger(__name__)

#: Seconds over which the cores are watched before the number is chosen anew.
_WATCHED = 2.0


class Taken(NamedTuple):
    """What had been taken at a time."""

    clock: float  #: seconds
    others: float  #: seconds, of all of this process's cores, in which they were busy with something else


def taken() -> Taken:
    """What others have taken of the cores that this process may run on, until now."""
    everywhere = psutil.cpu_times(percpu=True)
    cores = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else range(len(everywhere))
    if max(cores) >= len(everywhere):  # a container that shows its own cores alone, and counts them anew
        cores = range(len(everywhere))
    idle = sum(everywhere[core].idle + getattr(everywhere[core], 'iowait', 0.0) for core in cores)
    clock = time.perf_counter()
    return Taken(clock, len(cores) * clock - idle - time.process_time())


class FairThreads:
    """Torch's threads for a training whose cores others use too: as many as cores that are left over, at least one.

    A parallel operation is done when its slowest thread is: one of two threads that has to share its core keeps the
    other waiting in each of a thousand operations a step. Fewer threads on cores of their own are several times as
    fast. Sums are rounded otherwise by another number of threads.

    Args:
        wanted: a number, which is kept; ``auto``: by what others take; None: torch's own.
        look: what has been taken until now.
    """

    def __init__(self, wanted: int | Literal['auto'] | None, look: Callable[[], Taken] = taken) -> None:
        self.own = torch.get_num_threads()
        if isinstance(wanted, int):
            torch.set_num_threads(wanted)
        self.watches = wanted == 'auto' and torch.get_num_threads() > 1
        self.most = torch.get_num_threads()
        self.look = look
        self.before = look() if self.watches else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Puts back the number that was there: the next stage chooses for itself."""
        torch.set_num_threads(self.own)

    def step(self) -> None:
        """Called in each iteration; chooses anew after some seconds."""
        if self.before is None or time.perf_counter() - self.before.clock < _WATCHED:
            return
        now = self.look()
        others = (now.others - self.before.others) / (now.clock - self.before.clock)
        self.before = now
        threads = max(1, min(self.most, self.most - round(others)))
        if threads != torch.get_num_threads():
            logger.info('Others take %.1f cores: %d of %d threads compute.', max(0.0, others), threads, self.most)
            torch.set_num_threads(threads)
