"""StyleGAN2's discriminator: residual, with the deviation within groups of the batch as a feature.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, Fig. 7; the deviation after Karras et
al., "Progressive Growing of GANs", ICLR 2018, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fsr_plugins.archs.stylegan2.fir import smooth_before_down
from fsr_plugins.archs.stylegan2.layers import BiasedLeakyReLU, EqualConv2d, EqualLinear, channels_of
from fsr_plugins.registry import ARCH_REGISTRY


class ResBlock(nn.Module):
    """Two 3x3 convolutions, of which the second halves the image, and a 1x1 beside them; the sum over sqrt(2)."""

    def __init__(self, num_in: int, num_out: int, resample_kernel: Sequence[float]) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(EqualConv2d(num_in, num_in, 3, padding=1), BiasedLeakyReLU(num_in))
        self.conv2 = nn.Sequential(
            smooth_before_down(resample_kernel, 3), EqualConv2d(num_in, num_out, 3, stride=2), BiasedLeakyReLU(num_out)
        )
        self.skip = nn.Sequential(smooth_before_down(resample_kernel, 1, down=2), EqualConv2d(num_in, num_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in, H, W) to (N, num_out, H/2, W/2)."""
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


@ARCH_REGISTRY.register()
class StyleGAN2Critic(nn.Module):
    """StyleGAN2's discriminator; with BasicSR's names and shapes of parameters (``StyleGAN2Discriminator``).

    Images are taken in [0, 1] and brought to [-1, 1], for which trained weights are. A gradient penalty with
    StyleGAN2's weight is one on images in [-1, 1]: give it those, with ``raw=True``. (Of images in [0, 1] the gradient
    is twice, the R1 penalty four times as large.)

    The deviation is one number a group: images m, m + N/G, m + 2 N/G … of a batch of N are together, G of them.

    Args:
        size: height and width of the images in pixels, a power of two from 4 to 1024.
        channel_multiplier, resample_kernel, narrow: as in
            :class:`~fsr_plugins.archs.stylegan2.generator.StyleGAN2Decoder`.
        stddev_group: G; a smaller batch is one group.

    Shape: (N, 3, size, size) RGB float in [0, 1] to (N, 1) logits.

    Raises:
        ValueError: another ``size``, or no channel left.
    """

    def __init__(
        self,
        size: int = 128,
        channel_multiplier: int = 2,
        narrow: float = 1.0,
        stddev_group: int = 4,
        resample_kernel: Sequence[float] = (1, 3, 3, 1),
    ) -> None:
        super().__init__()
        channels = channels_of(size, channel_multiplier, narrow)
        self.input_size = size
        self.stddev_group = stddev_group
        body: list[nn.Module] = [nn.Sequential(EqualConv2d(3, channels[size], 1), BiasedLeakyReLU(channels[size]))]
        body += [
            ResBlock(channels[side], channels[side // 2], resample_kernel) for side in reversed(channels) if side > 4
        ]
        self.conv_body = nn.Sequential(*body)
        last = channels[4]
        self.final_conv = nn.Sequential(EqualConv2d(last + 1, last, 3, padding=1), BiasedLeakyReLU(last))
        self.final_linear = nn.Sequential(EqualLinear(last * 4 * 4, last, activate=True), EqualLinear(last, 1))

    def forward(self, x: Tensor, raw: bool = False) -> Tensor:
        """(N, 3, size, size) in [0, 1], with ``raw`` in [-1, 1], to (N, 1).

        Raises:
            ValueError: images of another size, or a batch that cannot be divided into groups.
        """
        if x.shape[2] != self.input_size or x.shape[3] != self.input_size:
            raise ValueError(
                f'StyleGAN2Critic was built with size={self.input_size} and got images of '
                f'{x.shape[2]}x{x.shape[3]} (height x width); set size to the size it sees.'
            )
        x = self.conv_body(x if raw else x * 2 - 1)
        return self.final_linear(self.final_conv(torch.cat([x, self._deviation(x)], dim=1)).flatten(1))

    def _deviation(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 1, H, W): the deviation over a group, averaged over channels and pixels."""
        num, _, height, width = x.shape
        group = min(num, self.stddev_group)
        if num % group:
            raise ValueError(
                f'StyleGAN2Critic compares images in groups of {group}, into which a batch of {num} cannot be divided: '
                'choose another batch size or stddev_group.'
            )
        variance = x.unflatten(0, (group, num // group)).var(dim=0, correction=0)
        deviation = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3))
        return deviation.repeat(group).view(num, 1, 1, 1).expand(num, 1, height, width)
