"""The most memory that this process has held."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """The peak resident memory in bytes, with libraries, of what this process runs now.

    On Linux it is not that of ``getrusage``, which counts what the parent held before this program began, too.
    """
    status = Path('/proc/self/status')
    if status.is_file():
        for line in status.read_text(encoding='ascii').splitlines():
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) << 10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == 'darwin' else most << 10
