"""PKDN's two stages: losses against values computed by hand, who learns from what, and what the teacher is asked."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from stepping import assert_log, same, train, weights
from tiny import networks_of
from torch import Tensor

from fsr_plugins.errors import UserError
from fsr_plugins.registry import load_plugins

load_plugins()

from fsr_plugins.methods.pkdn.models import PKDNStudentModel, PKDNTeacherModel  # noqa: E402

TEACHER = {'type': 'PKDNTeacher', 'num_feat': 4, 'num_block': 1}
STUDENT = {'type': 'PKDNStudent', 'num_feat': 4, 'num_block': 1, 'squeeze_factor': 2}
L1 = {'type': 'L1Loss', 'loss_weight': 1.0}
KD = {'type': 'DistillationLoss', 'criterion': 'l1', 'response_weight': 0.1, 'feature_weight': 10.0}
KDFSRNET = {**KD, 'schedule': 'kdfsrnet', 'epochs': 2, 'iters_per_epoch': 3}


def stage(train: dict[str, Any], **blocks: Any) -> dict[str, Any]:
    return {
        'name': 'test',
        'is_train': True,
        'num_gpu': 0,
        'dist': False,
        'scale': 8,
        'path': {},
        'degradation': {'type': 'BicubicDown', 'scale': 8},
        'train': {'total_iter': 9, 'optim': {'type': 'SGD', 'lr': 0.1}, 'pixel_opt': L1, **train},
        **{key: block for key, block in blocks.items() if block is not None},
    }


def teacher_model(**blocks: Any) -> PKDNTeacherModel:
    torch.manual_seed(0)
    return PKDNTeacherModel(stage({}, network_t=TEACHER, **blocks))


def student_model(*, blocks: dict[str, Any] | None = None, **train: Any) -> PKDNStudentModel:
    """A small student with KDFSRNet's weights, constant; ``blocks`` and ``train`` change it."""
    torch.manual_seed(0)
    return PKDNStudentModel(
        stage({'kd_opt': KD, **train}, **{'network_g': STUDENT, 'network_t': TEACHER, **(blocks or {})})
    )


@pytest.fixture
def data() -> dict[str, Any]:
    numbers = torch.Generator().manual_seed(1)
    return {
        'gt': torch.randint(256, (2, 128, 128, 3), dtype=torch.uint8, generator=numbers),
        'parsing': torch.randint(19, (2, 128, 128), dtype=torch.uint8, generator=numbers),
        'seed': torch.arange(2),
        'gt_path': ['a', 'b'],
    }


