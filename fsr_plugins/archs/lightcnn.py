"""LightCNN-9 as a discriminator.

Wu et al., "A Light CNN for Deep Face Representation with Noisy Labels", TIFS 2018, Table I; as a discriminator in DIC
(Ma et al., CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fsr_plugins.registry import ARCH_REGISTRY


def max_feature_map(x: Tensor) -> Tensor:
    """The element-wise maximum of the two halves of dimension 1 (Eq. 1 of LightCNN): (N, 2C, ...) to (N, C, ...)."""
    first, second = x.chunk(2, dim=1)
    return torch.maximum(first, second)


class MFMConv(nn.Module):
    """A convolution that keeps the size, to twice the channels, and the max-feature-map that halves them."""

    def __init__(self, num_in: int, num_out: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_in, 2 * num_out, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in, H, W) to (N, num_out, H, W)."""
        return max_feature_map(self.conv(x))


@ARCH_REGISTRY.register()
class LightCNNDiscriminator(nn.Module):
    """LightCNN-9 with an unbounded real/fake logit, for square images of any one size; no dropout, no normalisation.

    MFM conv 5x5, then four groups of a 1x1 and a 3x3 MFM conv, with four 2x2 ceil-mode max pools between them (the last
    two groups share a grid), an MFM linear layer, LeakyReLU 0.2 and one linear unit. The pools leave ceil(size / 16)
    pixels a side: 1 at 16, 4 at 64, 8 at 128.

    Args:
        num_in_ch: image channels.
        input_size: height and width of the images in pixels.
        channels: output channels of the first convolution and of the four groups.
        num_fc: width of the hidden linear layer after its max-feature-map.

    Shape: (N, num_in_ch, input_size, input_size) float RGB in [0, 1] to (N, 1) logits.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        input_size: int = 64,
        channels: Sequence[int] = (48, 96, 192, 128, 128),
        num_fc: int = 256,
    ) -> None:
        super().__init__()
        if len(channels) != 5:
            raise ValueError(
                f'channels must name five widths, of the first convolution and four groups; got {list(channels)}.'
            )
        self.input_size = input_size
        layers: list[nn.Module] = [MFMConv(num_in_ch, channels[0], 5), _pool()]
        for group, (num_in, num_out) in enumerate(zip(channels[:-1], channels[1:], strict=True)):
            layers += [MFMConv(num_in, num_in, 1), MFMConv(num_in, num_out, 3)]
            if group != 2:
                layers.append(_pool())
        self.features = nn.Sequential(*layers)
        side = -(-input_size // 16)
        self.fc = nn.Linear(channels[-1] * side * side, 2 * num_fc)
        self.act = nn.LeakyReLU(0.2)
        self.logit = nn.Linear(num_fc, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in_ch, input_size, input_size) to (N, 1).

        Raises:
            ValueError: the images are of another size than the network was built for.
        """
        if x.shape[2] != self.input_size or x.shape[3] != self.input_size:
            raise ValueError(
                f'LightCNNDiscriminator was built with input_size={self.input_size} and got images of '
                f'{x.shape[2]}x{x.shape[3]} (height x width); set input_size to the size it sees.'
            )
        hidden = max_feature_map(self.fc(self.features(x).flatten(1)))
        return self.logit(self.act(hidden))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(2, 2, ceil_mode=True)
