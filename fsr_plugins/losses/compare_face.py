"""C-Face's loss of identity: SR against HR, and against another face of the same person."""

from __future__ import annotations

from torch import Tensor, nn

from fsr_plugins.losses.identity import angular_distance
from fsr_plugins.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class CompareFaceLoss(nn.Module):
    """L_CF on embeddings (Eq. 6), mean over the batch::

        gamma_1 L_SI(SR, HR) + gamma_2 max(L_SI(SR, C) - L_SI(HR, C), 0)

    ``L_SI`` (Eq. 4) is :func:`~fsr_plugins.losses.identity.angular_distance`, from 0 to 4. A face without a compare
    face C has the first term alone.

    Args:
        gamma_1: weight of the distance to HR.
        gamma_2: weight of the distance to the compare face.
        use_lower_bound: HR's own distance to the compare face is the least that is asked for; without it, Eq. 5.
    """

    def __init__(self, gamma_1: float = 0.05, gamma_2: float = 0.1, use_lower_bound: bool = True) -> None:
        super().__init__()
        self.gamma_1 = gamma_1
        self.gamma_2 = gamma_2
        self.use_lower_bound = use_lower_bound

    def forward(
        self, sr: Tensor, hr: Tensor, compare: Tensor | None = None, has_compare: Tensor | None = None
    ) -> Tensor:
        """The loss, a scalar.

        Args:
            sr, hr, compare: (N, D) embeddings of any length but 0; only ``sr`` gets a gradient. Without ``compare`` the
                loss is ``gamma_1 L_SI(SR, HR)``.
            has_compare: (N,) bool, where ``compare`` counts; None: everywhere.
        """
        hr = hr.detach()
        loss = self.gamma_1 * angular_distance(sr, hr).mean()
        if compare is None:
            return loss
        compare = compare.detach()
        distance = angular_distance(sr, compare)
        if self.use_lower_bound:
            distance = (distance - angular_distance(hr, compare)).relu()
        if has_compare is not None:
            distance = distance.where(has_compare, 0.0)
        return loss + self.gamma_2 * distance.mean()
