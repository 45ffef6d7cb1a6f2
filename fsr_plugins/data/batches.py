"""Making one batch of a dataset: arrays laid out once, written by several threads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import default_collate

from fsr_plugins.data.image_dataset import ImageDataset, Values
from fsr_plugins.values import ReadBlock

Batch = Values


class Samples(Protocol):
    """Any sized dataset of samples, BasicSR's too."""

    @property
    def opt(self) -> ReadBlock:
        """Its block."""
        ...

    def __len__(self) -> int:
        """How many samples there are."""

    def __getitem__(self, index: int, /) -> Values:
        """A sample of arrays, numbers and strings by name."""


#: Fewer images than this are not worth a thread of their own.
_SMALLEST_CHUNK = 4


class PendingBatch:
    """A batch being written by a pool; :meth:`result` waits for it and raises what a thread raised."""

    def __init__(
        self, dataset: Samples, numbers: Sequence[int], pool: ThreadPoolExecutor, threads: int, pin_memory: bool
    ) -> None:
        self._tensors: dict[str, torch.Tensor] = {}
        self._parts: list[Future[Batch]] = []
        if not isinstance(dataset, ImageDataset):
            self._parts.append(pool.submit(_collate, dataset, numbers, pin_memory))
            return
        for name, slot in dataset.slots(numbers[0] % len(dataset)).items():
            kind = torch.from_numpy(np.empty(0, slot.dtype)).dtype
            self._tensors[name] = torch.empty((len(numbers), *slot.shape), dtype=kind, pin_memory=pin_memory)
        arrays = {name: tensor.numpy() for name, tensor in self._tensors.items()}
        chunk = max(_SMALLEST_CHUNK, -(-len(numbers) // threads))
        for start in range(0, len(numbers), chunk):
            part = slice(start, start + chunk)
            out = {name: array[part] for name, array in arrays.items()}
            self._parts.append(pool.submit(dataset.fill, numbers[part], out))

    def result(self) -> Batch:
        """The batch: uint8 NHWC, int64 and float32 tensors by name, and lists of keys (``*_path``)."""
        batch: Batch = dict(self._tensors)
        for part in self._parts:
            for name, value in part.result().items():
                batch[name] = batch[name] + value if name in batch else value
        return batch

    def abandon(self) -> None:
        """Takes back what has not begun."""
        for part in self._parts:
            part.cancel()


def _collate(dataset: Samples, numbers: Sequence[int], pin_memory: bool) -> Batch:
    """A batch of a dataset that only knows samples and one epoch, such as BasicSR's own."""
    size = len(dataset)
    batch: Batch = default_collate([dataset[number % size] for number in numbers])
    if not pin_memory:
        return batch
    return {name: value.pin_memory() if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
