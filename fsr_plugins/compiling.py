"""Spares processes that compile nothing the import of ``torch.compile``'s compiler, which takes a second."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import torch
from torch.optim import Optimizer, optimizer

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


def optimise_without_compiler(kind: type[Optimizer]) -> None:
    """Optimisers of this class, of torch, import the compiler no longer; once something else does, nothing changes.

    torch marks some of their methods as never compiled, and ``step`` breaks a graph: either imports the compiler when
    it is called. What another torch does in another way stays as it is.
    """
    if 'torch._dynamo' in sys.modules:
        return
    for name, method in list(vars(Optimizer).items()):
        if _is_made_by(torch, '_disable_dynamo', method):
            setattr(Optimizer, name, never_compiled(method.__wrapped__))
    if _is_made_by(optimizer, '_use_grad_for_differentiable', kind.step):
        kind.step = _without_graph_breaks(kind.step)  # type: ignore[method-assign]


def _is_made_by(module: ModuleType, decorator: str, method: object) -> bool:
    """Whether a decorator of torch's own, which another torch may not have, made this method."""
    decorate = getattr(module, decorator, None)
    code = getattr(method, '__code__', None)
    return decorate is not None and code is not None and getattr(decorate(lambda: None), '__code__', None) is code


def _without_graph_breaks(step: Callable[..., Any]) -> Callable[..., Any]:
    inner: Callable[..., Any] = step.__wrapped__  # type: ignore[attr-defined]

    @functools.wraps(inner)
    def call(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if 'torch._dynamo' in sys.modules:
            return step(self, *args, **kwargs)
        with torch.set_grad_enabled(self.defaults['differentiable']):
            return inner(self, *args, **kwargs)

    return call
