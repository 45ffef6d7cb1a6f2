"""A process for each side, so that what one sets for its whole process does not serve or hinder the other."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import torch


def _serve(pipe: Connection, threads: int, factory: Callable[..., Any], arguments: Sequence[Any]) -> None:
    # A spawned process would spawn its own; a loader's workers are to start as they do in a process begun by hand.
    multiprocessing.set_start_method(None, force=True)
    torch.set_num_threads(threads)
    warnings.filterwarnings('ignore', module='torch')
    try:
        served = factory(*arguments)
        answer = None
        while True:
            pipe.send((True, answer))
            method, given = pipe.recv()
            answer = getattr(served, method)(*given)
    except (EOFError, BrokenPipeError):
        pipe.close()  # the other end is closed: nothing more is wanted
    except Exception:
        # Whatever went wrong belongs to the process that asked.
        pipe.send((False, traceback.format_exc()))


class Side:
    """The object that ``factory(*arguments)`` makes in a process of its own, with as many torch threads as this one.

    Args:
        wait: until the object is made; without, several are made at once, and each waited for by :meth:`wait`.

    Raises:
        RuntimeError: the factory or a method failed; the message holds the traceback.
    """

    def __init__(self, factory: Callable[..., Any], *arguments: Any, wait: bool = True) -> None:
        context = multiprocessing.get_context('spawn')
        self._pipe, far = context.Pipe()
        # No daemon, for these may not have processes of their own, such as a loader's workers.
        self._process = context.Process(target=_serve, args=(far, torch.get_num_threads(), factory, arguments))
        self._process.start()
        far.close()
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until the object is made; once, before anything is called."""
        self._answer()

    def call(self, method: str, *arguments: Any) -> Any:
        """What the object's method returns."""
        self._pipe.send((method, arguments))
        return self._answer()

    def _answer(self) -> Any:
        good, answer = self._pipe.recv()
        if not good:
            raise RuntimeError(answer)
        return answer

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        if error is not None:
            self._process.terminate()  # it may be in the middle of a run that nobody waits for
        self._process.join()


@contextmanager
def unwinding_when_ended() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP leave every context on their way out, so that no file and no process stays behind."""

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