def l1(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean()


@torch.no_grad()
def by_hand(model: PKDNStudentModel, data: dict[str, Any], stages: list[int]) -> dict[str, Tensor]:
    """Eq. 3 to 5 without their weights, from copies of the networks as they are."""
    model.feed_data(data)
    assert model.lq is not None and model.gt is not None
    net_g, net_t = copy.deepcopy(model.net_g), copy.deepcopy(model.net_t)
    sr, features = net_g(model.lq, with_features=True)
    sr_t, features_t = net_t(model.lq, data['parsing'], with_features=True)
    compared = [l1(features_t[each], features[each]) for each in stages]
    return {
        'l_pix': l1(sr, model.gt),
        'l_response': l1(sr_t, sr),
        'l_feature': sum(compared) / len(compared),
    }


#: Four features down, the bottleneck, four up.
DOWN_AND_UP, BOTTLENECK = [0, 1, 2, 3, 5, 6, 7, 8], 4


@pytest.mark.parametrize('bottleneck', [False, True])
def test_losses_of_the_student_by_hand(data: dict[str, Any], bottleneck: bool) -> None:
    model = student_model(kd_include_bottleneck=bottleneck)
    raw = by_hand(model, data, [*DOWN_AND_UP, BOTTLENECK] if bottleneck else DOWN_AND_UP)
    expected = {'l_pix': raw['l_pix'], 'l_response': 0.1 * raw['l_response'], 'l_feature': 10 * raw['l_feature']}
    assert_log(train(model, data, 1), expected)


def test_losses_of_the_teacher_by_hand(data: dict[str, Any]) -> None:
    model = teacher_model()
    model.feed_data(data)
    with torch.no_grad():
        expected = l1(model.net_t(model.lq, data['parsing']), model.gt)
    before = weights(model.net_t)
    assert_log(train(model, data, 1), {'l_pix': expected})
    assert not same(before, weights(model.net_t))


def test_teacher_is_left_as_it_was_bit_for_bit_and_gets_no_gradient(data: dict[str, Any]) -> None:
    model = student_model()
    assert model.net_t is not None
    before, students = weights(model.net_t), weights(model.net_g)
    train(model, data, 1, 2, 3)
    model.assert_frozen_unchanged()
    assert same(before, weights(model.net_t))
    assert not same(students, weights(model.net_g))
    assert not model.net_t.training
    assert all(p.grad is None and not p.requires_grad for p in model.net_t.parameters())


def asked(model: PKDNStudentModel) -> list[Any]:
    """Grows by what the teacher is given, and by whether gradients were recorded then."""
    calls: list[Any] = []
    assert model.net_t is not None
    model.net_t.register_forward_pre_hook(lambda _, given: calls.append((given, torch.is_grad_enabled())))
    return calls


def test_teacher_runs_once_a_batch_without_a_graph_and_sees_the_batch_s_maps(data: dict[str, Any]) -> None:
    model = student_model()
    calls = asked(model)
    train(model, data, 1)
    [((lq, parsing), recorded)] = calls
    assert lq is model.lq and torch.equal(parsing, data['parsing'])
    assert not recorded
    train(model, data, 2, 3)
    assert len(calls) == 3


def test_schedule_of_kdfsrnet_fades_the_features_and_ends_the_distillation(data: dict[str, Any]) -> None:
    model = student_model(kd_opt=KDFSRNET)
    calls = asked(model)
    raw = by_hand(model, data, DOWN_AND_UP)
    calls.clear()
    log = train(model, data, 1)
    assert log['l_feature'] == pytest.approx(10 * float(raw['l_feature']), rel=1e-4)
    raw = by_hand(model, data, DOWN_AND_UP)
    log = train(model, data, 4)  # the second epoch of two
    assert log['l_feature'] == pytest.approx(5 * float(raw['l_feature']), rel=1e-4)
    assert log['l_response'] == pytest.approx(0.1 * float(raw['l_response']), rel=1e-4)
    calls.clear()
    del data['parsing']  # nobody needs it any more
    train(model, data, 7)
    assert not calls


def test_after_the_distillation_a_step_is_that_of_the_control(data: dict[str, Any]) -> None:
    model = student_model(kd_opt=KDFSRNET)
    control = student_model(kd_opt=None, blocks={'network_t': None})
    control.net_g.load_state_dict(model.net_g.state_dict())
    train(model, data, 7)
    train(control, data, 7)
    assert same(weights(model.net_g), weights(control.net_g))


def test_response_or_features_alone(data: dict[str, Any]) -> None:
    assert set(train(student_model(kd_opt={**KD, 'response_weight': 0.0}), data, 1)) == {'l_pix', 'l_feature'}
    assert set(train(student_model(kd_opt={**KD, 'feature_weight': 0.0}), data, 1)) == {'l_pix', 'l_response'}


def test_teacher_is_validated_with_the_maps_of_the_set(data: dict[str, Any]) -> None:
    for model, name in ((teacher_model(), 'result'), (student_model(), 'teacher')):
        assert model.net_t is not None
        net = model.evaluation.networks(model)[name]
        model.feed_data(data)
        assert model.lq is not None
        torch.testing.assert_close(net(model.lq), model.net_t(model.lq, data['parsing']), rtol=0, atol=0)
        other = {**data, 'parsing': 18 - data['parsing']}
        model.feed_data(other)
        torch.testing.assert_close(net(model.lq), model.net_t(model.lq, other['parsing']), rtol=0, atol=0)


def test_validation_leaves_the_averaged_teacher_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    model = PKDNTeacherModel(stage({'ema_decay': 0.9}, network_t=TEACHER))
    net = model.evaluation.networks(model)['result']
    assert not net.training
    assert model.net_t.training and networks_of(teacher_model())['result'].training


def test_names_of_what_is_compared() -> None:
    assert list(networks_of(teacher_model())) == ['result']
    model = student_model()
    nets = model.evaluation.networks(model)
    assert list(nets) == ['result', 'teacher']
    assert nets['result'] is model.net_g
    assert list(networks_of(student_model(validate_teacher=False))) == ['result']
    control = student_model(kd_opt=None, blocks={'network_t': None})
    assert list(networks_of(control)) == ['result']


def test_the_control_needs_no_maps_and_learns_by_eq_3_alone(data: dict[str, Any]) -> None:
    del data['parsing']
    assert set(train(student_model(kd_opt=None, blocks={'network_t': None}), data, 1)) == {'l_pix'}


FACES = {'type': 'FaceDataset', 'dataroot_gt': 'faces'}


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: student_model(kd_opt=None), "'train.kd_opt' is missing"),
        (lambda: student_model(blocks={'network_t': None}), "needs a block 'network_t'"),
        (lambda: teacher_model(datasets={'train': FACES}), r"views: \[parsing\]' in 'datasets.train'"),
        (
            lambda: student_model(blocks={'datasets': {'train': {**FACES, 'views': ['parsing']}, 'val': FACES}}),
            'datasets.val',
        ),
    ],
)
def test_what_is_missing_is_named(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_sets_need_maps_only_where_the_teacher_sees_them(data: dict[str, Any]) -> None:
    sets = {'datasets': {'train': {**FACES, 'views': ['parsing']}, 'val': FACES}}
    student_model(blocks=sets, validate_teacher=False)
    student_model(blocks={'datasets': {'train': FACES}, 'network_t': None}, kd_opt=None)
    del data['parsing']
    with pytest.raises(UserError, match='parsing maps'):
        train(teacher_model(), data, 1)


def test_batch_of_one(data: dict[str, Any]) -> None:
    one = {key: value[:1] for key, value in data.items()}
    for model in (teacher_model(), student_model()):
        assert all(torch.isfinite(torch.tensor(value)) for value in train(model, one, 1).values())
