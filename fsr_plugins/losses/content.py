"""Likeness of two images by what a VGG network sees in them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from fsr_plugins.errors import UserError
from fsr_plugins.losses.vgg import check_layer
from fsr_plugins.registry import LOSS_REGISTRY
from fsr_plugins.weights import WeightFile, locate, torchvision_weights

from basicsr.archs.vgg_arch import VGGFeatureExtractor  # isort: skip


@LOSS_REGISTRY.register()
class ContentLoss(nn.Module):
    """Squared distance of the features of one VGG layer, C-Face's L_P (Eq. 2).

    The equation sums over the channels and divides by width and height; here that is a switch, and the mean over
    everything, as BasicSR and most others take it, is the default: it is 1/C of the sum.

    The VGG is torchvision's, trained on ImageNet, and stays as it is; images are normalised for it.

    Args:
        layer: ``relu3_1``; see the README of C-Face for the other readings of the paper, ``relu3_4`` and ``relu5_3``.
        vgg_type: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``.
        channel_sum: the sum over the channels, as written.
        loss_weight: factor of the result.

    Raises:
        UserError: no such network or layer.
    """

    def __init__(
        self, layer: str = 'relu3_1', vgg_type: str = 'vgg19', channel_sum: bool = False, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        check_layer(layer, vgg_type, 'ContentLoss')
        self.layer = layer
        self.channel_sum = channel_sum
        self.loss_weight = loss_weight
        self.vgg = VGGFeatureExtractor([layer], vgg_type=vgg_type)

    @staticmethod
    def requirements(layer: str = 'relu3_1', vgg_type: str = 'vgg19', **others: object) -> list[WeightFile]:
        """VGG's weights, fetched at once where they have to be.

        Raises:
            UserError: no such network or layer; weights that are absent, with how to train without them.
        """
        check_layer(layer, vgg_type, 'ContentLoss')
        weight = torchvision_weights(vgg_type, 'ContentLoss', for_hub=True)
        try:
            return [replace(weight, path=str(locate(weight)))]
        except UserError as error:
            raise UserError(
                f'{error} Or leave the loss out (`content_opt: null`) and give a pixel loss in its place '
                '(`pixel_opt: {type: L1Loss}`).'
            ) from error

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            sr, gt: (N, 3, H, W) RGB float in [0, 1]; ``gt`` gets no gradient.
        """
        with torch.no_grad():
            wanted = self.vgg(gt)[self.layer].float()
        distance = (self.vgg(sr)[self.layer].float() - wanted).square()
        return self.loss_weight * (distance.sum(dim=1) if self.channel_sum else distance).mean()
