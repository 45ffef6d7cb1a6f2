"""Suites in a folder of their own: one to be run, and one that has been."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_suite import fill

from fsr_plugins.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the suite and its data; nothing is trained."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path)
    return tmp_path


@pytest.fixture(scope='session')
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A working directory after ``fsr bench``, not to be changed, and what the command found."""
    folder = tmp_path_factory.mktemp('bench')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fill(folder)
        assert main(['bench', '-opt', 'suite.yml', '--json', 'found.json']) == 0
    return folder, json.loads((folder / 'found.json').read_text())
