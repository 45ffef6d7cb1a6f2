"""Optimisers and schedulers by the names that option files give them."""

from __future__ import annotations

import inspect

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fsr_plugins.errors import UserError, shown
from fsr_plugins.muon import MuonAdam
from fsr_plugins.registry import near

#: BasicSR's names beside torch's own; ``MultiStepLR`` means BasicSR's, which also restarts.
BASICSR_SCHEDULERS = {
    'MultiStepLR': 'MultiStepRestartLR',
    'MultiStepRestartLR': 'MultiStepRestartLR',
    'CosineAnnealingRestartLR': 'CosineAnnealingRestartLR',
}

#: What torch has not.
OWN: dict[str, type[Optimizer]] = {'MuonAdam': MuonAdam}


def optimizer_class(name: str) -> type[Optimizer]:
    """The class of ``torch.optim`` named so, or of :data:`OWN`.

    Raises:
        UserError: there is none, and the nearest is suggested; or its step needs the loss as a function.
    """
    found = OWN.get(name) or getattr(torch.optim, name, None)
    if not (isinstance(found, type) and issubclass(found, Optimizer)):
        raise UserError(f'torch.optim has no optimiser {shown(name)}.{near(name, _usable())}')
    if not _steps_alone(found):
        raise UserError(f'{name} works out the loss anew several times in a step, which no training here does.')
    return found


def _steps_alone(cls: type[Optimizer]) -> bool:
    """Whether a step needs gradients alone, and not the loss as a function."""
    closure = inspect.signature(cls.step).parameters.get('closure')
    return closure is None or closure.default is not inspect.Parameter.empty


def _usable() -> list[str]:
    found = (*OWN.items(), *vars(torch.optim).items())
    return [name for name, cls in found if isinstance(cls, type) and issubclass(cls, Optimizer) and _steps_alone(cls)]


def scheduler_class(name: str) -> type[LRScheduler]:
    """BasicSR's scheduler of that name, else torch's.

    Raises:
        UserError: there is none; the nearest is suggested.
    """
    from basicsr.models import lr_scheduler as basicsr_schedulers

    if name in BASICSR_SCHEDULERS:
        return getattr(basicsr_schedulers, BASICSR_SCHEDULERS[name])
    found = getattr(torch.optim.lr_scheduler, name, None)
    if not (isinstance(found, type) and issubclass(found, LRScheduler)):
        names = [*BASICSR_SCHEDULERS, *dir(torch.optim.lr_scheduler)]
        raise UserError(f'There is no scheduler {shown(name)}.{near(name, names)}')
    return found
