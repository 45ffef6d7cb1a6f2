"""Figures of a hosted model's own validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, SupportsFloat
from unittest.mock import patch

from torch.nn.parallel import DistributedDataParallel

from fsr_plugins.models.evaluation import Results
from fsr_plugins.models.strategies import Evaluation
from fsr_plugins.values import Block

#: How BasicSR's models call what they log.
_PREFIX = 'metrics/'


class Figures:
    """Stands for a TensorBoard writer, and keeps the figures that a validation logs.

    Args:
        name: the set's.

    Attributes:
        found: figures by metric; of a clip alone there are none.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.found: dict[str, float] = {}

    def add_scalar(self, tag: str, value: SupportsFloat, *_: object, **__: object) -> None:
        """Takes ``metrics/<set>/<metric>``, ``metrics/<metric>`` or another name."""
        key = tag.removeprefix(_PREFIX).removeprefix(f'{self.name}/')
        if '/' not in key:
            self.found[key] = float(value)

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Whatever else such a writer can; nothing is done."""
        if not name.startswith('add_'):
            raise AttributeError(name)
        return lambda *_, **__: None


@contextmanager
def unaccompanied(modules: Iterable[object]) -> Iterator[None]:
    """Inside, one process may use a network by itself, or oftener than the others.

    Its wrapper for several processes hands round the buffers when it is called, and waits for all of them.
    BasicSR's models validate in the first process alone.
    """
    with ExitStack() as stack:
        for each in modules:
            if isinstance(each, DistributedDataParallel):
                stack.enter_context(patch.object(each, 'forward', each.module.__call__))
        yield


class OwnValidation(Evaluation[Any]):
    """The model's own; BasicSR's functions measure it."""

    def validate(self, model: Any, loader: Any, save_to: Path | None = None, suffix: str = '') -> Results:
        """See :meth:`Evaluation.validate`."""
        found: Results = model.validate(loader, save_to, suffix)
        return found

    def conventions(self, metrics: Mapping[str, Block]) -> dict[str, str]:
        """See :meth:`Evaluation.conventions`: the function and its arguments."""
        return {
            name: f"BasicSR's {block['type']}, "
            + ', '.join(f'{key} {value}' for key, value in block.items() if key not in ('type', 'better'))
            for name, block in metrics.items()
        }
