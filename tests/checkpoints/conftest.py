"""A network to be broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_adapter

from fsr_plugins.stores.images import encode_png


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``net.pth``, a network of this version in the working directory, beside ``lr.png`` and ``hr.png``."""
    monkeypatch.chdir(tmp_path)
    for name, side in (('lr', 8), ('hr', 16)):
        Path(f'{name}.png').write_bytes(encode_png(np.full((side, side, 3), 90, np.uint8)))
    return tiny_adapter.write_checkpoint(Path('net.pth'))
