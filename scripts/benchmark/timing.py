"""Two sides, run in turn, and what came of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

#: Does one run and says how much was done a second, or how many seconds it took.
Run = Callable[[], float]


@dataclass(frozen=True)
class Pair:
    """Medians of both sides' runs."""

    ours: float
    basicsr: float


@dataclass(frozen=True)
class Comparison:
    """One line of the table."""

    name: str
    unit: str
    ours: float
    basicsr: float
    how: str
    larger_is_better: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times as good ours is; larger is better, also for seconds."""
        return self.ours / self.basicsr if self.larger_is_better else self.basicsr / self.ours

    def figures(self) -> dict[str, Any]:
        """Both sides' medians and what belongs to them, for the JSON file."""
        return {'unit': self.unit, 'ours': self.ours, 'basicsr': self.basicsr, 'how': self.how, **self.details}


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        runs: of each side; their median counts.
        images: size of the data set.
        batches: timed batches of a loader's run; ``warm`` more are taken before.
        iterations: training iterations of a run, on a CPU and on a GPU.
        recipe_iterations: of a whole training by an option file of BasicSR's.
    """

    runs: int = 5
    images: int = 1000
    warm: int = 6
    batches: int = 60
    iterations: tuple[int, int] = (3, 100)
    recipe_iterations: int = 30


def alternate(ours: Run, basicsr: Run, runs: int) -> Pair:
    """Runs the sides in turn (ours, BasicSR, ours, …), so that both meet the same load of the machine."""
    figures: list[tuple[float, float]] = [(ours(), basicsr()) for _ in range(runs)]
    mine, theirs = zip(*figures, strict=True)
    return Pair(statistics.median(mine), statistics.median(theirs))


def synchronise(device: torch.device) -> None:
    """Waits for everything that has been started on a GPU."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
