"""What tests of clips share."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_restore import POINTS, write_checkpoint
from tiny_clips import RedSquares

from fsr_plugins.restore import restorers
from fsr_plugins.restore.video import restoring


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ``net.pth``; the detector sees red squares, and stretches have eight frames."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restorers, 'open_detector', lambda *_: RedSquares())
    monkeypatch.setattr(restoring, 'STRETCH', 8)
    write_checkpoint(tmp_path / 'net.pth', [{'size': [32, 32], 'points': POINTS.tolist()}])
    return tmp_path
