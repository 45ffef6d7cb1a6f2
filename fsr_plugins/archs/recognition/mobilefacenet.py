"""MobileFaceNet, a recogniser of a million parameters.

Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices", 2018, Table 1.
"""

from __future__ import annotations

from torch import Tensor, nn

from fsr_plugins.archs.prelu import PReLU
from fsr_plugins.archs.recognition.base import Adapt, Recogniser
from fsr_plugins.registry import ARCH_REGISTRY
from fsr_plugins.weights import WeightFile

#: Expansion, channels, repetitions and first stride of the bottlenecks (the paper's t, c, n, s).
_BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class ConvNorm(nn.Module):
    """A convolution without bias, batch normalisation and, unless ``linear``, a PReLU."""

    def __init__(
        self,
        num_in: int,
        num_out: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_in, num_out, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(num_out)
        self.prelu = nn.Identity() if linear else PReLU(num_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in, H, W) to (N, num_out, H', W')."""
        return self.prelu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """MobileNetV2's inverted residual with PReLU: 1x1 up, depthwise 3x3, 1x1 down; a skip where the shape is kept."""

    def __init__(self, num_in: int, num_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.skips = stride == 1 and num_in == num_out
        width = num_in * expansion
        self.conv = nn.Sequential(
            nn.Conv2d(num_in, width, 1, bias=False),
            nn.BatchNorm2d(width),
            PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            PReLU(width),
            nn.Conv2d(width, num_out, 1, bias=False),
            nn.BatchNorm2d(num_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in, H, W) to (N, num_out, ceil(H / stride), ceil(W / stride))."""
        return x + self.conv(x) if self.skips else self.conv(x)


@ARCH_REGISTRY.register()
class MobileFaceNet(Recogniser):
    """Bottlenecks, then a depthwise convolution over the whole 7x6 grid in place of pooling; 128-d, not of unit length.

    The published weights were trained with ArcFace on CASIA-WebFace.

    Shape: (N, 3, H, W) RGB in [0, 1] to (N, 128); inside 112x96 RGB, ``(255 x - 127.5) / 128``.
    """

    face_size = (112, 96)
    embedding_size = 128
    std = 128 / 255
    published = WeightFile(
        'MobileFaceNet',
        'https://raw.githubusercontent.com/Xiaoccer/MobileFaceNet_Pytorch/master/model/best/068.ckpt',
        'e839247cdbdfc023fb7cadeaf53a4549d50c8fc24ad154c02e35920ea8910d99',
        'mobilefacenet_casia.ckpt',
    )

    def __init__(self, adapt: Adapt = 'resize') -> None:
        """
        Args:
            adapt: see :class:`Recogniser`.
        """
        super().__init__(adapt)
        self.conv1 = ConvNorm(3, 64, 3, stride=2, padding=1)
        self.dw_conv1 = ConvNorm(64, 64, 3, padding=1, groups=64)
        blocks: list[nn.Module] = []
        num_in = 64
        for expansion, num_out, repetitions, first_stride in _BOTTLENECKS:
            for index in range(repetitions):
                blocks.append(Bottleneck(num_in, num_out, first_stride if index == 0 else 1, expansion))
                num_in = num_out
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = ConvNorm(128, 512, 1)
        self.linear7 = ConvNorm(512, 512, (7, 6), groups=512, linear=True)
        self.linear1 = ConvNorm(512, self.embedding_size, 1, linear=True)

    def embed(self, faces: Tensor) -> Tensor:
        """(N, 3, 112, 96) to (N, 128)."""
        x = self.blocks(self.dw_conv1(self.conv1(faces)))
        return self.linear1(self.linear7(self.conv2(x))).flatten(1)
