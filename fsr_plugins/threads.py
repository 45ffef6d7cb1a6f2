"""How many cores there are for threads, and keeping torch's threads out of the way of the decoders'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

#: Threads that decode, at most: there are no cores for more.
MOST_DECODERS = 256


def available_cores() -> int:
    """How many cores this process may use."""
    process = psutil.Process()
    # Not every system lets a process be bound to cores.
    return len(process.cpu_affinity()) if hasattr(process, 'cpu_affinity') else psutil.cpu_count() or 1


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
