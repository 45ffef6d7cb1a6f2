"""The network and the loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.registry import ARCH_REGISTRY, LOSS_REGISTRY


@ARCH_REGISTRY.register()
class SoftEdgeNet(nn.Module):
    """Adds to the bicubic enlargement what a few convolutions find."""

    def __init__(self, num_feat: int = 32, num_block: int = 4, scale: int = 4) -> None:
        super().__init__()
        body: list[nn.Module] = [nn.Conv2d(3, num_feat, 3, padding=1), nn.ReLU()]
        for _ in range(num_block):
            body += [nn.Conv2d(num_feat, num_feat, 3, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*body, nn.Conv2d(num_feat, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        self.scale = scale

    def forward(self, lq: Tensor) -> Tensor:
        """(N, 3, h, w), RGB in [0, 1], to (N, 3, scale·h, scale·w)."""
        return F.interpolate(lq, scale_factor=self.scale, mode='bicubic') + self.body(lq)


@LOSS_REGISTRY.register()
class SoftEdgeLoss(nn.Module):
    """L1 between Sobel gradients averaged over ``window``² pixels, so that an edge may lie a little off."""

    def __init__(self, loss_weight: float = 1.0, window: int = 3) -> None:
        super().__init__()
        self.loss_weight, self.window = loss_weight, window
        sobel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]) / 8
        self.register_buffer('kernels', torch.stack([sobel, sobel.T])[:, None])

    def edges(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) to the soft edges across and down, (N, 2, H - 1 - window, W - 1 - window)."""
        gradients = F.conv2d(image.mean(1, keepdim=True), self.kernels)
        return F.avg_pool2d(gradients.abs(), self.window, stride=1)

    def forward(self, sr: Tensor, target: Tensor) -> Tensor:
        """A scalar; both are (N, 3, H, W)."""
        return self.loss_weight * F.l1_loss(self.edges(sr), self.edges(target))
