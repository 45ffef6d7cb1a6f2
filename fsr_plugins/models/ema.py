"""Exponential moving average of a network, buffers included."""

from __future__ import annotations

import copy

import torch
from torch import nn


class MovingAverage:
    """``average ← decay · average + (1 − decay) · net`` on parameters; buffers (BN statistics) are copied.

    BasicSR averages parameters only, so its averaged network validates with the BN statistics of the first iteration.

    Args:
        net: the trained network; it is copied.
        decay: in [0, 1).
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.net = copy.deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Takes in the present weights of ``net``, all parameters in one fused operation a type."""
        torch._foreach_lerp_(list(self.net.parameters()), list(net.parameters()), 1 - self.decay)
        for own, new in zip(self.net.buffers(), net.buffers(), strict=True):
            own.copy_(new)
