"""A small draw of the campaign of killed runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parent / 'campaigns' / 'kills.py'


@pytest.mark.long
def test_killed_runs_end_like_uninterrupted_ones() -> None:
    # A process of its own: the runs are forked from it, which one that has computed already should not be.
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), '--seed', '3', '--number', '8', '--show'],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith('8  cases, 0 against the rules')
