"""Whether a face stays the same person's: the cosine of embeddings of result and HR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from fsr_plugins.archs.recognition import recogniser_factory
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import Metric, all_reduce_sum, check_pair
from fsr_plugins.metrics.recogniser import Align, Judge, RecogniserLike, embedding, judge_requirements
from fsr_plugins.registry import METRIC_REGISTRY
from fsr_plugins.weights import WeightFile


@METRIC_REGISTRY.register()
class IdentitySimilarity(Metric):
    """Cosine of a judge's embeddings of result and reference, from -1 to 1, mean over the faces.

    Of aligned faces both images are aligned by the same landmarks, those of HR. Faces that cannot be aligned are left
    out of the mean and counted as ``missing``.
    """

    better = 'higher'
    needs_gt = True

    #: Arguments that are blocks of another kind than metrics: what finds the target of their key ``type``.
    nested: ClassVar[Mapping[str, Callable[[str], Any]]] = {'recogniser': recogniser_factory}

    def __init__(self, recogniser: RecogniserLike, align: Align = 'none', trained_with: bool = False) -> None:
        """
        Args:
            recogniser: see :class:`fsr_plugins.metrics.recogniser.Judge`.
            align: how faces are brought into the recogniser's input, see ``Judge``.
            trained_with: says that the recogniser was used in training and shall judge all the same; read by preflight.

        Raises:
            UserError: see ``Judge``.
        """
        self.judge = Judge(recogniser, align)
        self.trained_with = trained_with
        super().__init__(f'cosine, {self.judge.name}, align {align}')
        self._reset()

    def _reset(self) -> None:
        #: Sum of the cosines, faces judged, faces not: on the device, so that nothing waits for it.
        self._totals: Tensor | None = None

    @classmethod
    def requirements(cls, recogniser: RecogniserLike = None, **others: Any) -> list[WeightFile]:
        """See :meth:`fsr_plugins.metrics.base.Metric.requirements`."""
        return judge_requirements(recogniser)

    @torch.no_grad()
    def update(self, sr: Tensor, gt: Tensor | None, meta: Mapping[str, Any]) -> None:
        """See :meth:`fsr_plugins.metrics.base.Metric.update`; raises as ``Judge.embed`` too."""
        check_pair(sr, gt, 'identity', meta)
        assert gt is not None  # by check_pair
        reference = embedding(self.judge, gt, 'HR', meta)
        cosine = (embedding(self.judge, sr, meta.get('net'), meta) * reference).sum(dim=1)
        self.last = {'identity': cosine}
        judged = cosine.isfinite()
        totals = torch.stack([cosine.where(judged, 0).sum(dtype=torch.float64), judged.sum(), (~judged).sum()])
        self._totals = totals if self._totals is None else self._totals + totals

    def compute(self) -> dict[str, float]:
        """See :meth:`fsr_plugins.metrics.base.Metric.compute`.

        Returns:
            ``identity``, the mean cosine, and ``missing``, the number of faces that could not be judged.

        Raises:
            UserError: no face, or none that could be judged.
        """
        totals = torch.zeros(3, dtype=torch.float64) if self._totals is None else self._totals
        total, judged, missing = all_reduce_sum(totals).tolist()
        self._reset()
        if not judged:
            raise UserError(
                f"The metric 'identity' could judge none of {missing:.0f} faces: the set is empty, or no face has "
                'landmarks to align it by.'
            )
        return {'identity': total / judged, 'missing': int(missing)}
