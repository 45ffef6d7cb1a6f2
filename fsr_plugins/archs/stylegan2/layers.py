"""StyleGAN's equalised layers: weights of deviation 1, scaled when used, so that all learn at one rate (He's factor).

Parameters have the names and shapes of BasicSR's ``stylegan2_arch``.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEAK = 0.2
_GAIN = math.sqrt(2)

#: Heights StyleGAN2 knows, in pixels.
SIZES = tuple(2**power for power in range(2, 11))


def channels_of(size: int, channel_multiplier: int, narrow: float) -> dict[int, int]:
    """Channels of the feature maps by their height, from 4 to ``size`` pixels.

    Raises:
        ValueError: a ``size`` that is no power of two from 4 to 1024, or so narrow that no channel is left.
    """
    if size not in SIZES:
        raise ValueError(f'StyleGAN2 makes images of a power of two from 4 to 1024 pixels, not of size={size}.')
    channels = {
        side: int((512 if side <= 32 else 512 * 32 * channel_multiplier / side) * narrow)
        for side in SIZES
        if side <= size
    }
    if min(channels.values()) < 1:
        raise ValueError(f'narrow={narrow} leaves no channel at {size} pixels: raise it or channel_multiplier.')
    return channels


def leaky_relu(x: Tensor) -> Tensor:
    """LeakyReLU 0.2 times sqrt(2), which keeps the second moment about where it was."""
    return F.leaky_relu(x, _LEAK) * _GAIN


class BiasedLeakyReLU(nn.Module):
    """A bias a channel, then :func:`leaky_relu`; (N, C, H, W) to the same."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_feat))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return leaky_relu(x + self.bias.to(x.dtype).view(1, -1, 1, 1))


class PixelNorm(nn.Module):
    """Brings the last axis to the mean square 1."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    """``x W^T lr_mul / sqrt(num_in) + b lr_mul``; W begins with the deviation 1 / lr_mul.

    Args:
        num_in, num_out: channels.
        bias: with which every b begins.
        lr_mul: how fast the layer learns in comparison with others.
        activate: :func:`leaky_relu` after it.
    """

    def __init__(
        self, num_in: int, num_out: int, bias: float = 0.0, lr_mul: float = 1.0, activate: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_out, num_in) / lr_mul)
        self.bias = nn.Parameter(torch.full((num_out,), float(bias)))
        self.scale = lr_mul / math.sqrt(num_in)
        self.lr_mul = lr_mul
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """(..., num_in) to (..., num_out)."""
        x = F.linear(x, self.weight * self.scale, self.bias * self.lr_mul)
        return leaky_relu(x) if self.activate else x


class EqualConv2d(nn.Module):
    """A convolution without bias, its weights divided by sqrt(num_in K K)."""

    def __init__(self, num_in: int, num_out: int, kernel_size: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_out, num_in, kernel_size, kernel_size))
        self.scale = 1 / math.sqrt(num_in * kernel_size**2)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in, H, W) to (N, num_out, H', W')."""
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)
