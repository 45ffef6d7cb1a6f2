"""The loss between features of a discriminator, by the name that BasicSR's option file of HiFaceGAN has for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from fsr_plugins.registry import LOSS_REGISTRY, build

_CRITERIA = {'l1': 'L1Loss', 'l2': 'MSELoss', 'charbonnier': 'CharbonnierLoss'}


@LOSS_REGISTRY.register()
class GANFeatLoss(nn.Module):
    """Feature matching (Wang et al., pix2pixHD, CVPR 2018, Eq. 4); BasicSR 1.4.2 names it and has it no more.

    Args:
        criterion: How features are compared.
        loss_weight: The weight.
        reduction: Over the values of a feature.
    """

    def __init__(
        self,
        criterion: Literal['l1', 'l2', 'charbonnier'] = 'l1',
        loss_weight: float = 1.0,
        reduction: Literal['mean', 'sum'] = 'mean',
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.compare = build('losses', {'type': _CRITERIA[criterion], 'reduction': reduction})

    def forward(self, pred_fake: Sequence[Sequence[Tensor]], pred_real: Sequence[Sequence[Tensor]]) -> Tensor:
        """The loss, a scalar, the mean over discriminators of the sums over their features.

        Args:
            pred_fake: By discriminator, its features of what was made, and its verdict, which does not count.
            pred_real: Likewise of real images; no gradient goes there.
        """
        found = [
            self.compare(fake, real.detach())
            for fakes, reals in zip(pred_fake, pred_real, strict=True)
            for fake, real in zip(fakes[:-1], reals[:-1], strict=True)
        ]
        return self.loss_weight * sum(found[1:], found[0]) / len(pred_fake)
