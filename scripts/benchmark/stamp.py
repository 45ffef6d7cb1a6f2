"""How a training process says that its first iteration is done."""

from __future__ import annotations

import os
import time
from pathlib import Path

VARIABLE = 'FSR_BENCHMARK_STAMP'


def stamp() -> None:
    """Writes the system's monotonic clock, in seconds, into the file that the environment names."""
    Path(os.environ[VARIABLE]).write_text(str(time.monotonic()))
