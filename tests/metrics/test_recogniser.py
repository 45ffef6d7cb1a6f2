"""The evaluation recogniser: unit embeddings, shared networks, names, alignment and its failures."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fsr_plugins.archs.recognition import Recogniser
from fsr_plugins.errors import UserError
from fsr_plugins.faces import align, template_for
from fsr_plugins.metrics.recogniser import EvaluationRecogniser, embedding, recogniser_requirements
from fsr_plugins.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class MetricTestRecogniser(Recogniser):
    """A linear layer on small faces."""

    face_size = (14, 12)
    embedding_size = 5

    def __init__(self, adapt: str = 'resize') -> None:
        super().__init__(adapt)
        self.linear = nn.Linear(3 * 14 * 12, 5)
        self.calls = 0

    def embed(self, faces: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(faces.flatten(1))


@pytest.fixture
def block(tmp_path: Path) -> dict[str, Any]:
    return {'type': 'MetricTestRecogniser', 'path': str(save(tmp_path / 'net.pth', seed=0))}


def save(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    torch.save(MetricTestRecogniser().state_dict(), path)
    return path


def images(number: int = 4) -> Tensor:
    return torch.rand(number, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_embeddings_are_the_networks_at_unit_length(block: dict[str, Any]) -> None:
    recogniser = EvaluationRecogniser(block)
    net = MetricTestRecogniser().eval()
    net.load_state_dict(torch.load(block['path']))
    raw = net(images()).detach().numpy()
    with torch.autocast('cpu', torch.bfloat16):
        found = recogniser.embed(images().requires_grad_())
    assert found.dtype == torch.float32 and not found.requires_grad
    np.testing.assert_allclose(found.numpy(), raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)


def test_name_and_sharing(block: dict[str, Any]) -> None:
    recogniser, other = EvaluationRecogniser(block), EvaluationRecogniser(dict(block))
    digest = hashlib.sha256(Path(block['path']).read_bytes()).hexdigest()
    assert recogniser.name == f'MetricTestRecogniser (net.pth {digest[:8]})'
    assert recogniser.net is other.net and recogniser.key == other.key
    aligned = EvaluationRecogniser(block, align='landmarks')
    assert aligned.net is recogniser.net and aligned.key != recogniser.key
    assert EvaluationRecogniser({**block, 'adapt': 'centercrop'}).key != recogniser.key


def test_another_network_under_the_same_path_is_another_recogniser(block: dict[str, Any]) -> None:
    recogniser = EvaluationRecogniser(block)
    save(Path(block['path']), seed=1)
    other = EvaluationRecogniser(block)
    assert other.key != recogniser.key and other.name != recogniser.name
    assert (other.embed(images()) - recogniser.embed(images())).abs().max() > 0.01


def test_a_network_may_be_handed_in() -> None:
    net = MetricTestRecogniser()
    recogniser = EvaluationRecogniser(net)
    assert recogniser.net is net and recogniser.key != EvaluationRecogniser(MetricTestRecogniser()).key
    with pytest.raises(ValueError, match='training mode'):
        recogniser.embed(images())
    net.eval()
    torch.testing.assert_close(recogniser.embed(images()).norm(dim=1), torch.ones(4))
    assert all(weight.requires_grad for weight in net.parameters())


def test_aligned_faces_are_what_is_embedded(block: dict[str, Any]) -> None:
    points = template_for((14, 12)) * 1.6 + torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(2)) + 4
    recogniser = EvaluationRecogniser(block, align='landmarks')
    expected = EvaluationRecogniser(block).embed(align(images(), points, template_for((14, 12)), (14, 12)))
    torch.testing.assert_close(recogniser.embed(images(), points), expected)
    points[1, 3] = torch.nan
    points[2] = 7.0
    found = recogniser.embed(images(), points)
    assert found.isnan().any(dim=1).tolist() == [False, True, True, False] == found.isnan().all(dim=1).tolist()
    torch.testing.assert_close(found[[0, 3]], expected[[0, 3]])


def test_a_batch_is_embedded_once_for_all_metrics(block: dict[str, Any]) -> None:
    recogniser, net = EvaluationRecogniser(block), EvaluationRecogniser(block).net
    meta: dict[str, Any] = {'cache': {}}
    before = net.calls
    first = embedding(recogniser, images(), 'net_g', meta)
    assert embedding(EvaluationRecogniser(block), images(), 'net_g', meta) is first and net.calls == before + 1
    embedding(recogniser, images(), 'HR', meta)
    embedding(recogniser, images(), None, meta)
    embedding(recogniser, images(), 'net_g', {})
    assert net.calls == before + 4


def test_requirements(block: dict[str, Any], tmp_path: Path) -> None:
    (weight,) = recogniser_requirements(block)
    assert weight.path == block['path']
    assert recogniser_requirements(None) == recogniser_requirements(MetricTestRecogniser()) == []
    with pytest.raises(UserError, match=r'no\.pth.*leave this metric out'):
        recogniser_requirements({**block, 'path': str(tmp_path / 'no.pth')})


def test_wrong_input(block: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="'align' of an evaluation recogniser is 'eyes': choose one of none, landmarks"):
        EvaluationRecogniser(block, align='eyes')
    with pytest.raises(UserError, match='views: \\[landmarks\\]'):
        EvaluationRecogniser(block, align='landmarks').embed(images())
    with pytest.raises(UserError, match='recogniser: null'):
        EvaluationRecogniser(None).embed(images())
