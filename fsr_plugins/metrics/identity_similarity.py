"""Whether a face stays the same person's: the cosine of embeddings of result and HR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from fsr_plugins.archs.recognition import recogniser_factory
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import BatchMeta, Metric, all_reduce_sum, check_pair
from fsr_plugins.metrics.recogniser import (
    Align,
    EvaluationRecogniser,
    RecogniserLike,
    embedding,
    recogniser_requirements,
)
from fsr_plugins.registry import METRIC_REGISTRY
from fsr_plugins.weights import WeightFile


@METRIC_REGISTRY.register()
class IdentitySimilarity(Metric):
    """Cosine of an evaluation recogniser's embeddings of result and reference, from -1 to 1, mean over the faces.

    Of aligned faces both images are aligned by the same landmarks, those of HR. Faces that cannot be aligned are left
    out of the mean and counted as ``missing``.
    """

    better = 'higher'
    needs_gt = True

    #: Arguments that are blocks of another kind than metrics: what finds the target of their key ``type``.
    nested: ClassVar[Mapping[str, Callable[[str], object]]] = {'recogniser': recogniser_factory}

    def __init__(self, recogniser: RecogniserLike, align: Align = 'none', trained_with: bool = False) -> None:
        """
        Args:
            recogniser: see :class:`fsr_plugins.metrics.recogniser.EvaluationRecogniser`.
            align: how faces are brought into the recogniser's input, see ``EvaluationRecogniser``.
            trained_with: says that the use of the recogniser in training is known; read by preflight.

        Raises:
            UserError: see ``EvaluationRecogniser``.
        """
        self.recogniser = EvaluationRecogniser(recogniser, align)
        self.trained_with = trained_with
        super().__init__(f'cosine, {self.recogniser.name}, align {align}')
        self._reset()

    def _reset(self) -> None:
        #: Sum of the cosines, faces compared, faces not: on the device, so that nothing waits for it.
        self._totals: Tensor | None = None

    @classmethod
    def requirements(cls, recogniser: RecogniserLike = None, **others: object) -> list[WeightFile]:
        """See :meth:`fsr_plugins.metrics.base.Metric.requirements`."""
        return recogniser_requirements(recogniser)

    @torch.no_grad()
    def update(self, sr: Tensor, gt: Tensor | None, meta: BatchMeta) -> None:
        """See :meth:`fsr_plugins.metrics.base.Metric.update`; raises as ``EvaluationRecogniser.embed`` too."""
        check_pair(sr, gt, 'identity', meta)
        assert gt is not None  # by check_pair
        reference = embedding(self.recogniser, gt, 'HR', meta)
        cosine = (embedding(self.recogniser, sr, meta.get('net'), meta) * reference).sum(dim=1)
        self.last = {'identity': cosine}
        compared = cosine.isfinite()
        totals = torch.stack([cosine.where(compared, 0).sum(dtype=torch.float64), compared.sum(), (~compared).sum()])
        self._totals = totals if self._totals is None else self._totals + totals

    def compute(self) -> dict[str, float]:
        """See :meth:`fsr_plugins.metrics.base.Metric.compute`.

        Returns:
            ``identity``, the mean cosine, and ``missing``, the number of faces that could not be compared.

        Raises:
            UserError: no face, or none that could be compared.
        """
        totals = torch.zeros(3, dtype=torch.float64) if self._totals is None else self._totals
        total, compared, missing = all_reduce_sum(totals).tolist()
        self._reset()
        if not compared:
            raise UserError(
                f"The metric 'identity' could compare none of {missing:.0f} faces: the set is empty, or no face has "
                'landmarks to align it by.'
            )
        return {'identity': total / compared, 'missing': int(missing)}
