"""The ArcFace recogniser that facexlib publishes.

Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, with an SE-ResNet-50 of
"improved residual" units.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.archs.recognition.base import Adapt, Recogniser
from fsr_plugins.registry import ARCH_REGISTRY
from fsr_plugins.weights import WeightFile


@ARCH_REGISTRY.register()
class ArcFace(Recogniser):
    """facexlib's ``Backbone(50, mode='ir_se')`` under the toolkit's interface; embeddings of unit length.

    The published weights were trained on images as OpenCV reads them, hence BGR.

    Shape: (N, 3, H, W) RGB in [0, 1] to (N, 512); inside 112x112 BGR in [-1, 1].
    """

    face_size = (112, 112)
    embedding_size = 512
    channel_order = 'bgr'
    published = WeightFile(
        'ArcFace',
        'https://github.com/xinntao/facexlib/releases/download/v0.1.0/recognition_arcface_ir_se50.pth',
        'a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28',
        'recognition_arcface_ir_se50.pth',
    )

    def __init__(self, adapt: Adapt = 'resize') -> None:
        """
        Args:
            adapt: see :class:`Recogniser`.
        """
        super().__init__(adapt)
        from facexlib.recognition.arcface_arch import Backbone

        backbone = Backbone(num_layers=50, drop_ratio=0.6, mode='ir_se')
        # Its three parts rather than itself: their names are then those of the published file.
        self.input_layer = backbone.input_layer
        self.body = backbone.body
        self.output_layer = backbone.output_layer

    def embed(self, faces: Tensor) -> Tensor:
        """(N, 3, 112, 112) to (N, 512) of unit length."""
        return F.normalize(self.output_layer(self.body(self.input_layer(faces))))
