"""A mark for ``torch.compile`` that does not import the compiler, which takes a second, where nothing is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar('Function', bound=Callable[..., object])


def constant_when_compiled(function: Function) -> Function:
    """``torch.compiler.assume_constant_result``: what it returns enters the graph instead of being computed in it."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
