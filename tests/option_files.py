"""The project's option files, as the engine reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fsr_plugins import config

OPTIONS = Path(__file__).parents[1] / 'options'


def stages(file: str, *overrides: str) -> dict[str, dict[str, Any]]:
    """The complete options of every stage of ``options/<file>``, by stage."""
    return {name: stage.opt for name, stage in config.load(OPTIONS / file, overrides).stages.items()}
