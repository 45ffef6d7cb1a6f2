"""A-Softmax's loss: the annealing's numbers, and the cross entropy written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr_plugins.archs.recognition import ASoftmaxHead, ASoftmaxLogits
from fsr_plugins.errors import UserError
from fsr_plugins.losses import ASoftmaxLoss
from fsr_plugins.registry import build


@pytest.mark.parametrize(
    ('iteration', 'expected'), [(0, 1500), (10, 750), (1000, 14.851485), (2990, 5), (2991, 5), (10**6, 5)]
)
def test_annealing_of_the_published_code(iteration: int, expected: float) -> None:
    assert ASoftmaxLoss().annealing(iteration) == pytest.approx(expected)


def test_annealing_of_other_numbers() -> None:
    loss = ASoftmaxLoss(lambda_start=100, lambda_min=1, lambda_decay=1)
    assert [loss.annealing(iteration) for iteration in (1, 9, 99, 200)] == [50, 10, 1, 1]


def logits() -> tuple[ASoftmaxLogits, Tensor]:
    generator = torch.Generator().manual_seed(0)
    cosine = 4 * torch.randn(3, 5, generator=generator, dtype=torch.float64)
    return ASoftmaxLogits(cosine, cosine.min(dim=1).values - 1), torch.tensor([4, 0, 2])


@pytest.mark.parametrize('iteration', [1, 500, 100000])
def test_is_the_cross_entropy_of_the_drawn_logits(iteration: int) -> None:
    given, labels = logits()
    loss = build('losses', {'type': 'ASoftmaxLoss', 'loss_weight': 0.5})
    weight = max(5, 1500 / (1 + 0.1 * iteration))
    terms = []
    for row, margin, label in zip(given.cosine.numpy(), given.margin.numpy(), labels.numpy(), strict=True):
        row = row.copy()
        row[label] = (weight * row[label] + margin) / (1 + weight)
        terms.append(np.log(np.exp(row).sum()) - row[label])
    assert loss(given, labels, iteration).item() == pytest.approx(0.5 * np.mean(terms))


def test_gradients() -> None:
    given, labels = logits()
    loss = ASoftmaxLoss()

    def scalar(cosine: Tensor, margin: Tensor) -> Tensor:
        return loss(ASoftmaxLogits(cosine, margin), labels, 40)

    assert torch.autograd.gradcheck(scalar, tuple(tensor.requires_grad_() for tensor in given))


def test_gradients_through_head_and_loss() -> None:
    torch.manual_seed(0)
    head, x, labels = ASoftmaxHead(5, 6).double(), torch.randn(4, 6, dtype=torch.float64), torch.tensor([1, 4, 0, 0])
    assert torch.autograd.gradcheck(lambda x: ASoftmaxLoss()(head(x, labels), labels, 3000), x.requires_grad_())


def test_stays_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    head, x, labels = ASoftmaxHead(5, 6), torch.randn(4, 6), torch.tensor([1, 4, 0, 0])
    expected = ASoftmaxLoss()(head(x, labels), labels, 1)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = ASoftmaxLoss()(head(x, labels), labels, 1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_negative_numbers_are_named() -> None:
    with pytest.raises(UserError, match="'lambda_decay' of ASoftmaxLoss is -1"):
        ASoftmaxLoss(lambda_decay=-1)
