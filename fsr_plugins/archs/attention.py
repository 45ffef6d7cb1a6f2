"""Gates on feature maps: one weight a channel, or one weight a pixel and channel.

Both as in FishFSRNet (Wang et al., "Super-Resolving Face Image by Facial Parsing Information", TBIOM 2023), whose
attention PKDN takes over.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def check_reduction(num_feat: int, reduction: int) -> int:
    """The width ``num_feat / reduction`` of a bottleneck.

    Raises:
        ValueError: nothing is left.
    """
    if reduction < 1 or num_feat < reduction:
        raise ValueError(f'{num_feat} channels cannot be reduced {reduction} times: lower the reduction.')
    return num_feat // reduction


class ChannelGate(nn.Module):
    """Weights channels by what their average, maximum and variance over the image say.

    ``x * sigmoid(MLP(avg x) + MLP(max x) + MLP(var x))`` with one MLP of two layers and a ReLU for all three. The
    variance is that of the pixels there are (divided by H W), so that a single pixel has none.

    Args:
        num_feat: channels C.
        reduction: C / reduction is the width of the MLP's hidden layer.

    Shape: (N, C, H, W) float to the same.

    Raises:
        ValueError: ``reduction`` leaves no channel.
    """

    def __init__(self, num_feat: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = check_reduction(num_feat, reduction)
        self.mlp = nn.Sequential(nn.Conv2d(num_feat, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, num_feat, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
        # The three as three pixels of one image: the MLP runs once.
        pooled = torch.cat([mean, x.amax(dim=(2, 3), keepdim=True), variance], dim=2)
        return x * torch.sigmoid(self.mlp(pooled).sum(dim=2, keepdim=True))


class SpatialGate(nn.Module):
    """Weights each value of a feature map by what the channels at its pixel say.

    ``x * sigmoid(conv1x1(ReLU(conv1x1(x))))``, C to 2C to C channels.

    Args:
        num_feat: channels C.

    Shape: (N, C, H, W) float to the same.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.weights = nn.Sequential(
            nn.Conv2d(num_feat, 2 * num_feat, 1), nn.ReLU(), nn.Conv2d(2 * num_feat, num_feat, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return x * self.weights(x)
