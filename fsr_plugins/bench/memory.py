"""The most memory that tensors take at once while something runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory:
    """Inside, memory is watched; afterwards :attr:`peak` has the bytes.

    What was there before is not counted. On a GPU it is the allocator's own account; on a CPU, whose allocator keeps
    none, the storages that operations give, from when they are made until they are let go.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.peak = self._before = 0
        self._mode: _Storages | None = None

    def __enter__(self) -> PeakMemory:
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
        else:
            self._mode = _Storages()
            self._mode.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._mode is None:
            self.peak = torch.cuda.max_memory_allocated(self.device) - self._before
        else:
            self._mode.__exit__(kind, error, traceback)
            self.peak = self._mode.peak


class _Storages(TorchDispatchMode):
    """Sees the output of every operation."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        inputs = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        out = func(*args, **(kwargs or {}))
        for storage in (leaf.untyped_storage() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)):
            place, size = storage._cdata, storage.nbytes()
            if place not in inputs and place not in self._known:  # no view, and not written in place
                self._known.add(place)
                self.live += size
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._release, place, size)
        return out

    def _release(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.live -= size
