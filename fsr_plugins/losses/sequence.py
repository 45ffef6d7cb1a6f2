"""One loss over the outputs of an unrolled network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from fsr_plugins.errors import UserError
from fsr_plugins.losses.pretrained import requirements
from fsr_plugins.registry import LOSS_REGISTRY, build
from fsr_plugins.values import ReadBlock
from fsr_plugins.weights import WeightFile


@LOSS_REGISTRY.register()
class SequenceLoss(nn.Module):
    """A loss of each output of a network that refines its result step by step, averaged or summed.

    With ``MSELoss`` and the mean it is ``(1/N) Σ_n MSE(I^n, target)``, TSNet's Eq. 5.
    """

    def __init__(self, loss: ReadBlock, reduction: Literal['mean', 'sum'] = 'mean') -> None:
        """
        Args:
            loss: block of the loss of one output, e.g. ``{type: MSELoss, loss_weight: 1.0}``.
            reduction: over the outputs.

        Raises:
            UserError: an unknown reduction or a faulty block.
        """
        super().__init__()
        if reduction not in ('mean', 'sum'):
            raise UserError(f"'reduction' of SequenceLoss is '{reduction}': choose mean or sum.")
        self.loss = build('losses', loss)
        self.reduction = reduction

    @staticmethod
    def requirements(loss: ReadBlock, **others: object) -> list[WeightFile]:
        """Those of the loss inside; see :func:`fsr_plugins.losses.pretrained.requirements`."""
        return requirements(loss)

    def forward(self, outputs: Sequence[Tensor], target: Tensor | Sequence[Tensor]) -> Tensor:
        """
        Args:
            outputs: the N ≥ 1 outputs, each NCHW.
            target: one target of all outputs, or one for each.

        Raises:
            ValueError: no outputs, or as many targets as there are not outputs.
        """
        targets = [target] * len(outputs) if isinstance(target, Tensor) else target
        if not outputs or len(outputs) != len(targets):
            raise ValueError(f'SequenceLoss got {len(outputs)} outputs and {len(targets)} targets.')
        terms = torch.stack([self.loss(output, wanted) for output, wanted in zip(outputs, targets, strict=True)])
        return terms.mean() if self.reduction == 'mean' else terms.sum()
