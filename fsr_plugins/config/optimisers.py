"""Optimisers and schedulers by the names that option files give them."""

from __future__ import annotations

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fsr_plugins.errors import UserError, shown
from fsr_plugins.registry import near

#: BasicSR's names beside torch's own; ``MultiStepLR`` means BasicSR's, which also restarts.
BASICSR_SCHEDULERS = {
    'MultiStepLR': 'MultiStepRestartLR',
    'MultiStepRestartLR': 'MultiStepRestartLR',
    'CosineAnnealingRestartLR': 'CosineAnnealingRestartLR',
}


def optimizer_class(name: str) -> type[Optimizer]:
    """The class of ``torch.optim`` named so.

    Raises:
        UserError: there is none; the nearest is suggested.
    """
    found = getattr(torch.optim, name, None)
    if not (isinstance(found, type) and issubclass(found, Optimizer)):
        raise UserError(f'torch.optim has no optimiser {shown(name)}.{near(name, dir(torch.optim))}')
    return found


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
