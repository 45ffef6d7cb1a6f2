"""Progress of a long piece of work: a bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

logger = logging.getLogger(__name__)

T = TypeVar('T')

_LINES = 4


def progress(things: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Hands ``things`` on and shows how many of ``total`` have passed; the bar goes to standard error."""
    if sys.stderr.isatty():
        yield from track(things, description=what, total=total, console=Console(stderr=True))
        return
    step = -(-total // _LINES)
    for done, thing in enumerate(things, 1):
        yield thing
        if done % step == 0 or done == total:
            logger.info('%s: %d of %d', what, done, total)
