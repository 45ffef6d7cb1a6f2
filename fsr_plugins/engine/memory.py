"""How much of the memory that was freed is kept for what comes next."""

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
    _tell_glibc(1 << 30, (1 << 31) - 1)


def give_back_freed_memory() -> None:
    """Undoes :func:`keep_freed_memory`, to what glibc itself comes to when it frees large blocks."""
    _tell_glibc(1 << 25, 1 << 26)


def _tell_glibc(block: int, spare: int) -> None:
    """Larger blocks than ``block`` are mapped by themselves; ``spare`` freed bytes at the heap's end are kept."""
    if platform.libc_ver()[0] == 'glibc':
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, block)
        libc.mallopt(_M_TRIM_THRESHOLD, spare)
