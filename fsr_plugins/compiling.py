"""Marks for ``torch.compile`` that do not import the compiler, which takes a second, where nothing is compiled."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

Function = TypeVar('Function', bound=Callable[..., object])
Parameters = ParamSpec('Parameters')
Result = TypeVar('Result')


def constant_when_compiled(function: Function) -> Function:
    """``torch.compiler.assume_constant_result``: what it returns enters the graph instead of being computed in it."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def never_compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """``torch.compiler.disable``, as soon as the compiler is there: a graph breaks before the function.

    Where nothing imports the compiler, nothing is compiled, and the function is called as it is.
    """
    disabled: list[Callable[Parameters, Result]] = []

    @functools.wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if not disabled and 'torch._dynamo' not in sys.modules:
            return function(*args, **kwargs)
        if not disabled:
            disabled.append(torch.compiler.disable(function))
        return disabled[0](*args, **kwargs)

    return call
