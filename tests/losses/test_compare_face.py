"""C-Face's loss against angles computed by hand: L_SI of two directions at an angle of a is 2 - 2 cos a."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fsr_plugins.losses.compare_face import CompareFaceLoss
from fsr_plugins.registry import build


def at(*degrees: float, length: float = 1.0) -> Tensor:
    """Embeddings (N, 2) at these angles."""
    angles = torch.tensor(degrees).deg2rad()
    return length * torch.stack([angles.cos(), angles.sin()], dim=1)


def l_si(degrees: float) -> float:
    return 2 - 2 * math.cos(math.radians(degrees))


def test_by_hand_with_the_bound_on_either_side() -> None:
    """HR at 0. First face: SR at 40, C at -20, farther from SR (60) than from HR (20). Second: SR at 10, C at 30,
    nearer to SR (20) than to HR (30), so that the bound is 0."""
    loss = build('losses', {'type': 'CompareFaceLoss', 'gamma_1': 0.05, 'gamma_2': 0.1})
    value = loss(at(40, 10, length=3), at(0, 0, length=0.5), at(-20, 30), torch.tensor([True, True]))
    first = 0.05 * l_si(40) + 0.1 * (l_si(60) - l_si(20))
    second = 0.05 * l_si(10)
    assert value.item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_without_the_bound_it_is_equation_5() -> None:
    loss = CompareFaceLoss(0.05, 0.1, use_lower_bound=False)
    value = loss(at(40, 10), at(0, 0), at(-20, 30))
    expected = 0.05 * (l_si(40) + l_si(10)) / 2 + 0.1 * (l_si(60) + l_si(20)) / 2
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('has', [[True, False], [False, True], [False, False]])
def test_a_face_without_a_compare_face_has_the_first_term_alone(has: list[bool]) -> None:
    value = CompareFaceLoss(0.05, 0.1)(at(40, 40), at(0, 0), at(-20, -20), torch.tensor(has))
    expected = 0.05 * l_si(40) + 0.1 * (l_si(60) - l_si(20)) * sum(has) / 2
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_without_compare_faces_it_is_equation_4() -> None:
    assert CompareFaceLoss(gamma_1=2.0)(at(40), at(0)).item() == pytest.approx(2 * l_si(40), rel=1e-5)


@pytest.mark.parametrize(('compare', 'alive'), [(-20.0, True), (30.0, False), (0.0, True)])
def test_second_term_moves_sr_where_it_is_above_the_bound(compare: float, alive: bool) -> None:
    sr = at(10.0).requires_grad_()
    CompareFaceLoss(0.0, 1.0)(sr, at(0.0), at(compare)).backward()
    assert (sr.grad.abs().sum().item() > 0) is alive
    if alive:  # d(2 - 2 cos a) / da of the length 1, turned towards the compare face
        assert sr.grad.norm().item() == pytest.approx(2 * math.sin(math.radians(10 - compare)), rel=1e-4)


def test_sr_at_hr_and_a_batch_without_compare_faces_have_finite_gradients() -> None:
    sr = at(0.0, 0.0).requires_grad_()
    CompareFaceLoss()(sr, at(0.0, 0.0), at(0.0, 50.0), torch.tensor([False, False])).backward()
    assert sr.grad.abs().max().item() == pytest.approx(0, abs=1e-7)


def test_only_sr_gets_a_gradient() -> None:
    sr, hr, compare = (at(angle).requires_grad_() for angle in (40.0, 0.0, -20.0))
    CompareFaceLoss()(sr, hr, compare).backward()
    assert sr.grad is not None
    assert hr.grad is None and compare.grad is None


@pytest.mark.parametrize('use_lower_bound', [True, False])
def test_gradient_against_finite_differences(use_lower_bound: bool) -> None:
    numbers = torch.Generator().manual_seed(2)
    sr, hr, compare = (torch.randn(5, 4, generator=numbers, dtype=torch.float64) for _ in range(3))
    has = torch.tensor([True, False, True, True, False])
    loss = CompareFaceLoss(0.05, 0.1, use_lower_bound)
    assert torch.autograd.gradcheck(lambda x: loss(x, hr, compare, has), (sr.requires_grad_(),))
