"""Steps of a model on one batch, and what they are compared by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn


def train(model: Any, data: Mapping[str, Any], *iterations: int) -> dict[str, float]:
    """The iterations of these numbers on one batch, the first alone if none is named; the log of the last."""
    for iteration in iterations or (1,):
        model.feed_data(data)
        model.optimize_parameters(iteration)
    return dict(model.get_current_log())


def assert_log(log: Mapping[str, float], expected: Mapping[str, Any]) -> None:
    """The log has these terms, no others, and their values within 1e-4 of them."""
    assert set(log) == set(expected)
    for name, value in expected.items():
        assert log[name] == pytest.approx(float(value), rel=1e-4, abs=1e-6), name


def weights(net: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's tensors."""
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two networks' tensors agree to the bit."""
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)
