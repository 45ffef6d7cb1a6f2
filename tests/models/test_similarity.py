"""Networks compared with each other during validation, and the tables of a method's paper in the summary."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fsr_plugins.models.evaluation import SetEvaluation, quantise
from fsr_plugins.pipeline import _validation

from basicsr.metrics import calculate_psnr  # isort: skip

METRICS: dict[str, Any] = {'psnr': {'type': 'PSNR'}}


def nets() -> dict[str, Any]:
    return {'result': lambda lq: lq * 0.5, 'pretrained': lambda lq: lq * 0.5 + 0.1}


@pytest.mark.parametrize('has_gt', [True, False])
def test_a_pair_is_measured_against_the_other_network(has_gt: bool) -> None:
    lq = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    evaluation = SetEvaluation(nets(), METRICS, has_gt, {'likeness': ('result', 'pretrained')})
    evaluation.update(lq, lq if has_gt else None, {'keys': ['a', 'b']})
    found = evaluation.compute()

    def pixels(image: Tensor) -> Any:
        return (quantise(image)[0].permute(1, 2, 0) * 255).round().byte().numpy()

    expected = [calculate_psnr(*(pixels(net(image[None])) for net in nets().values()), crop_border=0) for image in lq]
    assert found['likeness']['psnr'] == pytest.approx(sum(expected) / 2, abs=1e-3)
    assert ('psnr' in found['result']) is has_gt


def test_results_of_several_stages_keep_their_stages_names() -> None:
    first, second = ({'held_out': {'bicubic': {'psnr': 1.0}, 'result': {'psnr': value}}} for value in (2.0, 3.0))
    assert _validation({'teacher': first, 'student': second}) == {
        'held_out': {
            'bicubic': {'psnr': 1.0},
            'result': {'psnr': 3.0},
            'teacher': {'psnr': 2.0},
            'student': {'psnr': 3.0},
        }
    }
    assert set(_validation({'degradation': {}, 'joint': first})['held_out']) == {'bicubic', 'result'}
