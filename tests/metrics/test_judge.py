"""The judge: unit embeddings, shared networks, names, alignment and its failures."""

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
from fsr_plugins.metrics.recogniser import Judge, embedding, judge_requirements
from fsr_plugins.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class JudgeTestRecogniser(Recogniser):
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
    return {'type': 'JudgeTestRecogniser', 'path': str(save(tmp_path / 'net.pth', seed=0))}


def save(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    torch.save(JudgeTestRecogniser().state_dict(), path)
    return path


def images(number: int = 4) -> Tensor:
    return torch.rand(number, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_embeddings_are_the_networks_at_unit_length(block: dict[str, Any]) -> None:
    judge = Judge(block)
    net = JudgeTestRecogniser().eval()
    net.load_state_dict(torch.load(block['path']))
    raw = net(images()).detach().numpy()
    with torch.autocast('cpu', torch.bfloat16):
        found = judge.embed(images().requires_grad_())
    assert found.dtype == torch.float32 and not found.requires_grad
    np.testing.assert_allclose(found.numpy(), raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)


def test_name_and_sharing(block: dict[str, Any]) -> None:
    judge, other = Judge(block), Judge(dict(block))
    digest = hashlib.sha256(Path(block['path']).read_bytes()).hexdigest()
    assert judge.name == f'JudgeTestRecogniser (net.pth {digest[:8]})'
    assert judge.net is other.net and judge.key == other.key
    aligned = Judge(block, align='landmarks')
    assert aligned.net is judge.net and aligned.key != judge.key
    assert Judge({**block, 'adapt': 'centercrop'}).key != judge.key


def test_another_network_under_the_same_path_is_another_judge(block: dict[str, Any]) -> None:
    judge = Judge(block)
    save(Path(block['path']), seed=1)
    other = Judge(block)
    assert other.key != judge.key and other.name != judge.name
    assert (other.embed(images()) - judge.embed(images())).abs().max() > 0.01


def test_a_network_may_be_handed_in() -> None:
    net = JudgeTestRecogniser()
    judge = Judge(net)
    assert judge.net is net and judge.key != Judge(JudgeTestRecogniser()).key
    with pytest.raises(ValueError, match='training mode'):
        judge.embed(images())
    net.eval()
    torch.testing.assert_close(judge.embed(images()).norm(dim=1), torch.ones(4))
    assert all(weight.requires_grad for weight in net.parameters())


def test_aligned_faces_are_what_is_embedded(block: dict[str, Any]) -> None:
    points = template_for((14, 12)) * 1.6 + torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(2)) + 4
    judge = Judge(block, align='landmarks')
    expected = Judge(block).embed(align(images(), points, template_for((14, 12)), (14, 12)))
    torch.testing.assert_close(judge.embed(images(), points), expected)
    points[1, 3] = torch.nan
    points[2] = 7.0
    found = judge.embed(images(), points)
    assert found.isnan().any(dim=1).tolist() == [False, True, True, False] == found.isnan().all(dim=1).tolist()
    torch.testing.assert_close(found[[0, 3]], expected[[0, 3]])


def test_a_batch_is_embedded_once_for_all_metrics(block: dict[str, Any]) -> None:
    judge, net = Judge(block), Judge(block).net
    meta: dict[str, Any] = {'cache': {}}
    before = net.calls
    first = embedding(judge, images(), 'net_g', meta)
    assert embedding(Judge(block), images(), 'net_g', meta) is first and net.calls == before + 1
    embedding(judge, images(), 'HR', meta)
    embedding(judge, images(), None, meta)
    embedding(judge, images(), 'net_g', {})
    assert net.calls == before + 4


def test_requirements(block: dict[str, Any], tmp_path: Path) -> None:
    (weight,) = judge_requirements(block)
    assert weight.path == block['path']
    assert judge_requirements(None) == judge_requirements(JudgeTestRecogniser()) == []
    with pytest.raises(UserError, match=r'no\.pth.*leave this metric out'):
        judge_requirements({**block, 'path': str(tmp_path / 'no.pth')})


def test_wrong_input(block: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="'align' of a judge is 'eyes': choose one of none, landmarks"):
        Judge(block, align='eyes')
    with pytest.raises(UserError, match='views: \\[landmarks\\]'):
        Judge(block, align='landmarks').embed(images())
    with pytest.raises(UserError, match='recogniser: null'):
        Judge(None).embed(images())
