"""Whether weights are numbers: one look at all of them, wherever they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from fsr_plugins.checkpoints.layout import META


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no number is NaN or Inf; a device is waited for once."""
    floating = [tensor.detach() for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    if not floating:
        return True
    # The largest magnitude of each tensor, in one fused operation: it is no number if one of them is none, and unlike
    # a sum it cannot overflow.
    largest = torch._foreach_norm(floating, float('inf'))
    return bool(torch.stack([value.float() for value in largest]).isfinite().all())


def tensors_of(content: object) -> Iterator[Tensor]:
    """The tensors in a network file or in a part of a training state, however deep; those of ``meta`` are left out."""
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, list | tuple):
        for value in content:
            yield from tensors_of(value)
    elif isinstance(content, Mapping):
        for key, value in content.items():
            if key != META:
                yield from tensors_of(value)
