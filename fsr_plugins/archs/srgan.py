"""SRGAN's generator (SRResNet) and discriminator.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017, Fig. 4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.prelu import PReLU
from fsr_plugins.registry import ARCH_REGISTRY

#: Channels of the discriminator's convolutions in multiples of ``num_feat``; every second one halves the image.
_WIDTHS = (1, 1, 2, 2, 4, 4, 8, 8)
#: The slope with which a PReLU begins.
SLOPE = 0.25
_LEAK = 0.2


class SRResNetBlock(nn.Module):
    """Two 3x3 convolutions with BN, a PReLU between them, and the input added.

    With BN the convolutions have no bias: it would be taken out again.
    """

    def __init__(self, num_feat: int, use_bn: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=not use_bn)
        self.bn1 = nn.BatchNorm2d(num_feat) if use_bn else nn.Identity()
        self.act = PReLU(num_feat, init=SLOPE)
        self.conv2 = nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=not use_bn)
        self.bn2 = nn.BatchNorm2d(num_feat) if use_bn else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))


class UpsamplingBlock(nn.Module):
    """A 3x3 convolution to four times the channels, a pixel shuffle to twice the size, one PReLU."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_feat, 4 * num_feat, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.act = PReLU(num_feat, init=SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, 2H, 2W)."""
        return self.act(self.shuffle(self.conv(x)))


@ARCH_REGISTRY.register()
class SRGANGenerator(nn.Module):
    """SRGAN's generator; trained with a pixel loss alone it is SRResNet.

    A 9x9 convolution, residual blocks with BN, a 3x3 convolution with BN and a skip around all of them, log2(scale)
    doublings, a 9x9 convolution. PReLUs have a slope for each channel.

    SRGAN takes LR in [0, 1] and HR in [-1, 1]; here HR is in [0, 1] as everywhere in this toolkit. There is no
    activation at the end, as in the paper's figure, so values may lie outside.

    He's weights for PReLU, no bias. The four convolution kernels behind one pixel of a doubling begin alike (Aitken et
    al. 2017), so it begins as nearest-neighbour enlargement without a checkerboard. The last convolution begins with a
    tenth of the weights and the bias 0.5, the middle of the range, which in [-1, 1] is 0.

    Args:
        scale: 2, 4 or 8.
        num_feat: channels.
        num_block: residual blocks.
        num_in_ch, num_out_ch: image channels.
        use_bn: BN in the body. Without it, as EDSR has found, short trainings of small batches go better.
        add_bicubic: the network gives what is added to the bicubic enlargement, beginning with little, instead of the
            whole image.

    Shape: (N, num_in_ch, h, w) RGB in [0, 1] to (N, num_out_ch, scale * h, scale * w).

    Raises:
        ValueError: another ``scale``.
    """

    def __init__(
        self,
        scale: int = 4,
        num_feat: int = 64,
        num_block: int = 16,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        use_bn: bool = True,
        add_bicubic: bool = False,
    ) -> None:
        super().__init__()
        if scale not in (2, 4, 8):
            raise ValueError(f'SRGANGenerator enlarges by 2, 4 or 8, not by scale={scale}.')
        self.scale = scale
        self.add_bicubic = add_bicubic
        self.head = nn.Sequential(nn.Conv2d(num_in_ch, num_feat, 9, padding=4), PReLU(num_feat, init=SLOPE))
        self.body = nn.Sequential(
            *(SRResNetBlock(num_feat, use_bn) for _ in range(num_block)),
            nn.Conv2d(num_feat, num_feat, 3, padding=1, bias=not use_bn),
            nn.BatchNorm2d(num_feat) if use_bn else nn.Identity(),
        )
        doublings = [UpsamplingBlock(num_feat) for _ in range(scale.bit_length() - 1)]
        self.up = nn.Sequential(*doublings)
        self.tail = nn.Conv2d(num_feat, num_out_ch, 9, padding=4)
        initialise(self, SLOPE)
        with torch.no_grad():
            for doubling in doublings:
                weight = doubling.conv.weight
                weight.copy_(weight[::4].repeat_interleave(4, dim=0))
            assert self.tail.bias is not None
            self.tail.weight.mul_(0.1)
            self.tail.bias.fill_(0.0 if add_bicubic else 0.5)
            for module in () if use_bn else self.body:
                if isinstance(module, SRResNetBlock):
                    module.conv2.weight.mul_(0.1)  # what BN would hold back: sixteen sums of He's would grow too large

    def forward(self, lq: Tensor) -> Tensor:
        """(N, num_in_ch, h, w) to (N, num_out_ch, scale * h, scale * w)."""
        feature = self.head(lq)
        sr = self.tail(self.up(feature + self.body(feature)))
        if not self.add_bicubic:
            return sr
        return sr + F.interpolate(lq, scale_factor=self.scale, mode='bicubic', align_corners=False)


@ARCH_REGISTRY.register()
class SRGANDiscriminator(nn.Module):
    """SRGAN's discriminator, for square images of any one size that is a multiple of 16.

    Eight 3x3 convolutions of num_feat times 1, 1, 2, 2, 4, 4, 8, 8 channels, every second one with stride 2; BN after
    all but the first; a hidden linear layer; LeakyReLU 0.2 throughout. The output is a logit: the paper's sigmoid is
    part of ``GANLoss``. He's weights for LeakyReLU, no bias.

    Args:
        num_feat: channels of the first convolution.
        input_size: height and width of the images in pixels.
        num_fc: width of the hidden linear layer.
        num_in_ch: image channels.

    Shape: (N, num_in_ch, input_size, input_size) float RGB in [0, 1] to (N, 1) logits.

    Raises:
        ValueError: an ``input_size`` that is no multiple of 16.
    """

    def __init__(self, num_feat: int = 64, input_size: int = 128, num_fc: int = 1024, num_in_ch: int = 3) -> None:
        super().__init__()
        if input_size < 16 or input_size % 16:
            raise ValueError(f'SRGANDiscriminator needs an input_size that is a multiple of 16, not {input_size}.')
        self.input_size = input_size
        layers: list[nn.Module] = []
        num_in = num_in_ch
        for place, times in enumerate(_WIDTHS):
            num_out = times * num_feat
            layers.append(nn.Conv2d(num_in, num_out, 3, stride=1 + place % 2, padding=1, bias=place == 0))
            layers += [nn.BatchNorm2d(num_out)] if place else []
            layers.append(nn.LeakyReLU(_LEAK))
            num_in = num_out
        self.features = nn.Sequential(*layers)
        side = input_size // 16
        self.fc = nn.Linear(num_in * side * side, num_fc)
        self.act = nn.LeakyReLU(_LEAK)
        self.logit = nn.Linear(num_fc, 1)
        initialise(self, _LEAK)

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in_ch, input_size, input_size) to (N, 1).

        Raises:
            ValueError: the images are of another size than the network was built for.
        """
        if x.shape[2] != self.input_size or x.shape[3] != self.input_size:
            raise ValueError(
                f'SRGANDiscriminator was built with input_size={self.input_size} and got images of '
                f'{x.shape[2]}x{x.shape[3]} (height x width); set input_size to the size it sees.'
            )
        return self.logit(self.act(self.fc(self.features(x).flatten(1))))


def initialise(net: nn.Module, slope: float) -> None:
    """He's normal weights for a (leaky) ReLU of that slope, no bias; BN keeps scale 1 and shift 0."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=slope)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
