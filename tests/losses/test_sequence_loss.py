"""The loss over the outputs of an unrolled network."""

from __future__ import annotations

import pytest
import torch

from fsr_plugins.errors import UserError
from fsr_plugins.losses import SequenceLoss
from fsr_plugins.registry import build

MSE = {'type': 'MSELoss'}


def test_known_values() -> None:
    """Errors 1, 2, 3 everywhere: squares 1, 4, 9."""
    target = torch.zeros(2, 3, 4, 4)
    outputs = [target + error for error in (1.0, 2.0, 3.0)]
    assert SequenceLoss(MSE)(outputs, target).item() == pytest.approx(14 / 3)
    assert SequenceLoss(MSE, reduction='sum')(outputs, target).item() == pytest.approx(14)
    weighted = build('losses', {'type': 'SequenceLoss', 'loss': {'type': 'MSELoss', 'loss_weight': 0.5}})
    assert weighted(outputs, target).item() == pytest.approx(7 / 3)
    assert SequenceLoss(MSE)(outputs, outputs).item() == 0


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_gradients(reduction: str) -> None:
    """Against finite differences, for every output."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.rand(3, 2, 1, 2, 2, dtype=torch.float64, generator=generator).requires_grad_()
    target = torch.rand(2, 1, 2, 2, dtype=torch.float64, generator=generator)
    loss = SequenceLoss(MSE, reduction=reduction)
    assert torch.autograd.gradcheck(lambda x: loss(list(x.unbind()), target), (outputs,))


def test_bad_use() -> None:
    with pytest.raises(UserError, match='reduction'):
        SequenceLoss(MSE, reduction='median')
    with pytest.raises(UserError, match='MSELoss'):
        SequenceLoss({'type': 'MSELos'})
    image = torch.zeros(1, 3, 2, 2)
    with pytest.raises(ValueError, match='2 outputs and 1 targets'):
        SequenceLoss(MSE)([image, image], [image])
    with pytest.raises(ValueError, match='0 outputs'):
        SequenceLoss(MSE)([], image)
