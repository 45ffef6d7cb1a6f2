"""The memory that a trial takes: of a GPU, which says when it is too small, and of the CPU, which does not."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from fsr_plugins.errors import UserError
from fsr_plugins.threads import available_memory
from fsr_plugins.values import Record

logger = logging.getLogger(__name__)

#: Bytes that a step takes at most for a byte of its uint8 images: more than any known network. Below, nothing is tried.
_AT_MOST = 4000
#: Batches that a loader holds at once: the one that is worked on, and those made ahead.
_HELD = 3
#: Bytes of an image in a network for each of its uint8 bytes.
_FLOAT = 4


@contextmanager
def freed(batch_size: int, key: str = 'datasets.train') -> Iterator[None]:
    """Says so if the GPU's memory is too small for a batch of the set ``key``, and gives the memory back."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(
            f"A batch of {batch_size} does not fit into the GPU's memory: lower '{key}.batch_size_per_gpu' or use "
            "'precision: bf16'."
        ) from error
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def bytes_of(batch: Record) -> int:
    """The bytes of a batch's tensors."""
    return sum(value.numel() * value.element_size() for value in batch.values() if isinstance(value, torch.Tensor))


def check_fits(work: Callable[[int], object], batch_size: int, image: int, key: str, kept: int = 0) -> None:
    """Refuses a batch for which the CPU's memory is too small, before it is made: the kernel would end the process.

    Only where the batch is suspiciously large anything is tried: a few images, and twice as many.

    Args:
        work: does on so many images what is to be done on the batch.
        image: bytes of an image and what belongs to it, as the loader makes them.
        key: the option ``datasets.<phase>``, with its place.
        kept: bytes that decoded pixels will take besides.
    Raises:
        UserError: the batch needs more than is free.
    """
    free = max(0, available_memory() - kept)
    if batch_size * image * _AT_MOST <= free:
        return
    few = min(2, batch_size // 4)
    needed = batch_size * image * (_HELD + _FLOAT)
    if few and needed <= free:
        try:
            work(few)  # what is made once
            little, twice = _peak(lambda: work(few)), _peak(lambda: work(2 * few))
        except Exception:  # the whole batch will tell
            logger.debug('a few images cannot be tried', exc_info=True)
        else:
            needed = batch_size * image * (_HELD - 1) + little + (twice - little) * (batch_size - few) // few
    if needed > free:
        raise UserError(
            f"{key}.batch_size_per_gpu' is {batch_size}, and such a batch needs about {needed / 1e9:.1f} GB of memory; "
            f'{free / 1e9:.1f} GB are free: lower it.'
        )


def _peak(work: Callable[[], object]) -> int:
    """The most bytes of torch's memory that ``work`` holds beyond what was held before."""
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # the profiler talks on standard error
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        work()
    results = profile.kineto_results
    assert results is not None
    changes = [event for event in results.events() if event.name() == '[memory]']
    held = most = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most
