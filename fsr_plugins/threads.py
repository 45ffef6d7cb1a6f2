"""Keeping torch's threads out of the way of the decoders'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Inside, torch computes on the CPU with the calling thread alone, where ``device`` is the CPU.

    For short operations between long ones. After a parallel operation torch's threads wait for the next by spinning,
    and so take the cores from the threads that decode images or filter them: more than parallelism gains here.
    """
    if device.type != 'cpu':
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
