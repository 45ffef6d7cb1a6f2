"""The one thread in which pictures are restored."""

from __future__ import annotations

import asyncio
import ctypes
import queue
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

T = TypeVar('T')
#: Seconds that a step of the work may take before the thread is left behind at the end.
_PATIENCE = 30.0


class _Ended(BaseException):
    """The work is given up."""


class Worker:
    """Does one job after the other; leaving its context gives up the job that it is at.

    A thread that is left behind at the end of a process brings it down within the code of torch.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name='restoring', daemon=True)

    def __enter__(self) -> Worker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._jobs.put(None)  # an idle thread waits for a job
        # It is raised between two steps of the thread's Python, which no step of a restoration keeps waiting for long.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(_Ended))
        self._thread.join(_PATIENCE)

    def _work(self) -> None:
        try:
            while (todo := self._jobs.get()) is not None:
                todo()
                del todo
        except _Ended:
            pass

    def do(self, job: Callable[[], T]) -> Awaitable[T]:
        """The result of a job; to be called where an event loop runs.

        Raises:
            Exception: what the job raises, when the result is waited for.
        """
        future: Future[T] = Future()
        self._jobs.put(partial(_do, future, job))
        return asyncio.wrap_future(future)


def _do(future: Future[T], job: Callable[[], T]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(job())
        except Exception as error:  # it is raised where the result is waited for
            future.set_exception(error)
