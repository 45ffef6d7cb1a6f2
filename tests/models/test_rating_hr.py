"""Metrics that rate HR itself, and metrics of several values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fsr_plugins.metrics.base import Metric
from fsr_plugins.models.evaluation import SetEvaluation
from fsr_plugins.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register()
class RatingTestMetric(Metric):
    """The largest pixel, and which networks' batches the cache has seen."""

    better = 'higher'
    needs_gt = False
    rates_gt = True

    def __init__(self) -> None:
        super().__init__('largest')
        self.largest, self.seen = 0.0, 0

    def update(self, sr: Tensor, gt: Tensor | None, meta: Mapping[str, Any]) -> None:
        meta['cache'][meta['net']] = True
        self.largest, self.seen = float(sr.max()), len(meta['cache'])

    def compute(self) -> dict[str, float]:
        return {'largest': self.largest, 'seen': self.seen}


def test_hr_has_a_row_and_values_have_names() -> None:
    metrics = {'top': {'type': 'RatingTestMetric'}, 'psnr': {'type': 'PSNR'}}
    nets: dict[str, Any] = {'result': lambda lq: lq / 2, 'bicubic': lambda lq: lq / 4}
    evaluation = SetEvaluation(nets, metrics, has_gt=True)
    image = torch.ones(1, 3, 16, 16)
    evaluation.update(image, image, {'keys': ['a']})
    found = evaluation.compute()
    assert found['HR'] == {'top': 1.0, 'top_seen': 3}  # one cache for all networks of a batch
    assert [round(255 * found[net]['top'], 3) for net in ('result', 'bicubic')] == [128, 64]
    assert set(found['result']) == {'top', 'top_seen', 'psnr'}
    assert 'HR' not in SetEvaluation(nets, metrics, has_gt=False).metrics
    assert 'HR' not in SetEvaluation(nets, metrics, has_gt=True, rate_hr=False).metrics
