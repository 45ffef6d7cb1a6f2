"""Values by image, collected batch by batch and brought together over processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from fsr_plugins.metrics.base import BatchMeta


class KeyedRows:
    """Rows of one or more tensors by the image's key; kept where they were computed until they are gathered."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._columns: list[list[Tensor]] = []

    def add(self, keys: Sequence[str], *columns: Tensor) -> None:
        """Takes in one row of each (N, …) tensor for each of N keys; every call gives as many tensors."""
        if any(len(column) != len(keys) for column in columns):
            raise ValueError(f'{len(keys)} keys for rows of {[len(column) for column in columns]}.')
        if not self._columns:
            self._columns = [[] for _ in columns]
        self._keys += keys
        for kept, column in zip(self._columns, columns, strict=True):
            kept.append(column.detach())

    def gather(self) -> tuple[list[str], list[Tensor]]:
        """Keys and tensors over all processes, on the CPU, ordered by key, each key once; starts afresh afterwards.

        Every process must call it. Without any row the list of tensors is empty.
        """
        own = (self._keys, [torch.cat(column).cpu() for column in self._columns])
        self._keys, self._columns = [], []
        shares = [own]
        if dist.is_available() and dist.is_initialized():
            received: list[tuple[list[str], list[Tensor]] | None] = [None] * dist.get_world_size()
            dist.all_gather_object(received, own)
            shares = [share for share in received if share is not None]
        filled = [share for share in shares if share[0]]
        if not filled:
            return [], []
        keys = [key for share in filled for key in share[0]]
        # Of an image seen twice the first row counts: later ones are overwritten in this reversed walk.
        place = {key: len(keys) - 1 - index for index, key in enumerate(reversed(keys))}
        order = sorted(place)
        rows = torch.tensor([place[key] for key in order])
        columns = zip(*(share[1] for share in filled), strict=True)
        return order, [torch.cat(column)[rows] for column in columns]


def keys_of(meta: BatchMeta) -> Sequence[str]:
    """The keys of a batch's images.

    Raises:
        ValueError: ``meta`` has none: the caller cannot use a metric that tells images apart.
    """
    keys = meta.get('keys')
    if not keys:
        raise ValueError("This metric tells images apart by name and needs their 'keys' in meta.")
    return keys
