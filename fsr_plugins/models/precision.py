"""Number formats of a training step: fp32, bf16, or fp16 with loss scaling."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.optim import Optimizer

from fsr_plugins.number_formats import computes_bf16

FORMATS = ('fp32', 'bf16', 'fp16', 'auto')


class Precision:
    """Autocast and loss scaling for one device.

    Args:
        name: one of :data:`FORMATS`; ``auto``, where nothing was measured, is bf16 on a GPU that computes it,
            else fp32.
        device: where the networks are.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name == 'auto':
            name = 'bf16' if device.type == 'cuda' and computes_bf16(device) else 'fp32'
        self.name = name
        self.device = device
        self.dtype = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}[name]
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == 'fp16')
        self._has_stepped = False

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which forward passes and losses run."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.name != 'fp32')

    def backward(self, loss: Tensor) -> None:
        """Back-propagates the (scaled) loss."""
        self.scaler.scale(loss).backward()

    def step(self, optimizer: Optimizer, clip_grad_norm: float | None = None) -> None:
        """One optimiser step, its gradients unscaled and clipped to a norm; skipped where fp16 overflowed."""
        if clip_grad_norm is not None:
            self.scaler.unscale_(optimizer)
            parameters = [p for group in optimizer.param_groups for p in group['params']]
            torch.nn.utils.clip_grad_norm_(parameters, clip_grad_norm)
        self.scaler.step(optimizer)
        self._has_stepped = True

    def update(self) -> None:
        """Adapts the loss scale, after all phases: gradients that add up over iterations need one scale.

        An iteration without a step says nothing of it, and torch's scaler would refuse.
        """
        if self._has_stepped:
            self.scaler.update()
        self._has_stepped = False
