"""``python fsr_plugins/inference.py …`` is ``fsr infer …``."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Runs the command with this process's arguments."""
    # Python puts this script's folder first, where this package's modules would pass for others' top-level ones.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    from fsr_plugins.cli import main as fsr

    return fsr(['infer', *sys.argv[1:]])


if __name__ == '__main__':
    sys.exit(main())
