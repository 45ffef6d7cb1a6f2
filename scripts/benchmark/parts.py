"""Where the time of a training step goes, and what the device itself can do."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils.flop_counter import FlopCounterMode

from fsr_plugins.edges import canny
from fsr_plugins.metrics.psnr_ssim import PSNR, SSIM

from .stage import StageRun
from .timing import synchronise

#: Side of the matrices, and bytes that are copied, on a GPU and on a CPU.
MATRIX, COPIED = {'cuda': 8192, 'cpu': 512}, {'cuda': 1 << 30, 'cpu': 1 << 24}
PARTS = ('forward', 'backward', 'optimiser', 'lr', 'edges', 'metrics', 'data')


class Timer:
    """Milliseconds of parts of a step, by CUDA events on a GPU and by the clock on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks: list[tuple[str, Any, Any]] = []

    def now(self) -> Any:
        """A moment; on a GPU that of the work before it."""
        if self.device.type != 'cuda':
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What is done inside belongs to ``name``."""
        before = self.now()
        yield
        self.marks.append((name, before, self.now()))

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """``work``, whose time belongs to ``name``."""

        def inside(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return work(*arguments, **named)

        return inside

    def totals(self) -> dict[str, float]:
        """Milliseconds by part since the last call."""
        synchronise(self.device)
        found: dict[str, float] = defaultdict(float)
        for name, one, other in self.marks:
            found[name] += one.elapsed_time(other) if self.device.type == 'cuda' else (other - one) * 1e3
        self.marks.clear()
        return dict(found)


class MeasuredStage(StageRun):
    """A stage whose step is taken apart."""

    def flops(self) -> int:
        """Floating-point operations of one step as torch counts them: of matrix products and convolutions."""
        batch = next(iter(self.loader))
        with FlopCounterMode(display=False) as counter:
            self._step(batch)
        return int(counter.get_total_flops())

    def parts(self, runs: int, edges: bool) -> dict[str, float]:
        """Median milliseconds of each part of a step; ``lr`` is all that is done with a batch before the step.

        Args:
            edges: whether the stage uses Canny's edges, which are part of ``forward`` or ``lr`` and told apart here.
        """
        batch, timer, model = next(iter(self.loader)), Timer(self.device), self.model
        psnr, ssim = PSNR(), SSIM()
        rows: list[dict[str, float]] = []
        precision = model.precision
        with (
            mock.patch.object(precision, 'backward', timer.timed('backward', precision.backward)),
            mock.patch.object(precision, 'step', timer.timed('optimiser', precision.step)),
        ):
            for _ in range(runs + 1):
                self.iteration += 1
                model.update_learning_rate(self.iteration)
                with timer.part('lr'):
                    model.feed_data(batch)
                with timer.part('step'):
                    model.optimize_parameters(self.iteration)
                gt = model.gt.float()
                if edges:
                    with timer.part('edges'):
                        canny(gt)
                with timer.part('metrics'):
                    psnr.update(gt, gt.flip(3), {})
                    ssim.update(gt, gt.flip(3), {})
                found = timer.totals()
                found['forward'] = found.pop('step') - found.get('backward', 0) - found.get('optimiser', 0)
                rows.append(found)
        names = [name for name in PARTS if name in rows[-1]]
        return {f'{name}_ms': statistics.median(row[name] for row in rows[1:]) for name in names}


class Card:
    """What the device itself can do."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def _seconds(self, work: Callable[[], object], runs: int = 10) -> float:
        found = []
        for _ in range(runs + 2):
            synchronise(self.device)
            started = time.perf_counter()
            work()
            synchronise(self.device)
            found.append(time.perf_counter() - started)
        return statistics.median(found[2:])

    def rates(self) -> dict[str, float]:
        """bf16 operations a second of a large matrix product, bytes a second of a copy (read and written), memory."""
        side = MATRIX[self.device.type]
        one = torch.randn(side, side, device=self.device, dtype=torch.bfloat16)
        data = torch.empty(COPIED[self.device.type], dtype=torch.uint8, device=self.device)
        other = torch.empty_like(data)
        found = {
            'matrix_flops': 2 * side**3 / self._seconds(lambda: one @ one),
            'copy_bytes': 2 * data.numel() / self._seconds(lambda: other.copy_(data)),
        }
        if self.device.type == 'cuda':
            found['memory_gib'] = torch.cuda.get_device_properties(self.device).total_memory / 2**30
        return found
