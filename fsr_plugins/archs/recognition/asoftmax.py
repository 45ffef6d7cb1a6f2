"""The angular margin that SphereFace is trained with.

Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017, Sec. 3.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.errors import UserError
from fsr_plugins.registry import ARCH_REGISTRY


class ASoftmaxLogits(NamedTuple):
    """What the head says of a batch.

    Attributes:
        cosine: (N, C), ``‖x‖ cos θ`` of the embedding x and every class's weight.
        margin: (N,), ``‖x‖ ψ(θ_y)`` of the embedding's own class y.
    """

    cosine: Tensor
    margin: Tensor


def psi(cosine: Tensor, margin: int) -> Tensor:
    """``(-1)^k cos(mθ) - 2k`` for θ in [kπ/m, (k+1)π/m] (Eq. 7): cos θ made steeper, falling over the whole of [0, π].

    cos(mθ) is Chebyshev's polynomial of cos θ, and k is counted from the borders of the segments. So the gradient has
    no arc cosine, whose slope is infinite at 0 and π.

    Args:
        cosine: cos θ, any shape, in [-1, 1].
        margin: m, from 1.

    Returns:
        The same shape, from 1 - 2m to 1.
    """
    before, multiple = torch.ones_like(cosine), cosine
    for _ in range(margin - 1):
        before, multiple = multiple, 2 * cosine * multiple - before
    k = torch.zeros_like(cosine)
    for number in range(1, margin):
        k += cosine.detach() < math.cos(math.pi * number / margin)
    return (1 - 2 * (k % 2)) * multiple - 2 * k


@ARCH_REGISTRY.register()
class ASoftmaxHead(nn.Module):
    """A-Softmax's classifier on top of a recogniser: classes are directions, and the own one is held to a margin.

    Its columns are taken at unit length, and there is no bias. Computed in float32 at least, also under autocast.
    """

    def __init__(self, num_classes: int = 10575, embedding_size: int = 512, margin: int = 4) -> None:
        """
        Args:
            num_classes: C, the number of people trained on; CASIA-WebFace's unless said otherwise.
            embedding_size: D, the recogniser's.
            margin: the paper's m; 1 leaves the plain softmax of cosines.

        Raises:
            UserError: a number below 1.
        """
        super().__init__()
        for name, value in (('num_classes', num_classes), ('embedding_size', embedding_size), ('margin', margin)):
            if value < 1:
                raise UserError(f"'{name}' of ASoftmaxHead is {value}; it must be at least 1.")
        self.num_classes = num_classes
        self.embedding_size = embedding_size
        self.margin = margin
        # Normal numbers give directions that are even over the sphere.
        self.weight = nn.Parameter(F.normalize(torch.randn(embedding_size, num_classes), dim=0))

    def forward(self, embeddings: Tensor, labels: Tensor) -> ASoftmaxLogits:
        """Logits of every class, and that of the own class with the margin.

        Args:
            embeddings: (N, D), of any length.
            labels: (N,) int64 in [0, C). Others are an error of torch's, on a GPU one that ends the process: compare
                the data with ``num_classes`` beforehand.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            x = embeddings.to(torch.promote_types(embeddings.dtype, self.weight.dtype))
            cosine = x @ F.normalize(self.weight, dim=0)
            length = x.norm(dim=1)
            own = cosine.gather(1, labels.unsqueeze(1)).squeeze(1)
            # Rounding may lift a cosine over 1.
            angle = (own / length.clamp_min(torch.finfo(x.dtype).tiny)).clamp(-1, 1)
            return ASoftmaxLogits(cosine, length * psi(angle, self.margin))
