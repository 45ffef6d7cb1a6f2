"""What every network of the toolkit must do: build from its defaults, run and learn on a batch of one."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fsr_plugins.registry import ARCH_REGISTRY, load_plugins

load_plugins()
NAMES = sorted(name for name, cls in ARCH_REGISTRY if cls.__module__.startswith('fsr_plugins.'))

#: Networks whose weights alone take seconds to be drawn.
LARGE = {'DAPFSR', 'DAPEncoder', 'StyleGAN2Critic', 'StyleGAN2Decoder'}
BUILT = [pytest.param(name, marks=pytest.mark.long) if name in LARGE else name for name in NAMES]

#: A network whose input is not a 16x16 RGB image (or ``input_size`` square) says here what it is fed.
INPUTS: dict[str, Callable[[], tuple[Tensor, ...]]] = {
    'ASoftmaxHead': lambda: (torch.randn(1, 512), torch.randint(10575, (1,))),
    'PKDNTeacher': lambda: (torch.rand(1, 3, 16, 16), torch.randint(19, (1, 128, 128))),
    'StyleGAN2Decoder': lambda: (torch.randn(1, 512),),
    'TSNetDown': lambda: (torch.rand(1, 3, 64, 64),),
    # normalised embeddings: one vector has no variance to train with
    **dict.fromkeys(('ArcFace', 'FaceNet', 'MobileFaceNet'), lambda: (torch.rand(2, 3, 16, 16),)),
}

#: A network that uses all of its layers only when it is asked for more than the image.
OPTIONS: dict[str, dict[str, bool]] = {'ISRKDGenerator': {'details': True}}


def inputs_of(name: str, net: nn.Module) -> tuple[Tensor, ...]:
    if name in INPUTS:
        return INPUTS[name]()
    size = getattr(net, 'input_size', 16)
    return (torch.rand(1, 3, size, size),)


def outputs_of(name: str, net: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    return tree_leaves(net(*inputs, **OPTIONS.get(name, {})))


#: Networks that are solved, not trained by gradients.
SOLVED = {'LinearFace'}


def test_the_toolkit_registers_networks() -> None:
    assert {'TSNetSR', 'TSNetDown', 'LightCNNDiscriminator'} <= set(NAMES)


@pytest.mark.parametrize('name', BUILT)
def test_builds_from_defaults_and_learns_from_a_batch_of_one(name: str) -> None:
    torch.manual_seed(0)
    net = ARCH_REGISTRY.get(name)().train()
    inputs = inputs_of(name, net)
    outputs = outputs_of(name, net, inputs)
    for output in outputs:
        assert output.shape[0] == inputs[0].shape[0]
        assert torch.isfinite(output).all()
    if name in SOLVED:
        assert not list(net.parameters())
        return
    torch.stack([(output**2).mean() for output in outputs]).sum().backward()
    untouched = [key for key, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert not untouched


@pytest.mark.parametrize('name', BUILT)
def test_evaluation_is_deterministic_and_state_loads_back(name: str) -> None:
    torch.manual_seed(0)
    net, twin = (ARCH_REGISTRY.get(name)().eval() for _ in range(2))
    twin.load_state_dict(net.state_dict())
    batch = inputs_of(name, net)
    with torch.no_grad():
        torch.testing.assert_close(outputs_of(name, net, batch), outputs_of(name, twin, batch), rtol=0, atol=0)


@pytest.mark.parametrize('name', NAMES)
def test_is_documented_and_every_argument_has_a_default(name: str) -> None:
    cls = ARCH_REGISTRY.get(name)
    assert inspect.getdoc(cls)
    required = [p for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
    assert not required
