"""The identity loss against scipy, values by hand and finite differences, with a recogniser of a few weights."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from torch import Tensor, nn

from fsr_plugins import weights
from fsr_plugins.archs.recognition import Recogniser
from fsr_plugins.errors import UserError
from fsr_plugins.losses import IdentityLoss, requirements
from fsr_plugins.losses.identity import angular_distance, js_divergence
from fsr_plugins.registry import ARCH_REGISTRY, build


@ARCH_REGISTRY.register()
class LossTestRecogniser(Recogniser):
    """Seven-dimensional; normalisation and dropout tell training from evaluation."""

    face_size = (4, 3)
    embedding_size = 7

    def __init__(self, adapt: str = 'resize') -> None:
        super().__init__(adapt)
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(36, 7)

    def embed(self, faces: Tensor) -> Tensor:
        return self.linear(self.dropout(self.norm(faces)).flatten(1)).tanh() * 4


@pytest.fixture()
def block(tmp_path: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    torch.save(LossTestRecogniser().state_dict(), tmp_path / 'tiny.pth')
    return {'type': 'LossTestRecogniser', 'path': str(tmp_path / 'tiny.pth')}


@pytest.fixture()
def faces() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    sr, gt = torch.rand(2, 3, 3, 8, 8, generator=generator)
    return sr, gt


def test_js_by_hand() -> None:
    # Softmax: (1/4, 3/4) and (3/4, 1/4), whose mean is (1/2, 1/2).
    three = math.log(3)
    value = js_divergence(torch.tensor([[0.0, three]]), torch.tensor([[three, 0.0]]))
    assert value.item() == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5), rel=1e-6)


@pytest.mark.parametrize('size', [1e-3, 1.0, 30.0])
def test_js_equals_scipy(size: float) -> None:
    first, second = size * torch.randn(2, 4, 512, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    distance = jensenshannon(softmax(first.numpy(), axis=1), softmax(second.numpy(), axis=1), axis=1)
    np.testing.assert_allclose(js_divergence(first, second).numpy(), distance**2, rtol=1e-6)


def test_js_of_equal_and_of_opposed_embeddings() -> None:
    far = torch.tensor([[500.0, -500.0]])
    assert js_divergence(far, far).item() == 0
    assert js_divergence(far, -far).item() == pytest.approx(math.log(2))


def test_angle_by_hand() -> None:
    right = torch.tensor([[2.0, 0.0]]).expand(4, 2)
    others = torch.tensor([[5.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(angular_distance(right, others), torch.tensor([0.0, 2.0, 4.0, 2 - math.sqrt(2)]))


@pytest.mark.parametrize('distance', [js_divergence, angular_distance])
def test_gradient_of_the_distances(distance: Any) -> None:
    first, second = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(distance, (first.requires_grad_(), second.requires_grad_()))


def test_is_the_weighted_mean_over_the_batch(block: dict[str, Any], faces: tuple[Tensor, Tensor]) -> None:
    loss = build('losses', {'type': 'IdentityLoss', 'recogniser': block, 'loss_weight': 3.0})
    with torch.no_grad():
        p, q = (softmax(loss.recogniser(images).double().numpy(), axis=1) for images in faces)
        value = loss(*faces)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(3 * np.mean(jensenshannon(p, q, axis=1) ** 2), rel=1e-5)


@pytest.mark.parametrize('mode', ['js', 'angle'])
def test_gradient_reaches_sr_only(mode: Any, block: dict[str, Any], faces: tuple[Tensor, Tensor]) -> None:
    loss = IdentityLoss(block, mode).double()
    sr, gt = (images[:2].double().requires_grad_() for images in faces)
    assert torch.autograd.gradcheck(lambda x: loss(x, gt), sr)
    loss(sr, gt).backward()
    assert sr.grad is not None
    assert sr.grad.abs().max() > 0
    assert gt.grad is None
    assert all(weight.grad is None for weight in loss.recogniser.parameters())


def test_sizes_may_differ(block: dict[str, Any], faces: tuple[Tensor, Tensor]) -> None:
    assert torch.isfinite(IdentityLoss(block)(faces[0], faces[1][:, :, :6, :5]))


def test_the_recogniser_stays_as_it_is(block: dict[str, Any], faces: tuple[Tensor, Tensor]) -> None:
    loss = IdentityLoss(block)
    before = copy.deepcopy(loss.recogniser.state_dict())
    value = loss(*faces)
    loss.train()
    assert not any(module.training for module in loss.recogniser.modules())
    assert torch.equal(loss.train()(*faces), value)
    for key, tensor in loss.recogniser.state_dict().items():
        assert torch.equal(tensor, before[key])


def test_the_recogniser_is_no_part_of_the_loss(block: dict[str, Any]) -> None:
    loss = IdentityLoss(block)
    assert not list(loss.parameters())
    assert not loss.state_dict()
    assert not any(weight.requires_grad for weight in loss.recogniser.parameters())


def test_the_recogniser_goes_along_to_a_device(block: dict[str, Any]) -> None:
    holder = nn.Sequential(IdentityLoss(block)).to('meta')
    assert {tensor.device.type for tensor in holder[0].recogniser.state_dict().values()} == {'meta'}


def test_float32_under_autocast(block: dict[str, Any], faces: tuple[Tensor, Tensor]) -> None:
    loss = IdentityLoss(block)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(*faces)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(*faces))
    assert loss(faces[0].bfloat16(), faces[1]).dtype == torch.float32


def test_unknown_mode_and_faulty_blocks(block: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="'cosine': choose one of js, angle"):
        IdentityLoss(block, 'cosine')  # type: ignore[arg-type]
    with pytest.raises(UserError, match='no recogniser'):
        IdentityLoss({'type': 'LightCNNDiscriminator'})
    with pytest.raises(UserError, match='FaceNet'):
        IdentityLoss({'type': 'FaceNett'})
    with pytest.raises(UserError, match='adept'):
        IdentityLoss({**block, 'adept': 'resize'})


@pytest.fixture()
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network and empty folders; returns the toolkit's."""

    def refuse(*args: object, **options: object) -> None:
        raise OSError('no network')

    monkeypatch.setenv('FSR_WEIGHTS', str(tmp_path / 'own'))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(weights.urllib.request, 'urlopen', refuse)
    return tmp_path / 'own'


def test_absent_weights_are_one_line(offline: Path) -> None:
    with pytest.raises(UserError) as caught:
        requirements({'type': 'IdentityLoss', 'recogniser': {'type': 'FaceNet'}})
    message = str(caught.value)
    assert '\n' not in message
    for part in ('FaceNet', "'20180402-114759-vggface2.pt'", str(offline), 'id_opt: null'):
        assert part in message


def test_weights_nobody_can_fetch_need_a_path(offline: Path) -> None:
    with pytest.raises(UserError, match=r"SphereFace20.*'path'.*sphere20a_20171020\.pth.*id_opt: null"):
        requirements({'type': 'IdentityLoss', 'recogniser': {'type': 'SphereFace20'}})


def test_required_is_the_file_that_is_used(block: dict[str, Any]) -> None:
    (weight,) = requirements({'type': 'IdentityLoss', 'recogniser': block, 'mode': 'angle'})
    assert (weight.name, weight.path) == ('LossTestRecogniser', block['path'])
    with pytest.raises(UserError, match=r'none\.pth.*id_opt: null'):
        requirements({'type': 'IdentityLoss', 'recogniser': {**block, 'path': 'none.pth'}})
