"""What a frozen teacher tells a student: its images, and its features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.errors import UserError
from fsr_plugins.registry import LOSS_REGISTRY

Criterion = Literal['l1', 'mse']
KDSchedule = Literal['constant', 'kdfsrnet']

_CRITERIA: dict[str, Callable[[Tensor, Tensor], Tensor]] = {'l1': F.l1_loss, 'mse': F.mse_loss}


@LOSS_REGISTRY.register()
class DistillationLoss(nn.Module):
    """``response_weight · d(SR_student, SR_teacher) + feature_weight · (1/n) Σ_i d(F_student_i, F_teacher_i)``.

    With ``l1`` it is PKDN's L_TS and L_FS (Eq. 4 and 5 with the weights of Eq. 2), with ``mse`` ISR-KD's Eq. 2.

    The schedule ``kdfsrnet`` is that of KDFSRNet, the base work of PKDN: in epoch e, from 0, features weigh
    ``feature_weight · (epochs − e) / epochs``, and from epoch ``epochs`` on the teacher is not asked any more.
    """

    def __init__(
        self,
        criterion: Criterion = 'l1',
        response_weight: float = 1.0,
        feature_weight: float = 0.0,
        schedule: KDSchedule = 'constant',
        epochs: int = 10,
        iters_per_epoch: int | None = None,
    ) -> None:
        """
        Args:
            criterion: d, a mean over all elements.
            response_weight: of the images; 0 for none.
            feature_weight: of the features; 0 for none.
            schedule: how the weights change.
            epochs: of ``kdfsrnet``: how long it distils.
            iters_per_epoch: of ``kdfsrnet``: iterations that count as an epoch.

        Raises:
            UserError: an unknown criterion or schedule, a negative weight, or ``kdfsrnet`` without its epochs.
        """
        super().__init__()
        for key, value, known in (('criterion', criterion, Criterion), ('schedule', schedule, KDSchedule)):
            if value not in get_args(known):
                raise UserError(f"'{key}' of DistillationLoss is '{value}': choose {' or '.join(get_args(known))}.")
        if min(response_weight, feature_weight) < 0:
            raise UserError(f'DistillationLoss: weights of {response_weight} and {feature_weight}; give 0 or more.')
        if schedule == 'kdfsrnet' and (epochs < 1 or not iters_per_epoch or iters_per_epoch < 1):
            raise UserError("DistillationLoss: schedule 'kdfsrnet' needs 'epochs' and 'iters_per_epoch' of at least 1.")
        self.distance = _CRITERIA[criterion]
        self.response_weight = response_weight
        self.feature_weight = feature_weight
        self.schedule = schedule
        self.epochs = epochs
        self.iters_per_epoch = iters_per_epoch

    def weights(self, current_iter: int) -> tuple[float, float]:
        """Weights of images and of features in an iteration, counted from 1."""
        if self.schedule == 'constant' or self.iters_per_epoch is None:
            return self.response_weight, self.feature_weight
        left = self.epochs - (current_iter - 1) // self.iters_per_epoch
        if left <= 0:
            return 0.0, 0.0
        return self.response_weight, self.feature_weight * left / self.epochs

    def active(self, current_iter: int) -> bool:
        """Whether the teacher has anything to say in this iteration; where not, its forward pass can be left out."""
        return any(self.weights(current_iter))

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        student_features: Sequence[Tensor],
        teacher_features: Sequence[Tensor],
        current_iter: int,
    ) -> dict[str, Tensor]:
        """
        Args:
            student: the student's images, NCHW.
            teacher: the teacher's, alike; no gradient goes there, nor into its features.
            student_features: n tensors.
            teacher_features: their n counterparts, of the same shapes.
            current_iter: the iteration, from 1.

        Returns:
            ``l_response`` and ``l_feature``, weighted; a term of weight 0 is left out.

        Raises:
            ValueError: features are wanted and there are none, or not as many on both sides.
        """
        response, feature = self.weights(current_iter)
        losses: dict[str, Tensor] = {}
        if response:
            losses['l_response'] = response * self.distance(student, teacher.detach())
        if feature:
            if not student_features or len(student_features) != len(teacher_features):
                raise ValueError(f'{len(student_features)} features meet {len(teacher_features)} of the teacher.')
            pairs = zip(student_features, teacher_features, strict=True)
            losses['l_feature'] = feature * torch.stack([self.distance(s, t.detach()) for s, t in pairs]).mean()
        return losses
