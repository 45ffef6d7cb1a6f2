"""Whether two faces are the same person's, by a frozen recogniser."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.archs.recognition import Recogniser, make_recogniser, recogniser_factory, recogniser_weight
from fsr_plugins.errors import UserError
from fsr_plugins.losses.frozen import LossByNetwork
from fsr_plugins.registry import LOSS_REGISTRY
from fsr_plugins.values import ReadBlock
from fsr_plugins.weights import WeightFile, locate


def js_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Jensen–Shannon divergence, natural logarithm, of the softmax of two batches of embeddings (ISR-KD, Eq. 7).

    Computed in float64: embeddings of unit length make nearly even distributions, whose divergence of some 1e-5
    float32 would lose in cancellation.

    Args:
        first, second: (N, D), any range.

    Returns:
        (N,) float64, from 0 to log 2.
    """
    log_p, log_q = first.double().log_softmax(dim=1), second.double().log_softmax(dim=1)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2.0)
    return 0.5 * (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(dim=1)


def angular_distance(first: Tensor, second: Tensor) -> Tensor:
    """Squared distance of embeddings brought to unit length, ``L_SI`` of C-Face: ``2 - 2 cos`` of their angle.

    Args:
        first, second: (N, D).

    Returns:
        (N,), from 0 to 4.
    """
    return (F.normalize(first) - F.normalize(second)).square().sum(dim=1)


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {'js': js_divergence, 'angle': angular_distance}


@LOSS_REGISTRY.register()
class IdentityLoss(LossByNetwork[Recogniser]):
    """Distance of a recogniser's embeddings of two images, mean over the batch; ``L_id`` of ISR-KD (Eq. 7).

    The recogniser is frozen and no submodule: it is neither among the loss's parameters nor in its state dict.
    Embeddings are computed in float32, also under autocast. Of embeddings of unit length (FaceNet, ArcFace) the softmax
    is nearly even over D = 512, so that ``js`` stays below about ``1 / (2 D)``.
    """

    #: Arguments that are blocks of another kind than losses: what finds the target of their key ``type``.
    nested: ClassVar[Mapping[str, Callable[[str], object]]] = {'recogniser': recogniser_factory}

    def __init__(self, recogniser: ReadBlock, mode: Literal['js', 'angle'] = 'js', loss_weight: float = 1.0) -> None:
        """
        Args:
            recogniser: block, ``{type: FaceNet, path: …, adapt: resize}``; or ArcFace, MobileFaceNet, SphereFace20.
            mode: ``'js'``, :func:`js_divergence`, or ``'angle'``, :func:`angular_distance`.
            loss_weight: factor of the result.

        Raises:
            UserError: an unknown mode, a faulty block, weights that are absent or of another network.
        """
        if mode not in DISTANCES:
            raise UserError(f"'mode' of IdentityLoss is '{mode}': choose one of {', '.join(DISTANCES)}.")
        super().__init__(make_recogniser(recogniser))
        self.distance = DISTANCES[mode]
        self.loss_weight = loss_weight

    @staticmethod
    def requirements(recogniser: ReadBlock, **others: object) -> list[WeightFile]:
        """The recogniser's weights, fetched at once where they have to be.

        Raises:
            UserError: they are absent; the message says how to train without them.
        """
        try:
            weight = recogniser_weight(recogniser)
            return [replace(weight, path=str(locate(weight)))]
        except UserError as error:
            raise UserError(f'{error} Or leave the loss out (`id_opt: null`): training goes on without it.') from error

    @property
    def recogniser(self) -> Recogniser:
        """The frozen network."""
        return self._held[0]

    def forward(self, sr: Tensor, gt: Tensor) -> Tensor:
        """The loss, a scalar of the recogniser's type, float32 unless the loss was converted.

        Args:
            sr, gt: (N, 3, H, W) RGB float in [0, 1]; the sizes may differ. ``gt`` gets no gradient.
        """
        dtype = next(self.recogniser.parameters()).dtype
        with torch.autocast(sr.device.type, enabled=False):
            with torch.no_grad():
                wanted = self.recogniser(gt.to(dtype))
            distances = self.distance(self.recogniser(sr.to(dtype)), wanted)
            return self.loss_weight * distances.mean().to(dtype)
