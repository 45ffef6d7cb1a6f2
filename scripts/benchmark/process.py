"""A process for each side, so that what one sets for its whole process does not serve or hinder the other."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import torch


def _serve(pipe: Connection, threads: int, factory: Callable[..., Any], arguments: Sequence[Any]) -> None:
    torch.set_num_threads(threads)
    try:
        served = factory(*arguments)
        answer = None
        while True:
            pipe.send((True, answer))
            answer = getattr(served, pipe.recv())()
    except EOFError:
        pipe.close()  # the other end is closed: nothing more is wanted
    except Exception:
        # Whatever went wrong belongs to the process that asked.
        pipe.send((False, traceback.format_exc()))


class Side:
    """The object that ``factory(*arguments)`` makes in a process of its own, with as many torch threads as this one.

    Raises:
        RuntimeError: the factory or a method failed; the message holds the traceback.
    """

    def __init__(self, factory: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context('spawn')
        self._pipe, far = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(far, torch.get_num_threads(), factory, arguments), daemon=True
        )
        self._process.start()
        far.close()
        self._answer()

    def call(self, method: str) -> Any:
        """What the object's method returns; it takes no arguments."""
        self._pipe.send(method)
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
        self._process.join()
