"""The head of A-Softmax: the angular function against its definition, gradients against differences."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from fsr_plugins.archs.recognition import ASoftmaxHead
from fsr_plugins.archs.recognition.asoftmax import psi
from fsr_plugins.errors import UserError
from fsr_plugins.registry import build


def angles(margin: int) -> npt.NDArray[np.float64]:
    """The whole half circle, and both sides of every segment's border."""
    borders = np.arange(margin + 1) * np.pi / margin
    near = np.concatenate([borders - 1e-3, borders - 1e-7, borders, borders + 1e-7, borders + 1e-3])
    return np.sort(np.clip(np.concatenate([np.linspace(0, np.pi, 101), near]), 0, np.pi))


def definition(theta: npt.NDArray[np.float64], margin: int) -> npt.NDArray[np.float64]:
    """Eq. 7 as written, by the angle itself."""
    k = np.minimum(np.floor(theta * margin / np.pi), margin - 1)
    return (-1.0) ** k * np.cos(margin * theta) - 2 * k


@pytest.mark.parametrize('margin', [1, 2, 3, 4, 5])
def test_psi_is_the_papers(margin: int) -> None:
    theta = angles(margin)
    values = psi(torch.from_numpy(np.cos(theta)), margin).numpy()
    np.testing.assert_allclose(values, definition(theta, margin), atol=1e-12)
    assert values[0] == 1
    assert values[-1] == 1 - 2 * margin
    assert (np.diff(values) <= 1e-12).all()
    assert (values <= np.cos(theta) + 1e-12).all()


@pytest.mark.parametrize('margin', [2, 4])
def test_psi_in_float32(margin: int) -> None:
    theta = angles(margin)
    values = psi(torch.from_numpy(np.cos(theta)).float(), margin).numpy()
    np.testing.assert_allclose(values, definition(theta, margin), atol=1e-4)


def test_psis_slope_has_no_gap_and_is_finite_at_the_ends() -> None:
    """By cos θ: m sin(mθ) / sin θ up to the sign of the segment; m² at both ends."""
    theta = angles(4)[1:-1]
    theta = theta[(theta > 1e-5) & (theta < np.pi - 1e-5)]
    cosine = torch.tensor([*np.cos(theta), 1.0, -1.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(psi(cosine, 4).sum(), cosine)
    expected = np.abs(4 * np.sin(4 * theta) / np.sin(theta))
    np.testing.assert_allclose(slope[:-2].numpy(), expected, atol=1e-6)
    assert slope[-2:].tolist() == [16, 16]


def head(margin: int = 4) -> tuple[ASoftmaxHead, Tensor, Tensor]:
    torch.manual_seed(0)
    made: ASoftmaxHead = build(
        'archs', {'type': 'ASoftmaxHead', 'embedding_size': 6, 'num_classes': 5, 'margin': margin}
    )
    return made.double(), 3 * torch.randn(7, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 0, 2])


def test_logits_are_those_of_the_angles() -> None:
    net, x, labels = head()
    with torch.no_grad():
        net.weight *= 2.5  # the classes' lengths do not count
        cosine, margin = net(x, labels)
    vectors, classes = x.numpy(), net.weight.detach().numpy()
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ classes / np.outer(lengths, np.linalg.norm(classes, axis=0))
    np.testing.assert_allclose(cosine.numpy(), lengths[:, None] * cosines)
    own = np.arccos(cosines[np.arange(7), labels.numpy()])
    np.testing.assert_allclose(margin.numpy(), lengths * definition(own, 4))


def test_gradients_of_embeddings_and_weights() -> None:
    net, x, labels = head()

    def logits(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(torch.func.functional_call(net, {'weight': weight}, (x, labels)))

    assert torch.autograd.gradcheck(logits, (x.requires_grad_(), net.weight.detach().requires_grad_()))


def test_embeddings_along_and_against_their_class_and_of_no_length() -> None:
    net, _, _ = head()
    column = net.weight.detach()[:, 1]
    x = torch.stack([2 * column, -2 * column, 0 * column]).requires_grad_()
    cosine, margin = net(x, torch.tensor([1, 1, 1]))
    torch.testing.assert_close(cosine[:, 1], torch.tensor([2.0, -2.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(margin, torch.tensor([2.0, -14.0, 0.0], dtype=torch.float64))
    margin.sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_a_margin_of_one_is_plain() -> None:
    net, x, labels = head(margin=1)
    cosine, margin = net(x, labels)
    torch.testing.assert_close(margin, cosine[torch.arange(7), labels])


def test_is_computed_in_float32_under_autocast() -> None:
    net, x, labels = head()
    net = net.float()
    with torch.no_grad():
        expected = net(x.bfloat16().float(), labels)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            found = net(x.bfloat16(), labels)
    assert found.cosine.dtype == found.margin.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_classes_begin_at_unit_length() -> None:
    weight = ASoftmaxHead(num_classes=400).weight
    torch.testing.assert_close(weight.norm(dim=0), torch.ones(400))
    assert weight.mean(dim=1).norm() < 3 / math.sqrt(400)  # even over the sphere: their mean is about 1 / sqrt(C) long


def test_wrong_numbers_are_named() -> None:
    with pytest.raises(UserError, match="'num_classes' of ASoftmaxHead is 0"):
        ASoftmaxHead(num_classes=0)
    with pytest.raises(UserError, match="'margin'"):
        ASoftmaxHead(num_classes=2, margin=0)
