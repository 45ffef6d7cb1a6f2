"""Batches for training and for evaluation: decoded by threads, uint8, in an order that is a function of (seed, number).

OpenCV decodes without Python's lock, and a batch is written in place by several threads, so nothing is ever pickled or
copied between processes. Work is handed to the pool only when a batch is taken, never by a thread of its own: there is
no queue on which anything could wait for ever, and what a thread raises is raised where the batch is taken.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from types import TracebackType
from typing import TYPE_CHECKING

import cv2

from fsr_plugins.data.batches import Batch, PendingBatch, Samples
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.data.seeding import permutation
from fsr_plugins.errors import UserError

if TYPE_CHECKING:
    from typing_extensions import Self


class _Loader:
    """A pool of decoding threads, and batches made ahead by it."""

    def __init__(
        self,
        dataset: Samples,
        batch_size: int,
        rank: int,
        world_size: int,
        threads: int,
        prefetch: int,
        pin_memory: bool,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"'batch_size_per_gpu' is {batch_size}; it must be at least 1.")
        if len(dataset) == 0:
            raise UserError(f"The dataset '{getattr(dataset, 'name', dataset)}' is empty.")
        if not 0 <= rank < world_size:
            raise ValueError(f'rank {rank} is not in a world of {world_size}')
        cv2.setNumThreads(0)  # its own threads would only wait for ours
        self.dataset = dataset
        self.count = len(dataset)
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self._threads = max(1, threads)
        self._prefetch = max(1, prefetch)
        self._pin_memory = pin_memory
        self._pool: ThreadPoolExecutor | None = None

    def _batches(self, numbered: Iterator[Sequence[int]]) -> Iterator[Batch]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix='decode')
        pool = self._pool
        pending: deque[PendingBatch] = deque()
        try:
            while True:
                while len(pending) < self._prefetch:
                    numbers = next(numbered, None)
                    if numbers is None:
                        break
                    pending.append(PendingBatch(self.dataset, numbers, pool, self._threads, self._pin_memory))
                if not pending:
                    return
                yield pending.popleft().result()
        finally:
            for batch in pending:
                batch.abandon()

    def close(self) -> None:
        """Ends the threads; iterating again starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TrainLoader(_Loader):
    """The endless stream of training batches.

    Batch ``k`` of a rank holds the global positions p = (k · world_size + rank) · batch_size + j; position p is image
    ``permutation(seed, p // n)[p % n]`` in epoch ``p // n``. So nothing is dropped or repeated, batches straddle
    epochs, a batch may be larger than the dataset, and a run is taken up anywhere by ``start``.

    Args:
        dataset: An :class:`ImageDataset`, or any sized dataset of samples.
        batch_size: Images a batch and rank.
        seed: Of the order.
        rank: This process.
        world_size: How many processes share the dataset.
        start: The number of the first batch.
        threads: Decoding threads; 0 counts as 1.
        prefetch: Batches made ahead.
        pin_memory: Whether batches lie in page-locked memory.

    Raises:
        UserError: a batch size below 1 or an empty dataset; while iterating, what the dataset raises.
    """

    def __init__(
        self,
        dataset: Samples,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        threads: int = 2,
        prefetch: int = 3,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(dataset, batch_size, rank, world_size, threads, prefetch, pin_memory)
        self.seed = seed
        self.start = start

    @property
    def iters_per_epoch(self) -> float:
        """Batches in which all ranks together go through the dataset once."""
        return self.count / (self.batch_size * self.world_size)

    def numbers(self, batch: int) -> list[int]:
        """The sample numbers (epoch · n + index) of a batch of this rank."""
        first = (batch * self.world_size + self.rank) * self.batch_size
        found = []
        for position in range(first, first + self.batch_size):
            epoch, place = divmod(position, self.count)
            found.append(epoch * self.count + int(permutation(self.seed, epoch, self.count)[place]))
        return found

    def _numbered(self) -> Iterator[Sequence[int]]:
        batch = self.start
        while True:
            yield self.numbers(batch)
            batch += 1

    def __iter__(self) -> Iterator[Batch]:
        return self._batches(self._numbered())


class EvalLoader(_Loader):
    """Each image once over all ranks, in batches of images of one size; arguments as :class:`TrainLoader`."""

    def __init__(
        self,
        dataset: Samples,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        threads: int = 2,
        prefetch: int = 3,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(dataset, batch_size, rank, world_size, threads, prefetch, pin_memory)
        if not isinstance(dataset, ImageDataset):
            self._groups = [[index] for index in range(rank, self.count, world_size)]  # sizes unknown: one at a time
            return
        self._groups = []
        dealt = 0
        for _, of_one_size in groupby(sorted(range(self.count), key=dataset.shape), key=dataset.shape):
            members = list(of_one_size)
            # Dealing goes on where the last size ended, so that many sizes of few images do not all fall to rank 0.
            mine = members[(rank - dealt) % world_size :: world_size]
            dealt += len(members)
            self._groups += [mine[start : start + batch_size] for start in range(0, len(mine), batch_size)]

    def keep_one_of_each_size(self, sizes: int, images: int) -> None:
        """Leaves one batch of each size of image, of so many images at most; of many sizes only some, both ends too."""
        if not isinstance(self.dataset, ImageDataset):
            self._groups = self._groups[:1]
            return
        first = {self.dataset.shape(group[0]): group[:images] for group in reversed(self._groups)}
        ordered = [first[size] for size in sorted(first)]
        kept = sorted({round(number * (len(ordered) - 1) / max(1, sizes - 1)) for number in range(sizes)})
        self._groups = [ordered[place] for place in kept if place < len(ordered)]

    def largest_batch(self) -> list[int]:
        """The numbers of the images of the batch that has most pixels."""
        dataset = self.dataset
        if not isinstance(dataset, ImageDataset):
            return self._groups[0]
        return max(self._groups, key=lambda group: len(group) * math.prod(dataset.shape(group[0])))

    def keep(self, images: list[int]) -> None:
        """Leaves these images, of one size, as the only batch."""
        self._groups = [images]

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Batch]:
        return self._batches(iter(self._groups))


class OrderedLoader(_Loader):
    """The given images in the given order; a batch never reaches over the end of a part, and is of one size.

    Args:
        dataset: An :class:`ImageDataset`.
        batch_size: The most images of a batch.
        parts: Numbers of images, part by part.
        threads, prefetch, pin_memory: As :class:`TrainLoader`.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        batch_size: int,
        parts: Sequence[Sequence[int]],
        *,
        threads: int = 2,
        prefetch: int = 3,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(dataset, batch_size, 0, 1, threads, prefetch, pin_memory)
        self.shape = dataset.shape
        self.parts = parts

    def _numbered(self) -> Iterator[Sequence[int]]:
        for part in self.parts:
            for _, group in groupby(part, key=self.shape):
                members = list(group)
                for start in range(0, len(members), self.batch_size):
                    yield members[start : start + self.batch_size]

    def __iter__(self) -> Iterator[Batch]:
        return self._batches(self._numbered())
