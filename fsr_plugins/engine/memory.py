"""Memory that a training step frees is kept for the next step."""

from __future__ import annotations

import ctypes
import platform

#: glibc's parameters of ``mallopt``: from what size on an allocation is mapped by itself, and how much freed memory at
#: the end of the heap is given back.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1


def keep_freed_memory() -> None:
    """Tells glibc not to give large freed blocks back to the kernel; elsewhere it does nothing.

    By default every large tensor on a CPU is mapped anew, and its pages are cleared and faulted in again at each step:
    tens of thousands of page faults an iteration.
    """
    if platform.libc_ver()[0] == 'glibc':
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
