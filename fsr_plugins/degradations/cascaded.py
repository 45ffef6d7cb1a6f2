"""Bilinear reduction by halves: 128, 64, 32, 16."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.degradations.base import Degradation, check_scale, to_8bit
from fsr_plugins.errors import UserError
from fsr_plugins.registry import DEGRADATION_REGISTRY


@DEGRADATION_REGISTRY.register()
class CascadedBilinearDown(Degradation):
    """Halves the sides bilinearly again and again; nothing random.

    Pixel centres as OpenCV's ``INTER_LINEAR`` (half-pixel offsets), so a halving is the mean of 2×2 pixels.

    Args:
        scale: factor of reduction, a power of two.
        quantize: round the last result to multiples of 1/255; between the halvings nothing is rounded.

    Raises:
        UserError: a scale that is no power of two.
    """

    def __init__(self, scale: int, quantize: bool = True) -> None:
        super().__init__()
        self.scale = check_scale('CascadedBilinearDown', scale)
        if scale & (scale - 1):
            raise UserError(f"CascadedBilinearDown: 'scale' is {scale}; halving reaches 2, 4, 8, … only.")
        self.quantize = quantize

    def degrade(self, gt: Tensor, seeds: Tensor) -> Tensor:
        for _ in range(self.scale.bit_length() - 1):
            gt = F.interpolate(gt, scale_factor=0.5, mode='bilinear', align_corners=False)
        return to_8bit(gt) if self.quantize else gt

    def extra_repr(self) -> str:
        return f'scale={self.scale}, quantize={self.quantize}'
