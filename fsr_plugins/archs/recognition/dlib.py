"""The residual network of dlib's face recognition (King 2017), trained by its author on about 3 million faces."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.recognition.base import Adapt, Recogniser
from fsr_plugins.registry import ARCH_REGISTRY

#: Blocks in their order, with the channels of input and output; those that reduce halve the size.
_BLOCKS = (
    *((f'conv32_{number}', 32, 32) for number in (1, 2, 3)),
    ('conv64_down', 32, 64),
    *((f'conv64_{number}', 64, 64) for number in (1, 2, 3)),
    ('conv128_down', 64, 128),
    *((f'conv128_{number}', 128, 128) for number in (1, 2)),
    ('conv256_down', 128, 256),
    *((f'conv256_{number}', 256, 256) for number in (1, 2)),
    ('conv256_down_out', 256, 256),
)


class Filters(nn.Module):
    """A convolution without ``padding`` where it reduces; parameters named as in the published file."""

    def __init__(self, num_in: int, num_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.filters = nn.Parameter(torch.empty(num_out, num_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(num_out))
        nn.init.kaiming_normal_(self.filters)
        self.stride, self.padding = stride, kernel // 2 if stride == 1 else 0

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in, H, W) to (N, num_out, H', W')."""
        return F.conv2d(x, self.filters, self.bias, self.stride, self.padding)


class Scale(nn.Module):
    """A factor and a bias a channel: what batch normalisation has become after training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(channels))
        self.biases = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x * self.weights[:, None, None] + self.biases[:, None, None]


class ConvScale(nn.Module):
    """A convolution, then a factor and a bias a channel."""

    def __init__(self, num_in: int, num_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = Filters(num_in, num_out, kernel, stride)
        self.scale = Scale(num_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in, H, W) to (N, num_out, H', W')."""
        return self.scale(self.conv(x))


class Residual(nn.Module):
    """Two convolutions beside the input; the block that reduces takes the input's means of 2×2 instead.

    What is smaller, in channels or size, is filled up with zeros at its end.
    """

    def __init__(self, num_in: int, num_out: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv1 = ConvScale(num_in, num_out, stride=2 if down else 1)
        self.conv2 = ConvScale(num_out, num_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, num_in, H, W) to (N, num_out, H', W')."""
        out = self.conv2(F.relu(self.conv1(x)))
        if not self.down:
            return F.relu(out + x)
        x = F.avg_pool2d(x, 2)
        (height, width), (rows, columns) = x.shape[2:], out.shape[2:]
        out = F.pad(out, (0, max(0, width - columns), 0, max(0, height - rows)))
        x = F.pad(x, (0, max(0, columns - width), 0, max(0, rows - height), 0, out.shape[1] - x.shape[1]))
        return F.relu(out + x)


@ARCH_REGISTRY.register()
class DlibResNet(Recogniser):
    """dlib's ResNet with 29 convolutions; embeddings of 128 numbers, not of unit length.

    The weights are those that face-api publishes in the npm package ``@vladmandic/face-api`` (MIT), in the layout of
    TensorFlow.js: ``face_recognition_model.bin``, and beside it ``face_recognition_model-weights_manifest.json``.
    ``align: landmarks`` brings faces into dlib's chip with a padding of 0.25.

    Shape: (N, 3, H, W) RGB in [0, 1] to (N, 128); inside 150x150 RGB, ``(255 x - mean) / 256`` with a mean a channel.
    """

    face_size = (150, 150)
    embedding_size = 128
    std = 256 / 255
    source = (
        "face-api's 'face_recognition_model.bin', with 'face_recognition_model-weights_manifest.json' beside it "
        "(folder 'model' of the npm package @vladmandic/face-api 1.7.15)"
    )
    #: Of dlib's mean face, 100 pixels wide within a padding of 25: the middles of the eyes, the tip of the nose and the
    #: corners of the mouth.
    face_points = ((47.55, 46.60), (100.47, 46.60), (74.01, 76.56), (50.41, 103.02), (97.61, 103.02))

    channel_means: Tensor

    def __init__(self, adapt: Adapt = 'resize') -> None:
        """
        Args:
            adapt: see :class:`Recogniser`.
        """
        super().__init__(adapt)
        self.register_buffer(
            'channel_means', torch.tensor([122.782, 117.001, 104.298])[:, None, None] / 255, persistent=False
        )
        self.conv32_down = ConvScale(3, 32, 7, stride=2)
        for name, num_in, num_out in _BLOCKS:
            self.add_module(name, Residual(num_in, num_out, 'down' in name))
        self.fc = nn.Parameter(torch.empty(256, self.embedding_size))
        nn.init.normal_(self.fc, std=256**-0.5)

    def embed(self, faces: Tensor) -> Tensor:
        """(N, 3, 150, 150) to (N, 128)."""
        x = F.max_pool2d(F.relu(self.conv32_down(faces)), 3, 2)
        for name, _, _ in _BLOCKS:
            x = self.get_submodule(name)(x)
        return x.mean(dim=(2, 3)) @ self.fc

    def normalise(self, faces: Tensor) -> Tensor:
        """See :meth:`Recogniser.normalise`; every channel has a mean of its own."""
        return (faces - self.channel_means) / self.std
