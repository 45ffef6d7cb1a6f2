"""Checkpoints that are broken on purpose, and how they are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fsr_plugins
from fsr_plugins.errors import UserError


def changed(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Writes a file again with another content."""
    content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, file)


def refused(file: Path, *parts: str) -> None:
    """``fsr_plugins.load`` refuses the file with one line."""
    with pytest.raises(UserError) as caught:
        fsr_plugins.load(file)
    message = str(caught.value)
    assert '\n' not in message and len(message) < 700
    assert [part for part in (str(file), *parts) if part not in message] == [], message
