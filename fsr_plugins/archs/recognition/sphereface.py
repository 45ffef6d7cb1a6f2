"""SphereFace-20, the recogniser of C-Face.

Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017, Table 2, 20 layers.
"""

from __future__ import annotations

from torch import Tensor, nn

from fsr_plugins.archs.recognition.base import Adapt, Recogniser
from fsr_plugins.registry import ARCH_REGISTRY

#: Channels and number of residual pairs of the four stages.
_STAGES = ((64, 1), (128, 2), (256, 4), (512, 1))


@ARCH_REGISTRY.register()
class SphereFace20(Recogniser):
    """20 layers without normalisation: a stage is a stride-2 convolution and residual pairs, each with PReLU.

    The embedding is the 512-d output of the last linear layer, not of unit length. The A-Softmax classifier of the
    training (``fc6`` in published files) is not part of it.

    Shape: (N, 3, H, W) RGB in [0, 1] to (N, 512); inside 112x96 BGR, ``(255 x - 127.5) / 128``.
    """

    face_size = (112, 96)
    embedding_size = 512
    std = 128 / 255
    channel_order = 'bgr'
    source = "sphere20a_20171020.pth, unpacked from github.com/clcarwin/sphereface_pytorch's model folder"
    heads = ('fc6.',)

    def __init__(self, adapt: Adapt = 'resize') -> None:
        """
        Args:
            adapt: see :class:`Recogniser`.
        """
        super().__init__(adapt)
        num_in = 3
        for stage, (width, pairs) in enumerate(_STAGES, start=1):
            for layer in range(1, 2 * pairs + 2):
                stride = 2 if layer == 1 else 1
                setattr(self, f'conv{stage}_{layer}', nn.Conv2d(num_in, width, 3, stride, 1))
                setattr(self, f'relu{stage}_{layer}', nn.PReLU(width))
                num_in = width
        self.fc5 = nn.Linear(512 * 7 * 6, self.embedding_size)

    def _layer(self, stage: int, layer: int, x: Tensor) -> Tensor:
        return getattr(self, f'relu{stage}_{layer}')(getattr(self, f'conv{stage}_{layer}')(x))

    def embed(self, faces: Tensor) -> Tensor:
        """(N, 3, 112, 96) to (N, 512)."""
        x = faces
        for stage, (_, pairs) in enumerate(_STAGES, start=1):
            x = self._layer(stage, 1, x)
            for first in range(2, 2 * pairs + 2, 2):
                x = x + self._layer(stage, first + 1, self._layer(stage, first, x))
        return self.fc5(x.flatten(1))
