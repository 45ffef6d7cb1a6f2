"""Networks of which a part is trained, networks put together of others, and pictures of the training."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fsr_plugins
from fsr_plugins.engine.report import write_preview
from fsr_plugins.errors import RunError
from fsr_plugins.models import FSRModel, Net
from fsr_plugins.registry import ARCH_REGISTRY


class TwoLayers(nn.Module):
    """Doubles an image's sides."""

    def __init__(self, num_feat: int = 4) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, num_feat, 3, padding=1)
        self.tail = nn.Conv2d(num_feat, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(self.tail(self.body(x)), 2)


class InARow(nn.Module):
    """Two networks as one."""

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__()
        self.first, self.second = (
            net if isinstance(net, nn.Module) else TwoLayers(net['num_feat']) for net in (first, second)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


@pytest.fixture(autouse=True, scope='module')
def registered() -> Iterator[None]:
    for cls in (TwoLayers, InARow):
        ARCH_REGISTRY.register(cls)
    yield
    for cls in (TwoLayers, InARow):
        del ARCH_REGISTRY._obj_map[cls.__name__]


class Partly(FSRModel):
    """The tail of one network is trained, all of another, and nothing of a third."""

    networks = {'net_g': Net(result=True), 'net_h': Net(), 'net_t': Net(frozen=True)}
    shown: Tensor | None = None

    def prepare_training(self) -> None:
        self.learned: list[set[str]] = []

    def is_trainable(self, label: str, name: str) -> bool:
        return label == 'net_h' or name.startswith('tail.')

    def step(self) -> None:
        for labels in (('net_g',), ('net_h',)):
            with self.phase(*labels) as losses:
                self.learned.append({
                    f'{label}.{name}'
                    for label, net in self.trainable().items()
                    for name, parameter in net.named_parameters() if parameter.requires_grad
                })  # fmt: skip
                made = self.net_h(self.net_g(self.lq))
                losses[f'l_{labels[0]}'] = (made - self.net_t(self.net_t(self.lq))).square().mean()

    @classmethod
    def composite_blocks(cls, opt: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        return {'net_sr': {'type': 'InARow', 'first': opt['network_g'], 'second': opt['network_h']}}

    def composites(self) -> dict[str, nn.Module]:
        return {'net_sr': InARow(self.evaluated('net_g'), self.evaluated('net_h'))}

    def preview(self) -> Tensor | None:
        return self.shown


def model(folder: Path, **train: Any) -> Partly:
    torch.manual_seed(0)
    return Partly({
        'name': 'partly', 'scale': 4, 'is_train': True, 'dist': False, 'rank': 0, 'num_gpu': 0, 'datasets': {},
        'network_g': {'type': 'TwoLayers', 'num_feat': 3}, 'network_h': {'type': 'TwoLayers', 'num_feat': 5},
        'network_t': {'type': 'TwoLayers', 'num_feat': 2}, 'path': {'models': str(folder)},
        'train': {'total_iter': 4, 'optim': {'type': 'Adam', 'lr': 0.1, 'weight_decay': 0.1}, **train},
    })  # fmt: skip


def step(trained: Partly, iterations: int = 1) -> Partly:
    pixels = torch.randint(256, (2, 4, 4, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    for current in range(1, iterations + 1):
        trained.feed_data({'lq': pixels})
        trained.optimize_parameters(current)
    return trained


def names(net: nn.Module, parameters: list[nn.Parameter]) -> list[str]:
    by_id = {id(parameter): name for name, parameter in net.named_parameters()}
    return [by_id[id(parameter)] for parameter in parameters]


def test_an_optimiser_holds_what_is_trained_alone(tmp_path: Path) -> None:
    made = model(tmp_path)
    held = {label: optimizer.param_groups[0]['params'] for label, optimizer in made.optimizers_by_net.items()}
    assert names(made.net_g, held['net_g']) == ['tail.weight', 'tail.bias']
    assert names(made.net_h, held['net_h']) == ['body.weight', 'body.bias', 'tail.weight', 'tail.bias']
    assert set(held) == {'net_g', 'net_h'}


def test_the_rest_stays_and_gets_no_gradient(tmp_path: Path) -> None:
    made = model(tmp_path, ema_decay=0.5)
    before = copy.deepcopy({label: getattr(made, label).state_dict() for label in made.networks})
    step(made, 2)
    of_g, of_h = ({f'net_{net}.{part}.{kind}' for part in parts for kind in ('weight', 'bias')}
                  for net, parts in (('g', ['tail']), ('h', ['body', 'tail'])))  # fmt: skip
    assert made.learned == [of_g, of_h] * 2
    changed = {
        f'{label}.{name}'
        for label, old in before.items()
        for name, tensor in getattr(made, label).state_dict().items() if not torch.equal(tensor, old[name])
    }  # fmt: skip
    assert changed == of_g | of_h
    assert made.net_g.body.weight.grad is None
    assert torch.equal(made.average['net_g'].net.body.weight, before['net_g']['body.weight'])
    made.assert_frozen_unchanged()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda made: made.net_g.body.bias, 'What is not trained of net_g was changed'),
        (lambda made: made.net_t.tail.weight, 'The frozen network net_t was changed'),
    ],
)
def test_a_change_of_what_is_not_trained_is_noticed(tmp_path: Path, change: Any, message: str) -> None:
    made = step(model(tmp_path))
    with torch.no_grad():
        change(made).reshape(-1)[1] += 1e-6
    with pytest.raises(RunError, match=message):
        made.assert_frozen_unchanged()


def test_resuming_puts_the_optimiser_of_a_part_back(tmp_path: Path) -> None:
    whole = step(model(tmp_path), 4)
    begun = step(model(tmp_path), 2)
    resumed = model(tmp_path)
    resumed.load_training_state(copy.deepcopy(begun.training_state()))
    step(resumed, 2)
    for label in ('net_g', 'net_h'):
        own = getattr(resumed, label).state_dict()
        assert all(torch.equal(own[name], tensor) for name, tensor in getattr(whole, label).state_dict().items())
    resumed.assert_frozen_unchanged()


def test_a_network_put_together_is_written_at_the_end_alone(tmp_path: Path) -> None:
    made = step(model(tmp_path, ema_decay=0.5), 2)
    assert set(made.save_networks('2')) == {'net_g', 'net_h'}
    assert {file.name for file in tmp_path.iterdir()} == {'net_g_2.pth', 'net_h_2.pth'}
    files = made.save_networks('latest')
    assert files['net_sr'] == tmp_path / 'net_sr_latest.pth'
    loaded = fsr_plugins.load(files['net_sr'])
    lq = torch.rand(1, 3, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(loaded(lq), made.net_h(made.average['net_g'].net(lq)))
        assert not torch.allclose(loaded(lq), made.net_h(made.net_g(lq)))
    blocks = [{'type': 'TwoLayers', 'num_feat': number} for number in (3, 5)]
    assert loaded.meta['arch'] == {'type': 'InARow', 'first': blocks[0], 'second': blocks[1]}
    assert (loaded.meta['net'], loaded.meta['iteration']) == ('net_sr', 2)


def test_only_the_first_of_several_processes_writes_it(tmp_path: Path) -> None:
    made = model(tmp_path)
    made.options.rank = 1
    assert set(made.save_networks('latest')) == {'net_g', 'net_h', 'net_sr'}
    assert not list(tmp_path.iterdir())


def test_a_picture_of_the_training_is_written_where_there_is_one(tmp_path: Path) -> None:
    made = model(tmp_path)
    write_preview(tmp_path, made)
    assert not list(tmp_path.iterdir())
    made.shown = torch.zeros(3, 4, 6)
    made.shown[0, 1, 2] = 1.0
    made.shown[2, 3, 5] = 0.2
    write_preview(tmp_path, made)
    picture = cv2.imread(str(tmp_path / 'preview.png'))[..., ::-1]
    assert picture.shape == (4, 6, 3)
    assert picture[1, 2].tolist() == [255, 0, 0]
    assert picture[3, 5].tolist() == [0, 0, 51]
    assert np.count_nonzero(picture) == 2
