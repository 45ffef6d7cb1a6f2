"""DistillationLoss at values worked out by hand, and its schedule."""

from __future__ import annotations

import pytest
import torch

from fsr_plugins.errors import UserError
from fsr_plugins.losses import DistillationLoss
from fsr_plugins.registry import build


def full(value: float, size: int = 4) -> torch.Tensor:
    return torch.full((2, 3, size, size), value)


def test_l1_of_images_and_mean_over_features() -> None:
    loss = DistillationLoss('l1', response_weight=0.1, feature_weight=10)
    # |0.5 − 0.25| = 0.25; features: (|1 − 0| + |2 − 4|) / 2 = 1.5, each pair counting alike whatever its size.
    found = loss(full(0.5), full(0.25), [full(1.0), full(2.0, 8)], [full(0.0), full(4.0, 8)], 1)
    assert found['l_response'].item() == pytest.approx(0.025)
    assert found['l_feature'].item() == pytest.approx(15.0)


def test_mse_of_images_from_0_to_255() -> None:
    loss = DistillationLoss('mse', response_weight=5, feature_weight=0.01)
    # 5 · (255 · 0.2)² = 13005; 0.01 · 3² = 0.09.
    found = loss(full(153.0), full(102.0), [full(3.0)], [full(0.0)], 1)
    assert found['l_response'].item() == pytest.approx(13005, rel=1e-5)
    assert found['l_feature'].item() == pytest.approx(0.09)


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = (full(value).requires_grad_() for value in (0.5, 0.25))
    ours, theirs = (full(value).requires_grad_() for value in (1.0, 3.0))
    loss = DistillationLoss('mse', feature_weight=1.0)
    sum(loss(student, teacher, [ours], [theirs], 1).values()).backward()
    assert student.grad is not None and ours.grad is not None
    assert teacher.grad is None and theirs.grad is None


@pytest.mark.parametrize(
    ('iteration', 'weights'),
    [(1, (0.1, 10.0)), (5, (0.1, 10.0)), (6, (0.1, 9.0)), (50, (0.1, 1.0)), (51, (0.0, 0.0)), (999, (0.0, 0.0))],
)
def test_kdfsrnet_falls_by_steps_and_ends(iteration: int, weights: tuple[float, float]) -> None:
    loss = DistillationLoss('l1', 0.1, 10, schedule='kdfsrnet', epochs=10, iters_per_epoch=5)
    assert loss.weights(iteration) == pytest.approx(weights)
    assert loss.active(iteration) == (iteration <= 50)
    found = loss(full(1.0), full(0.0), [full(1.0)], [full(0.0)], iteration)
    assert [value.item() for value in found.values()] == pytest.approx([weight for weight in weights if weight])


def test_constant_does_not_end() -> None:
    loss = DistillationLoss('l1', 0.5, 2.0)
    assert loss.weights(1) == loss.weights(10**9) == (0.5, 2.0)
    assert not DistillationLoss('l1', 0.0, 0.0).active(1)


def test_features_must_meet_their_counterparts() -> None:
    loss = DistillationLoss('l1', feature_weight=1.0)
    with pytest.raises(ValueError, match='2 features meet 1'):
        loss(full(1.0), full(0.0), [full(1.0)] * 2, [full(0.0)], 1)
    with pytest.raises(ValueError, match='0 features'):
        loss(full(1.0), full(0.0), [], [], 1)


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        ({'criterion': 'l2'}, 'criterion'),
        ({'schedule': 'linear'}, 'schedule'),
        ({'response_weight': -1.0}, 'weights'),
        ({'schedule': 'kdfsrnet'}, 'iters_per_epoch'),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=named):
        build('losses', {'type': 'DistillationLoss', **options})
