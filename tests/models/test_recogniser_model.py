"""Training of a recogniser: that it learns, resumes and is measured by itself, and what is said of data that lack."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr_plugins.archs.recognition import ASoftmaxHead, MobileFaceNet, Recogniser, SphereFace20, make_recogniser
from fsr_plugins.errors import UserError
from fsr_plugins.losses import ASoftmaxLoss
from fsr_plugins.metrics import Verification
from fsr_plugins.metrics.base import MeanMetric
from fsr_plugins.models.recogniser import RecogniserModel, check_identities
from fsr_plugins.registry import METRIC_REGISTRY

PEOPLE = 4


class FirstNumber(MeanMetric):
    """The mean of the embeddings' first number; keeps what it was given."""

    name, better, needs_gt, rates_gt = 'first', 'higher', False, True
    seen: list[dict[str, Any]] = []

    def __init__(self, recogniser: Recogniser | None, offset: float = 0.0) -> None:
        super().__init__('for a test')
        self.recogniser, self.offset = recogniser, offset

    def update(self, sr: Tensor, gt: Tensor | None, meta: Mapping[str, Any]) -> None:
        self.seen.append({**meta, 'sr': sr, 'recogniser': self.recogniser})
        super().update(sr, gt, meta)

    def values(self, sr: Tensor, gt: Tensor | None) -> Tensor:
        assert self.recogniser is not None and not self.recogniser.training
        return self.recogniser(sr)[:, 0] + self.offset

    def compute(self) -> dict[str, float]:
        return {**super().compute(), 'twice': 2.0}


@pytest.fixture(autouse=True, scope='module')
def registered() -> Iterator[None]:
    METRIC_REGISTRY.register(FirstNumber)
    yield
    del METRIC_REGISTRY._obj_map['FirstNumber']


def options(folder: Path, **train: Any) -> dict[str, Any]:
    return {
        'name': 'rec', 'scale': 1, 'is_train': True, 'dist': False, 'rank': 0, 'num_gpu': 0,
        'network_r': {'type': 'SphereFace20', 'num_feat': 2},
        'network_h': {'type': 'ASoftmaxHead', 'num_classes': PEOPLE},
        'path': {'models': str(folder)}, 'datasets': {},
        'train': {
            'total_iter': 40,
            'optim': {'type': 'SGD', 'lr': 0.02, 'momentum': 0.9, 'weight_decay': 5e-4},
            'fr_opt': {'type': 'ASoftmaxLoss', 'lambda_decay': 10.0},
            **train,
        },
        'val': {'metrics': {'psnr': {'type': 'PSNR'}, 'own': {'type': 'FirstNumber', 'recogniser': None}}},
    }  # fmt: skip


def batch(seed: int = 0, each: int = 2) -> dict[str, Any]:
    """Coarse patterns of four people, with some noise."""
    people = np.random.default_rng(7).integers(40, 216, (PEOPLE, 4, 4, 3)).repeat(6, axis=1).repeat(6, axis=2)
    labels = np.arange(PEOPLE).repeat(each)
    noise = np.random.default_rng(seed).integers(-30, 31, (len(labels), 24, 24, 3))
    faces = torch.from_numpy((people[labels] + noise).astype(np.uint8))
    keys = [f'{seed}_{number}' for number in range(len(labels))]
    return {'gt': faces, 'identity': torch.from_numpy(labels), 'gt_path': keys}


def train(model: RecogniserModel, first: int, last: int) -> dict[str, float]:
    """Iterations ``first`` to ``last``, each on a batch of its own; the last one's log."""
    for number in range(first, last + 1):
        model.update_learning_rate(number)
        model.feed_data(batch(number))
        model.optimize_parameters(number)
    return dict(model.get_current_log())


def make(opt: dict[str, Any]) -> RecogniserModel:
    torch.manual_seed(0)
    return RecogniserModel(opt)


class Loader(list):  # type: ignore[type-arg]
    """Batches of a set."""

    dataset = SimpleNamespace(opt={'name': 'held'}, has_gt=True)


# ---- training ------------------------------------------------------------------------------------------------------


def test_people_are_learnt(tmp_path: Path) -> None:
    opt = options(tmp_path)
    opt['val']['metrics'] = {
        'accuracy': {'type': Verification.__name__, 'recogniser': None, 'folds': 2, 'per_fold': 10}
    }
    model = make(opt)
    log = train(model, 1, 60)
    assert set(log) == {'l_fr', 'accuracy'}
    assert log['accuracy'] == 1
    results = model.validate(Loader([batch(98, each=4), batch(99, each=2)]))
    assert results['result']['accuracy'] == 1
    assert results['result']['accuracy_pairs'] == 40


def test_a_recogniser_with_normalisation_learns_too(tmp_path: Path) -> None:
    opt = options(tmp_path)
    opt['network_r'], opt['network_h']['embedding_size'] = {'type': 'MobileFaceNet'}, 128
    assert train(make(opt), 1, 4)['accuracy'] == 1


def test_the_loss_is_that_of_head_and_iteration(tmp_path: Path) -> None:
    model = make(options(tmp_path))
    data = batch()
    with torch.no_grad():
        logits = model.net_h(model.net_r(data['gt'].permute(0, 3, 1, 2) / 255), data['identity'])
        expected = ASoftmaxLoss(lambda_decay=10.0)(logits, data['identity'], 7)
        accuracy = (logits.cosine.argmax(1) == data['identity']).float().mean()
    model.feed_data(data)
    model.optimize_parameters(7)
    assert model.get_current_log() == pytest.approx({'l_fr': expected.item(), 'accuracy': accuracy.item()})


