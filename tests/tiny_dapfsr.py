"""DAP-FSR's networks, options and faces, small enough for a test."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from fsr_plugins.archs.stylegan2 import StyleGAN2Critic
from fsr_plugins.checkpoints import save_network
from fsr_plugins.methods.dapfsr.archs import DAPEncoder
from fsr_plugins.metrics.base import MeanMetric
from fsr_plugins.registry import ARCH_REGISTRY, METRIC_REGISTRY

SIZE, LATENTS, FEAT = 16, 6, 8
DECODER = {'type': 'StyleGAN2Decoder', 'size': SIZE, 'num_style_feat': FEAT, 'num_mlp': 2, 'narrow': 1 / 64}
CRITIC = {'type': 'StyleGAN2Critic', 'size': SIZE, 'narrow': 1 / 64}
#: Networks as DAP-FSR has them, with the narrowest backbone.
ENCODER = {
    'type': 'DAPEncoder', 'size': 64, 'num_latent': LATENTS, 'num_style_feat': FEAT, 'backbone': 'resnet18',
    'num_feat': 4,
}  # fmt: skip


#: What noise is weighted with in the decoder, whose gradient is 0 where there is none.
STRENGTH = re.compile(r'(decoder\.)?style_convs?\d*(\.\d+)?\.weight')


class PlainDAPEncoder(nn.Module):
    """What DAPEncoder is to the rest of the method, in the place of the ResNet a convolution and BN."""

    def __init__(self) -> None:
        super().__init__()
        self.num_latent, self.num_style_feat = LATENTS, FEAT
        self.predict_offset = True
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Flatten())
        self.head = nn.Module()
        self.head.latents = nn.Linear(128, LATENTS * FEAT)
        self.register_buffer('latent_mean', torch.linspace(-1, 1, FEAT))
        self.register_buffer('latent_std', torch.linspace(0.5, 1.5, FEAT))

    set_statistics = DAPEncoder.set_statistics

    def forward(self, lq: Tensor) -> Tensor:
        return self.latent_mean + self.offset(lq) * self.latent_std

    def offset(self, lq: Tensor) -> Tensor:
        return self.head.latents(self.body(lq)).unflatten(1, (LATENTS, FEAT))

    def last_layers(self) -> list[nn.Linear]:
        return [self.head.latents]


PLAIN = {'type': 'PlainDAPEncoder'}


class TinyBrightness(MeanMetric):
    """A metric that needs no pairs: the mean of all values."""

    name, better, needs_gt = 'bright', 'higher', False

    def __init__(self) -> None:
        super().__init__('RGB')

    def values(self, sr: Tensor, gt: Tensor | None) -> Tensor:
        return sr.mean(dim=(1, 2, 3))


#: Registered as PLAIN is.
BRIGHT = {'metrics': {'bright': {'type': 'TinyBrightness'}}}


@contextmanager
def registered() -> Iterator[None]:
    """The classes of this file can be named in options."""
    ARCH_REGISTRY.register(PlainDAPEncoder)
    METRIC_REGISTRY.register(TinyBrightness)
    yield
    del ARCH_REGISTRY._obj_map['PlainDAPEncoder'], METRIC_REGISTRY._obj_map['TinyBrightness']


def dapfsr(encoder: Mapping[str, Any] = PLAIN) -> dict[str, Any]:
    """The block of encoder and decoder as one network."""
    return {'type': 'DAPFSR', 'encoder': dict(encoder), 'decoder': dict(DECODER)}


def write_features(path: Path) -> dict[str, Any]:
    """A FeatureLoss by a critic at random, whose file is written."""
    torch.manual_seed(3)
    critic = StyleGAN2Critic(**{key: value for key, value in CRITIC.items() if key != 'type'})
    save_network(path, {'params': critic}, {'arch': CRITIC})
    layers = ['conv_body.0', 'conv_body.1']
    return {
        'type': 'FeatureLoss', 'features': {'type': 'StyleGAN2Critic', 'path': str(path), 'layers': layers}
    }  # fmt: skip


def faces(num: int, seed: int = 1) -> dict[str, Any]:
    """A batch as a loader gives it."""
    pixels = torch.randint(256, (num, SIZE, SIZE, 3), generator=torch.Generator().manual_seed(seed))
    return {
        'gt': pixels.to(torch.uint8),
        'seed': torch.arange(num),
        'gt_path': [str(key) for key in range(num)],
    }


def image(batch: Tensor) -> Tensor:
    return batch.permute(0, 3, 1, 2).float() / 255


def loader(data: dict[str, Any], *parts: slice) -> Any:
    """A validation set of some batches."""

    class Batches(list):
        dataset = SimpleNamespace(opt={'name': 'held'})

    return Batches({key: value[part] for key, value in data.items()} for part in parts)


def figures_of(images: Tensor) -> float:
    """Brightness of what is written to a file of 8 bits."""
    return float(images.clamp(0, 1).mul(255).round().div(255).double().mean())


def train(model: Any, data: Mapping[str, Any], iterations: int = 1, first: int = 1) -> dict[str, float]:
    """Some iterations on one batch; the log of the last."""
    for current in range(first, first + iterations):
        model.watch.last.clear()
        model.feed_data(data)
        model.optimize_parameters(current)
    return dict(model.get_current_log())


def assert_resumes(make: Callable[[], Any], data: Mapping[str, Any], whole: int = 4, part: int = 2) -> None:
    """Trained without a break and with one, all networks, averages and optimisers are the same to the bit."""
    states = []
    for breaks in (False, True):
        model = make()
        torch.manual_seed(5)
        train(model, data, part)
        if breaks:
            state, numbers = torch.load(_written(model.training_state()), weights_only=True), torch.get_rng_state()
            model = make()
            model.load_training_state(state)
            torch.set_rng_state(numbers)
        train(model, data, whole - part, first=part + 1)
        states.append(model.training_state())
    assert_same(*states)


def _written(state: Mapping[str, Any]) -> Any:
    file = io.BytesIO()
    torch.save(dict(state), file)
    file.seek(0)
    return file


def assert_same(first: Any, second: Any, where: str = 'state') -> None:
    """Nested containers hold equal tensors and values."""
    assert type(first) is type(second), where
    if isinstance(first, Mapping):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same(first[key], second[key], f'{where}.{key}')
    elif isinstance(first, list | tuple):
        for number, (ours, theirs) in enumerate(zip(first, second, strict=True)):
            assert_same(ours, theirs, f'{where}[{number}]')
    else:
        assert torch.equal(first, second) if isinstance(first, Tensor) else first == second, where


def state_of(net: nn.Module) -> dict[str, Tensor]:
    """A copy of the network's parameters and buffers."""
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def changed(net: nn.Module, before: Mapping[str, Tensor]) -> set[str]:
    """Names of the parameters and buffers that are no longer what they were."""
    return {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}


def held(net: nn.Module, optimizer: torch.optim.Optimizer) -> set[str]:
    """Names of the parameters that an optimiser has."""
    of_optimizer = {id(parameter) for group in optimizer.param_groups for parameter in group['params']}
    return {name for name, parameter in net.named_parameters() if id(parameter) in of_optimizer}
