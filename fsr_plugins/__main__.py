"""``python -m fsr_plugins …`` is ``fsr …``."""

from __future__ import annotations

import sys

from fsr_plugins.cli import main

if __name__ == '__main__':
    sys.exit(main())
