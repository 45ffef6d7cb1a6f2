"""Runs a module as ``python -m`` does, and writes the most memory that it held, in bytes, into a file.

Usage: python -m benchmark.measured FILE MODULE ARGUMENTS…

What the system says of a process that has ended counts what its parent held before, too: a small command that a large
program starts seems as large as that.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from .memory import peak_bytes

if __name__ == '__main__':
    file = Path(sys.argv.pop(1))
    del sys.argv[0]
    try:
        runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
    finally:
        file.write_text(str(peak_bytes()), encoding='ascii')
