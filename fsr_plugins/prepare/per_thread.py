"""An engine for each thread: LiteRT's networks must not be shared, and others need not wait for each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar('T')


class PerThread(threading.local, Generic[T]):
    """Whatever ``open_one`` opens, opened anew by each thread that asks; in the thread that makes it, at once.

    Attributes:
        own: the calling thread's.
    """

    def __init__(self, open_one: Callable[[], T]) -> None:
        self.own = open_one()
