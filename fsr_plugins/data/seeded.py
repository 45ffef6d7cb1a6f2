"""Batches of other people's datasets, by processes: each sample's random numbers are those of (seed, epoch, index)."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from fsr_plugins.data.batches import Batch, Samples
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.data.seeding import mix


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, Python's, NumPy's and torch's generators begin at a seed in [0, 2^63); then they are what they were."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


class SeededSamples(Dataset[Batch]):
    """A dataset's samples by their numbers, epoch · n + index.

    Args:
        dataset: Draws from the common generators whatever is random in a sample.
        seed: The run's.
    """

    def __init__(self, dataset: Samples, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> Batch:
        epoch, index = divmod(number, len(self.dataset))
        with seeded(mix(self.seed, epoch, index)):
            return self.dataset[index]


def _collated(samples: list[object]) -> object:
    """A batch as a worker of torch's lays it out; in the own process its layout would be that of the samples."""
    batch = default_collate(samples)
    if not isinstance(batch, dict):
        return batch
    return {key: value.contiguous() if isinstance(value, torch.Tensor) else value for key, value in batch.items()}


class _Numbers(Sampler[list[int]]):
    """The numbers of each batch, without an end."""

    def __init__(self, order: TrainLoader) -> None:
        self.order = order

    def __iter__(self) -> Iterator[list[int]]:
        batch = self.order.start
        while True:
            yield self.order.numbers(batch)
            batch += 1


class SeededLoader(TrainLoader):
    """The order of :class:`TrainLoader`; torch's DataLoader makes the batches in ``threads`` processes, 0: in this one.

    So a sample does not depend on which process makes it, and a run can be taken up anywhere.
    """

    def __init__(self, dataset: Samples, batch_size: int, *, workers: int, pin_memory: bool, **order: int) -> None:
        super().__init__(dataset, batch_size, pin_memory=pin_memory, **order)
        self._workers = workers
        self._made: Iterator[Batch] | None = None

    def in_this_process(self) -> None:
        """Makes the batches without other processes: of one or two, starting them is what takes long."""
        self._workers = 0

    def __iter__(self) -> Iterator[Batch]:
        loader: DataLoader[Batch] = DataLoader(
            SeededSamples(self.dataset, self.seed),
            batch_sampler=_Numbers(self),
            num_workers=self._workers,
            collate_fn=_collated,
            pin_memory=self._pin_memory,
            worker_init_fn=_begin_worker,
            # Its seeds are not used; of the common generator it would take a number.
            generator=torch.Generator(),
        )
        self._made = iter(loader)
        return self._made

    def close(self) -> None:
        """Ends the processes."""
        self._made = None
        super().close()


def _begin_worker(number: int) -> None:
    """Ctrl-C is for the run, which ends its workers; what asks it to stop must not be caught here as there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class OneByOne(DataLoader[Batch]):
    """BasicSR's own loader for validation: one sample after the other, in this process.

    Args:
        dataset: Its samples are the batches.
        first: How many of them; all if None. The dataset itself seems to end there, too.
    """

    def __init__(self, dataset: Any, first: int | None = None) -> None:
        shown = dataset if first is None else _Beginning(dataset, first)
        super().__init__(shown, batch_size=1, collate_fn=_collated, generator=torch.Generator())


class _Beginning(Dataset[Batch]):
    """The first samples of a dataset that is the same otherwise."""

    def __init__(self, dataset: Samples, length: int) -> None:
        self.whole, self.length = dataset, min(length, len(dataset))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Batch:
        return self.whole[index]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['whole'], name)
