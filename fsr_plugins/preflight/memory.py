"""A GPU's memory during a trial."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fsr_plugins.errors import UserError


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
