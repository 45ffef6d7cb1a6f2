"""A side of a benchmark without a process of its own."""

from __future__ import annotations

from typing import Any


class SameProcess:
    """Stands for a side's process without starting one."""

    def __init__(self, factory: Any, *arguments: Any, wait: bool = True) -> None:
        self.served = factory(*arguments)

    def wait(self) -> None:
        """It has been made already."""
        assert self.served is not None

    def call(self, method: str, *arguments: Any) -> Any:
        return getattr(self.served, method)(*arguments)

    def __enter__(self) -> SameProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.served = None