def test_a_resumed_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    opt = options(tmp_path, ema_decay=0.5)
    whole = make(opt)
    train(whole, 1, 6)
    first = make(opt)
    train(first, 1, 3)
    torch.save(first.training_state(), tmp_path / 'state')
    resumed = RecogniserModel(copy.deepcopy(opt))
    resumed.load_training_state(torch.load(tmp_path / 'state', weights_only=True))
    train(resumed, 4, 6)
    for label in ('net_r', 'net_h'):
        torch.testing.assert_close(
            getattr(resumed, label).state_dict(), getattr(whole, label).state_dict(), rtol=0, atol=0
        )


def test_network_and_head_are_saved_and_the_network_is_a_recogniser_elsewhere(tmp_path: Path) -> None:
    model = make(options(tmp_path, ema_decay=0.5))
    train(model, 1, 2)
    assert set(model.save_networks('latest')) == {'net_r', 'net_h'}
    head = torch.load(tmp_path / 'net_h_latest.pth', weights_only=True)
    torch.testing.assert_close(head['params']['weight'], model.net_h.weight.detach())
    assert head['meta']['arch'] == {'type': 'ASoftmaxHead', 'num_classes': PEOPLE}
    net = make_recogniser({'type': 'SphereFace20', 'path': str(tmp_path / 'net_r_latest.pth')})
    torch.testing.assert_close(net.state_dict(), model.average['net_r'].net.state_dict())
    with pytest.raises(UserError, match='ASoftmaxHead, not SphereFace20'):
        make_recogniser({'type': 'SphereFace20', 'path': str(tmp_path / 'net_h_latest.pth')})


def test_testing_needs_no_head(tmp_path: Path) -> None:
    model = RecogniserModel({**options(tmp_path), 'is_train': False})
    assert model.net_h is None
    assert set(model.validate(Loader([batch()]))) == {'result'}


# ---- validation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('ema_decay', [0.0, 0.9])
def test_the_network_under_training_judges_hr_faces(tmp_path: Path, ema_decay: float) -> None:
    opt = options(tmp_path, ema_decay=ema_decay)
    opt['val']['metrics']['offset'] = {'type': 'FirstNumber', 'recogniser': {'type': 'MobileFaceNet'}, 'offset': 3.0}
    model = make(opt)
    train(model, 1, 2)
    FirstNumber.seen.clear()
    batches = [batch(50), batch(51, each=1)]
    results = model.validate(Loader(batches))
    net = model.average['net_r'].net if ema_decay else model.net_r
    images = torch.cat([data['gt'] for data in batches]).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = net.eval()(images)[:, 0].mean().item()
    assert results == {
        'result': {
            'own': pytest.approx(expected, abs=1e-5),
            'own_twice': 2.0,
            'offset': pytest.approx(expected + 3, abs=1e-5),
            'offset_twice': 2.0,
        }
    }
    given = FirstNumber.seen[0]
    assert (given['keys'], given['net'], given['recogniser']) == (batches[0]['gt_path'], 'HR', net)
    assert torch.equal(given['identity'], batches[0]['identity'])
    assert torch.equal(given['sr'], images[: 2 * PEOPLE])


def test_training_goes_on_after_validation(tmp_path: Path) -> None:
    model = make(options(tmp_path))
    model.validate(Loader([batch()]))
    assert model.net_r.training and not model.net_r.frozen
    before = model.net_r.fc5.weight.detach().clone()
    train(model, 1, 1)
    assert not torch.equal(before, model.net_r.fc5.weight)


def test_it_shows_no_images() -> None:
    assert RecogniserModel.evaluation.shows_images is False


# ---- what is said of data and networks that do not fit --------------------------------------------------------------


def test_a_batch_without_identities_is_named(tmp_path: Path) -> None:
    model = make(options(tmp_path))
    model.feed_data({'gt': batch()['gt']})
    with pytest.raises(UserError, match=r"no 'identity'.*views: \[identity\]"):
        model.optimize_parameters(1)


def faces(labels: list[int] | None, chosen: list[int]) -> Any:
    """What is looked at of a set: labels of the whole store, and the images chosen of it."""
    identities = None if labels is None else np.array(labels)
    return SimpleNamespace(name='people', gt=SimpleNamespace(identities=identities), chosen=np.array(chosen))


def test_labels_are_compared_with_the_classes(tmp_path: Path) -> None:
    model = make(options(tmp_path))
    model.check_data(faces([0, 3, 9], [0, 1]))
    with pytest.raises(UserError, match=r"'people' has identities up to 9.* 4 classes: 'network_h.num_classes'.* 10"):
        model.check_data(faces([0, 3, 9], [0, 2]))
    with pytest.raises(UserError, match="'people' holds no identities"):
        check_identities(faces(None, [0]), ASoftmaxHead(3))
    with pytest.raises(UserError, match="'people' has the identity -1"):
        check_identities(faces([-1, 0], [0, 1]), ASoftmaxHead(3))


def test_networks_that_do_not_fit_are_named(tmp_path: Path) -> None:
    opt = options(tmp_path)
    opt['network_r'] = {'type': 'MobileFaceNet'}
    with pytest.raises(UserError, match="MobileFaceNet have 128.*takes 512.*'network_h.embedding_size: 128'"):
        make(opt)
    opt['network_r'] = {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 4}
    with pytest.raises(UserError, match="'network_r' is VGGStyleDiscriminator, which is no recogniser"):
        make(opt)


def test_embedding_sizes_of_the_recognisers_that_can_be_trained() -> None:
    assert (SphereFace20.embedding_size, MobileFaceNet.embedding_size) == (512, 128)
