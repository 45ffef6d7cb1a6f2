"""Losses between the device and the log: collected without waiting, checked for NaN and Inf."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fsr_plugins.errors import RunError, UserError
from fsr_plugins.wording import kind_of

#: So many phases are not looked at, at most: their values and the names of their files take memory.
_MOST = 1000


class NotFinite(RunError):
    """A loss or a weight is NaN or Inf. The caller that saves adds to the message what is kept."""


class LossWatch:
    """Keeps the loss values of the last iterations as tensors until somebody needs the numbers.

    On a CPU every iteration is checked at once. On an accelerator a check waits for the device, so it is done when the
    log is written, before anything is saved, and after a thousand phases; the iteration and the files of the batch are
    kept to name them then.
    """

    def __init__(self, device: torch.device) -> None:
        self.immediate = device.type == 'cpu'
        self._pending: list[tuple[int, list[str], Tensor, Sequence[str]]] = []
        self.last: dict[str, Tensor] = {}

    def add(self, iteration: int, losses: dict[str, Tensor], files: Sequence[str]) -> None:
        """Takes in one phase's losses (scalars) before they are back-propagated.

        Raises:
            NotFinite: a loss is NaN or Inf.
            UserError: one is no scalar: its class, which may be anybody's, gives something else.
        """
        if not losses:
            return
        for name, value in losses.items():
            if not isinstance(value, Tensor) or value.ndim:
                raise UserError(f'The loss {name} must give one number as a tensor, and gave {kind_of(value)}.')
        values = torch.stack([value.detach().float() for value in losses.values()])
        self.last.update(zip(losses, values, strict=True))
        self._pending.append((iteration, list(losses), values, files))
        if self.immediate or len(self._pending) >= _MOST:
            self.check()

    def check(self) -> None:
        """Waits for the device once and looks at every value not looked at yet.

        Raises:
            NotFinite: names the loss, the iteration and the batch's files.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return
        numbers = torch.cat([values for _, _, values, _ in pending]).tolist()
        for iteration, names, _, files in pending:
            for name, number in zip(names, numbers[: len(names)], strict=True):
                if not math.isfinite(number):
                    raise NotFinite(
                        f'The loss {name} is {number} at iteration {iteration}, batch: '
                        f'{", ".join(files) or "unnamed"}. Training stopped. Lower the learning rate, clip the '
                        'gradients (train.clip_grad_norm) or look at these images.'
                    )
            del numbers[: len(names)]
