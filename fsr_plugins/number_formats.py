"""Which number formats a device computes with."""

from __future__ import annotations

from collections.abc import Callable

import torch


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16; a CPU without them is many times slower in it."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != 'cpu':
        return False
    has: list[Callable[[], bool]] = [
        getattr(torch.cpu, name)
        for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
        if hasattr(torch.cpu, name)
    ]
    return any(supported() for supported in has)
