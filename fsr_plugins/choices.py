"""What was found out by measuring on a machine, kept in ``$XDG_CACHE_HOME/fsr_plugins`` so that it is measured once."""

from __future__ import annotations

import hashlib
import json
import logging

from fsr_plugins.atomic import cache_folder, write_text
from fsr_plugins.errors import RunError, UserError

logger = logging.getLogger(__name__)


def key_of(*parts: object) -> str:
    """A key that stands for everything a choice depends on."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def recall(name: str, key: str) -> object:
    """The choice that is kept; None: there is none, or the file of that name cannot be read."""
    return _known(name).get(key)


def remember(name: str, key: str, choice: object) -> None:
    """Keeps a choice of plain values; logs if it cannot be written."""
    try:
        write_text(cache_folder() / f'{name}.json', json.dumps(_known(name) | {key: choice}))
    except (RunError, UserError) as error:
        logger.warning('It is measured anew next time: %s', error)


def _known(name: str) -> dict[str, object]:
    try:
        known = json.loads((cache_folder() / f'{name}.json').read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}
