"""Records as JSON: it has no NaN and no Inf."""

from __future__ import annotations

import json
import math
from typing import Any


def plain(value: Any) -> Any:
    """The value with None for every number that is NaN or Inf, however deep in dicts and lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: object, indent: int | None = None) -> str:
    """A value as JSON with a line's end; what is NaN or Inf is ``null``."""
    return json.dumps(plain(value), indent=indent, allow_nan=False) + '\n'


def figures(value: Any) -> Any:
    """Figures read from JSON, with NaN for ``null``, so that they can be reckoned with."""
    if isinstance(value, dict):
        return {key: figures(item) for key, item in value.items()}
    return math.nan if value is None else value
