"""Perceptual and style loss in one pass through a network, as a pair."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr_plugins.losses.features import FeatureLoss, feature_distance, style_distance
from fsr_plugins.registry import LOSS_REGISTRY
from fsr_plugins.values import ReadBlock


@LOSS_REGISTRY.register()
class FeatureStyleLoss(FeatureLoss):
    """Distance of a frozen network's features of two images, and of their styles: a pair, like ``PerceptualLoss``.

    The first is :func:`~fsr_plugins.losses.features.feature_distance`, the second
    :func:`~fsr_plugins.losses.features.style_distance` of the same layers.
    """

    def __init__(self, features: ReadBlock, loss_weight: float = 1.0, style_weight: float = 0.0) -> None:
        """
        Args:
            features: block of the extractor; see :func:`~fsr_plugins.losses.features.make_features`.
            loss_weight: factor of the first.
            style_weight: factor of the second; at 0 there is none.

        Raises:
            UserError: a faulty block, weights that are absent or of another network.
        """
        super().__init__(features, loss_weight)
        self.style_weight = style_weight

    def forward(self, sr: Tensor, gt: Tensor) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        """Both losses, scalars; None of what has no weight.

        Args:
            sr, gt: (N, 3, H, W) RGB float in [0, 1]; ``gt`` gets no gradient.
        """
        with torch.no_grad():
            wanted = self.extractor(gt)
        found = self.extractor(sr)
        style = self.style_weight * style_distance(found, wanted) if self.style_weight else None
        return self.loss_weight * feature_distance(found, wanted), style
