"""SphereFace-20, the recogniser of C-Face.

Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017, Table 2, 20 layers.
"""

from __future__ import annotations

from torch import Tensor, nn

from fsr_plugins.archs.prelu import PReLU
from fsr_plugins.archs.recognition.base import Adapt, Recogniser
from fsr_plugins.errors import UserError
from fsr_plugins.registry import ARCH_REGISTRY

#: Channels as multiples of ``num_feat``, and number of residual pairs, of the four stages.
_STAGES = ((1, 1), (2, 2), (4, 4), (8, 1))
#: How the second layers of residual pairs are numbered; layer 1 is the strided one.
_ENDS_OF_PAIRS = ('_3', '_5', '_7', '_9')


@ARCH_REGISTRY.register()
class SphereFace20(Recogniser):
    """20 layers without normalisation: a stage is a stride-2 convolution and residual pairs, each with PReLU.

    The embedding is the 512-d output of the last linear layer, not of unit length. The A-Softmax classifier of the
    training (``fc6`` in published files) is not part of it: see :class:`ASoftmaxHead`.

    Shape: (N, 3, H, W) RGB in [0, 1] to (N, 512); inside 112x96 BGR, ``(255 x - 127.5) / 128``.
    """

    face_size = (112, 96)
    embedding_size = 512
    std = 128 / 255
    channel_order = 'bgr'
    source = "sphere20a_20171020.pth, unpacked from github.com/clcarwin/sphereface_pytorch's model folder"
    heads = ('fc6.',)

    def __init__(self, num_feat: int = 64, adapt: Adapt = 'resize') -> None:
        """
        Args:
            num_feat: channels of the first stage; the others have 2, 4 and 8 times as many. Published weights fit 64.
            adapt: see :class:`Recogniser`.

        Raises:
            UserError: another ``adapt``, or ``num_feat`` below 1.
        """
        super().__init__(adapt)
        if num_feat < 1:
            raise UserError(f"'num_feat' of SphereFace20 is {num_feat}; it must be at least 1.")
        num_in = 3
        for stage, (factor, pairs) in enumerate(_STAGES, start=1):
            width = factor * num_feat
            for layer in range(1, 2 * pairs + 2):
                stride = 2 if layer == 1 else 1
                setattr(self, f'conv{stage}_{layer}', nn.Conv2d(num_in, width, 3, stride, 1))
                setattr(self, f'relu{stage}_{layer}', PReLU(width))
                num_in = width
        self.fc5 = nn.Linear(num_in * 7 * 6, self.embedding_size)
        self._initialise()

    def _initialise(self) -> None:
        """What training from scratch starts from: signals keep their size, and residual pairs begin small.

        Without normalisation both are needed. The strided convolutions and the first of each pair are He's for a PReLU
        of slope 0.25. So embeddings, whose length scales A-Softmax's logits, neither vanish nor explode at any width.
        The second of each pair has a standard deviation of 0.01, as in the published training code.
        """
        for name, parameter in self.named_parameters():
            layer, _, kind = name.rpartition('.')
            if kind == 'bias':
                nn.init.zeros_(parameter)
            elif layer == 'fc5':
                nn.init.xavier_normal_(parameter)
            elif layer.startswith('conv') and layer.endswith(_ENDS_OF_PAIRS):
                nn.init.normal_(parameter, std=0.01)
            elif layer.startswith('conv'):
                nn.init.kaiming_normal_(parameter, a=0.25, nonlinearity='leaky_relu')

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
