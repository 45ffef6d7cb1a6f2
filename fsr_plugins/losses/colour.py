"""Distance of two images in luminance and chrominance."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from fsr_plugins.errors import UserError
from fsr_plugins.registry import LOSS_REGISTRY

# RGB in [0, 1] (rows) to Y, Cb, Cr in 0..255 (columns), ITU-R BT.601 with Y in 16..235 and Cb, Cr in 16..240, as
# BasicSR's rgb2ycbcr_pt. Its offsets (16, 128, 128) cancel in differences.
_YCBCR = ((65.481, -37.797, 112.0), (128.553, -74.203, -93.786), (24.966, 112.0, -18.214))
# RGB to Y, U, V in the range of RGB: Y = 0.299 R + 0.587 G + 0.114 B, U = 0.492111 (B - Y), V = 0.877283 (R - Y).
_YUV = ((0.299, -0.147141, 0.614975), (0.587, -0.288869, -0.514965), (0.114, 0.436010, -0.100010))


@LOSS_REGISTRY.register()
class LuminanceChrominanceLoss(nn.Module):
    """The luminance-chrominance error of ISR-KD (Eq. 6), or EIPNet's mean squared error in YUV."""

    def __init__(
        self,
        mode: Literal['euclid', 'mse'] = 'euclid',
        loss_weight: float = 1.0,
        scale: float = 1.0,
        eps: float = 1e-12,
    ) -> None:
        """
        Args:
            mode: ``'euclid'``: mean over pixels of ``sqrt(ΔY² + ΔCb² + ΔCr² + eps)`` in BasicSR's YCbCr (ITU-R BT.601,
                Y from 16 to 235 of 255); ``'mse'``: mean over pixels and channels of the squared difference in YUV
                (BT.601, Y of the full range).
            loss_weight: factor of the result.
            scale: factor of the images; 255 for losses on the scale of 8-bit values.
            eps: keeps the root's derivative finite where the images agree; on the scaled images.

        Raises:
            UserError: an unknown mode, or ``eps`` not positive.
        """
        super().__init__()
        if mode not in ('euclid', 'mse'):
            raise UserError(f"'mode' of LuminanceChrominanceLoss is '{mode}': choose euclid or mse.")
        if eps <= 0:
            raise UserError(f"'eps' of LuminanceChrominanceLoss is {eps}: it must be above 0.")
        self.mode, self.loss_weight, self.eps = mode, loss_weight, eps
        matrix = torch.tensor(_YCBCR, dtype=torch.float64) / 255 if mode == 'euclid' else torch.tensor(_YUV)
        # Output channels first, for a product with (N, 3, H, W) over its channels.
        self.register_buffer('matrix', (matrix.t() * scale).float(), persistent=False)
        self.matrix: Tensor

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """The loss, a scalar; computed in float32 at least, also under autocast.

        Args:
            sr, gt: (N, 3, H, W) RGB float in [0, 1].

        Raises:
            ValueError: the shapes differ, or there are other than three channels.
        """
        if sr.shape != gt.shape or sr.ndim != 4 or sr.shape[1] != 3:
            raise ValueError(
                f'LuminanceChrominanceLoss takes two (N, 3, H, W); got {tuple(sr.shape)} and {tuple(gt.shape)}.'
            )
        with torch.autocast(sr.device.type, enabled=False):
            precision = torch.promote_types(sr.dtype, torch.float32)
            delta = sr.to(precision) - gt.to(precision)
            squares = torch.einsum('ij,njhw->nihw', self.matrix.to(precision), delta).square()
            if self.mode == 'mse':
                return self.loss_weight * squares.mean()
            return self.loss_weight * (squares.sum(dim=1) + self.eps).sqrt().mean()
