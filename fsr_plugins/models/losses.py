"""The losses of a training, built from its options."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from fsr_plugins.config.options import TrainOptions
from fsr_plugins.errors import UserError
from fsr_plugins.registry import build

LossT = TypeVar('LossT', bound=nn.Module)


class Losses:
    """The losses that an option file gives, as modules on the device: ``losses.<key>`` is the one of ``train.<key>``.

    ``key in losses`` says whether it was given. A loss that was not given is no attribute: nobody has to ask for None.

    Args:
        options: what declares them.
        device: where they go.

    Raises:
        UserError: a loss cannot be built.
    """

    def __init__(self, options: TrainOptions, device: torch.device) -> None:
        self._modules: dict[str, nn.Module] = {
            key: build('losses', loss.block).to(device) for key, loss in options.losses.items()
        }

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def __getattr__(self, key: str) -> nn.Module:
        if key.startswith('_') or key not in self._modules:
            raise AttributeError(f"The option file gives no loss 'train.{key}'; ask `'{key}' in self.losses` first.")
        return self._modules[key]

    def __getitem__(self, key: str) -> nn.Module:
        return getattr(self, key)

    def typed(self, key: str, kind: type[LossT]) -> LossT:
        """The loss of ``train.<key>``, which must be of a class that has more than ``forward``.

        Raises:
            UserError: it is of another class.
        """
        module = self[key]
        if not isinstance(module, kind):
            raise UserError(f"'train.{key}' is a {type(module).__name__}: it must be a {kind.__name__}.")
        return module
