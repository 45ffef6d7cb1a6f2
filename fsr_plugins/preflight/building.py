"""Building a network only after it is known that the machine can hold it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from fsr_plugins.errors import UserError
from fsr_plugins.registry import build_network
from fsr_plugins.threads import available_memory
from fsr_plugins.values import Block

#: More parts than any network has; building more of them takes minutes.
_PARTS = 20_000


def build_within_memory(block: Block, copies: int) -> nn.Module:
    """The network of a block.

    Args:
        copies: how often its weights are held: with gradients and two moments four times.
    Raises:
        UserError: the memory is too small for it, or it has more parts than can be built.
    """
    most = available_memory() // copies
    # Without memory first; what looks at its numbers while it is built cannot be built so, but is watched all the same.
    with suppress(Exception), torch.device('meta'), _bounded(most, copies) as bound:
        build_network(block)
    if bound.problem:
        raise UserError(bound.problem)
    with _bounded(most, copies):
        return build_network(block)


class _Bound:
    """What is counted while a network is built, and why it must not go on."""

    def __init__(self, most: int, copies: int) -> None:
        self.most, self.copies = most, copies
        self.parts = self.size = 0
        self.problem = ''

    def part(self, module: nn.Module, name: str, child: object) -> None:
        """Counts a module."""
        self.parts += 1
        if self.parts > _PARTS:
            self.problem = f'it has more than {_PARTS} parts: make it smaller.'
            raise UserError(self.problem)

    def weights(self, module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        """Counts a parameter."""
        self.size += parameter.numel() * parameter.element_size()
        if self.size > self.most:
            self.problem = (
                f'its weights, held {self.copies} times, need more than the {self.copies * self.most / 1e9:.1f} GB of '
                'memory that are free: make it smaller.'
            )
            raise UserError(self.problem)


@contextmanager
def _bounded(most: int, copies: int) -> Iterator[_Bound]:
    """Ends the building of a network whose weights grow beyond ``most`` bytes."""
    bound = _Bound(most, copies)
    hooks = [
        register_module_module_registration_hook(bound.part),
        register_module_parameter_registration_hook(bound.weights),
    ]
    try:
        yield bound
    finally:
        for hook in hooks:
            hook.remove()
