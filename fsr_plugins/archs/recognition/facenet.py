"""Inception-ResNet-v1, the network known as FaceNet.

Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning", AAAI 2017,
Fig. 10 to 14; with a 512-d embedding as trained by D. Sandberg and published for PyTorch by facenet-pytorch, whose
parameter names it keeps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.recognition.base import Adapt, Recogniser
from fsr_plugins.registry import ARCH_REGISTRY
from fsr_plugins.weights import WeightFile

Size = int | tuple[int, int]


class ConvNormReLU(nn.Module):
    """A convolution without bias, batch normalisation with TensorFlow's epsilon, ReLU."""

    def __init__(self, num_in: int, num_out: int, kernel: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_in, num_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(num_out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in, H, W) to (N, num_out, H', W')."""
        return F.relu(self.bn(self.conv(x)))


class Branches(nn.Module):
    """Parallel branches of one input, their outputs one after another along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        for index, branch in enumerate(branches):
            self.add_module(f'branch{index}', branch)
        self.number = len(branches)

    def branches(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        return torch.cat([getattr(self, f'branch{index}')(x) for index in range(self.number)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """See :meth:`branches`."""
        return self.branches(x)


class InceptionResidual(Branches):
    """Branches, a 1x1 convolution back to ``channels``, times ``scale``, added to the input; ReLU unless ``linear``."""

    def __init__(
        self, channels: int, num_hidden: int, scale: float, *branches: nn.Module, linear: bool = False
    ) -> None:
        super().__init__(*branches)
        self.conv2d = nn.Conv2d(num_hidden, channels, 1)
        self.scale = scale
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        out = x + self.scale * self.conv2d(self.branches(x))
        return out if self.linear else F.relu(out)


def block_a() -> InceptionResidual:
    """Inception-ResNet-A of 256 channels (35x35 at full size, 17x17 here)."""
    return InceptionResidual(
        256,
        96,
        0.17,
        ConvNormReLU(256, 32, 1),
        nn.Sequential(ConvNormReLU(256, 32, 1), ConvNormReLU(32, 32, 3, padding=1)),
        nn.Sequential(ConvNormReLU(256, 32, 1), ConvNormReLU(32, 32, 3, padding=1), ConvNormReLU(32, 32, 3, padding=1)),
    )


def block_b() -> InceptionResidual:
    """Inception-ResNet-B of 896 channels (17x17 at full size, 8x8 here)."""
    return InceptionResidual(
        896,
        256,
        0.10,
        ConvNormReLU(896, 128, 1),
        nn.Sequential(
            ConvNormReLU(896, 128, 1),
            ConvNormReLU(128, 128, (1, 7), padding=(0, 3)),
            ConvNormReLU(128, 128, (7, 1), padding=(3, 0)),
        ),
    )


def block_c(scale: float = 0.20, linear: bool = False) -> InceptionResidual:
    """Inception-ResNet-C of 1792 channels (8x8 at full size, 3x3 here)."""
    return InceptionResidual(
        1792,
        384,
        scale,
        ConvNormReLU(1792, 192, 1),
        nn.Sequential(
            ConvNormReLU(1792, 192, 1),
            ConvNormReLU(192, 192, (1, 3), padding=(0, 1)),
            ConvNormReLU(192, 192, (3, 1), padding=(1, 0)),
        ),
        linear=linear,
    )


def reduction_a() -> Branches:
    """Reduction-A, 256 to 384 + 256 + 256 = 896 channels, half the size."""
    return Branches(
        ConvNormReLU(256, 384, 3, stride=2),
        nn.Sequential(
            ConvNormReLU(256, 192, 1), ConvNormReLU(192, 192, 3, padding=1), ConvNormReLU(192, 256, 3, stride=2)
        ),
        nn.MaxPool2d(3, stride=2),
    )


def reduction_b() -> Branches:
    """Reduction-B, 896 to 384 + 256 + 256 + 896 = 1792 channels, half the size."""
    return Branches(
        nn.Sequential(ConvNormReLU(896, 256, 1), ConvNormReLU(256, 384, 3, stride=2)),
        nn.Sequential(ConvNormReLU(896, 256, 1), ConvNormReLU(256, 256, 3, stride=2)),
        nn.Sequential(
            ConvNormReLU(896, 256, 1), ConvNormReLU(256, 256, 3, padding=1), ConvNormReLU(256, 256, 3, stride=2)
        ),
        nn.MaxPool2d(3, stride=2),
    )


@ARCH_REGISTRY.register()
class FaceNet(Recogniser):
    """Inception-ResNet-v1 with a 512-d embedding of unit length; 23.5 million parameters without the classifier.

    The published weights were trained on VGGFace2.

    Shape: (N, 3, H, W) RGB in [0, 1] to (N, 512); inside 160x160 RGB, ``(255 x - 127.5) / 128``.
    """

    face_size = (160, 160)
    embedding_size = 512
    std = 128 / 255
    published = WeightFile(
        'FaceNet',
        'https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt',
        '281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b',
        '20180402-114759-vggface2.pt',
    )
    heads = ('logits.',)

    def __init__(self, adapt: Adapt = 'resize') -> None:
        """
        Args:
            adapt: see :class:`Recogniser`.
        """
        super().__init__(adapt)
        self.conv2d_1a = ConvNormReLU(3, 32, 3, stride=2)
        self.conv2d_2a = ConvNormReLU(32, 32, 3)
        self.conv2d_2b = ConvNormReLU(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = ConvNormReLU(64, 80, 1)
        self.conv2d_4a = ConvNormReLU(80, 192, 3)
        self.conv2d_4b = ConvNormReLU(192, 256, 3, stride=2)
        self.repeat_1 = nn.Sequential(*(block_a() for _ in range(5)))
        self.mixed_6a = reduction_a()
        self.repeat_2 = nn.Sequential(*(block_b() for _ in range(10)))
        self.mixed_7a = reduction_b()
        self.repeat_3 = nn.Sequential(*(block_c() for _ in range(5)))
        self.block8 = block_c(scale=1.0, linear=True)
        self.dropout = nn.Dropout(0.6)
        self.last_linear = nn.Linear(1792, self.embedding_size, bias=False)
        self.last_bn = nn.BatchNorm1d(self.embedding_size, eps=1e-3)

    def embed(self, faces: Tensor) -> Tensor:
        """(N, 3, 160, 160) to (N, 512) of unit length."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(faces)))
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(x))))
        x = self.repeat_2(self.mixed_6a(self.repeat_1(x)))
        x = self.block8(self.repeat_3(self.mixed_7a(x)))
        x = self.dropout(x.mean(dim=(2, 3)))
        return F.normalize(self.last_bn(self.last_linear(x)))
