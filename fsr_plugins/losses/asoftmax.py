"""A-Softmax, the loss that SphereFace is trained with (``L_FR`` of C-Face)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.recognition import ASoftmaxLogits
from fsr_plugins.errors import UserError
from fsr_plugins.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class ASoftmaxLoss(nn.Module):
    """Cross entropy of :class:`ASoftmaxHead`'s logits, the own class's drawn from plain to with margin over time.

    Liu et al., "SphereFace", CVPR 2017, Eq. 7, with the annealing of its appendix and the numbers of the published
    training code: the own logit is ``(λ ‖x‖ cos θ + ‖x‖ ψ(θ)) / (1 + λ)``, λ falling as :meth:`annealing` says.
    """

    def __init__(
        self,
        lambda_start: float = 1500.0,
        lambda_min: float = 5.0,
        lambda_decay: float = 0.1,
        loss_weight: float = 1.0,
    ) -> None:
        """
        Args:
            lambda_start, lambda_min, lambda_decay: see :meth:`annealing`; none is negative.
            loss_weight: factor of the result.

        Raises:
            UserError: a negative number.
        """
        super().__init__()
        numbers = {'lambda_start': lambda_start, 'lambda_min': lambda_min, 'lambda_decay': lambda_decay}
        for name, value in numbers.items():
            if value < 0:
                raise UserError(f"'{name}' of ASoftmaxLoss is {value}; it must not be negative.")
        self.lambda_start = lambda_start
        self.lambda_min = lambda_min
        self.lambda_decay = lambda_decay
        self.loss_weight = loss_weight

    def annealing(self, current_iter: int) -> float:
        """λ, the weight of the plain logit: ``max(lambda_min, lambda_start / (1 + lambda_decay · current_iter))``."""
        return max(self.lambda_min, self.lambda_start / (1 + self.lambda_decay * current_iter))

    def forward(self, logits: ASoftmaxLogits, labels: Tensor, current_iter: int) -> Tensor:
        """The loss, a scalar.

        Args:
            logits: of :class:`ASoftmaxHead`, for the same labels.
            labels: (N,) int64 in [0, C).
            current_iter: the iteration, from 1.
        """
        plain = self.annealing(current_iter)
        places = labels.unsqueeze(1)
        own = logits.cosine.gather(1, places)
        drawn = (plain * own + logits.margin.unsqueeze(1)) / (1 + plain)
        return self.loss_weight * F.cross_entropy(logits.cosine.scatter(1, places, drawn), labels)
