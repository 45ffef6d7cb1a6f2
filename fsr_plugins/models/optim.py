"""Optimisers and schedulers by name, and a warm-up that does not disturb the schedule."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fsr_plugins.compiling import optimise_without_compiler
from fsr_plugins.config.optimisers import optimizer_class, scheduler_class
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.errors import UserError
from fsr_plugins.muon import is_matrix
from fsr_plugins.values import Block


def build_optimizer(block: Block, parameters: Iterable[Parameter]) -> Optimizer:
    """Builds ``{type: Adam, lr: …, …}``; the fused implementation where there is one and nothing else is asked for."""
    arguments = copy.deepcopy(dict(block))
    cls = optimizer_class(arguments.pop('type'))
    if 'fused' in inspect.signature(cls).parameters and not {'fused', 'foreach'} & arguments.keys():
        arguments['fused'] = True
    optimise_without_compiler(cls)
    return cls(list(parameters), **arguments)


def build_scheduler(block: Block, optimizer: Optimizer) -> LRScheduler:
    """Builds ``{type: MultiStepLR, milestones: […], gamma: …}``, stepped once an iteration."""
    arguments = copy.deepcopy(dict(block))
    return scheduler_class(arguments.pop('type'))(optimizer, **arguments)


def chosen_blocks(train: TrainOptions, label: str) -> tuple[tuple[str, Block | None], tuple[str, Block | None]]:
    """Which blocks say how the network ``label`` is optimised and scheduled, each with its key in ``train``."""
    own, suffix = train.model_extra or {}, label.removeprefix('net_')
    optim, schedule = f'optim_{suffix}', f'scheduler_{suffix}'
    return (
        (optim, own[optim]) if own.get(optim) else ('optim', train.optim),
        (schedule, own[schedule]) if own.get(schedule) else ('scheduler', train.scheduler),
    )


def make_optimizers(
    train: TrainOptions, nets: Mapping[str, Sequence[Parameter]]
) -> dict[str, tuple[Optimizer, LRScheduler | None]]:
    """Optimiser and scheduler of each network ``net_<x>``: ``optim_<x>`` and ``scheduler_<x>``, else the common ones.

    Args:
        nets: what is trained of each network.
    Raises:
        UserError: a network has no optimiser.
    """
    made = {}
    for label, parameters in nets.items():
        (key, block), (_, schedule) = chosen_blocks(train, label)
        if block is None:
            raise UserError(f"'train' has neither 'optim_{label.removeprefix('net_')}' nor '{key}' for {label}.")
        optimizer = build_optimizer(block, parameters)
        made[label] = (optimizer, build_scheduler(schedule, optimizer) if schedule else None)
    return made


class Schedule:
    """Learning rates of several optimisers: each one's schedule, times a linear warm-up common to all.

    The schedule's own rate is kept apart from the warmed-up one: schedulers compute from the last rate, and writing the
    warmed-up rate into it leaves BasicSR at (n − 1)/n of the rate for ever.
    """

    def __init__(self, pairs: Iterable[tuple[Optimizer, LRScheduler | None]]) -> None:
        self.pairs = list(pairs)
        for optimizer, _ in self.pairs:
            # Rates go on while a network does not learn yet, of which torch would warn.
            optimizer._opt_called = True  # type: ignore[attr-defined]
            for group in optimizer.param_groups:
                group['schedule_lr'] = group['lr']

    def set(self, iteration: int, warmup_iter: int = -1) -> None:
        """Sets the rates for ``iteration`` (from 1), to be called once an iteration in order."""
        factor = iteration / warmup_iter if iteration < warmup_iter else 1.0
        for optimizer, scheduler in self.pairs:
            for group in optimizer.param_groups:
                group['lr'] = group['schedule_lr']
            if scheduler is not None and iteration > 1:
                scheduler.step()
            for group in optimizer.param_groups:
                group['schedule_lr'] = group['lr']
                group['lr'] *= factor


def alike(ours: object, theirs: object) -> bool:
    """Whether nested plain values have the same form: keys, lengths and types; whole numbers pass for others."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        # Counters of milestones, by number: which there are is not their form.
        if all(isinstance(key, int) for key in (*ours, *theirs)):
            return all(isinstance(value, int) for value in theirs.values())
        return ours.keys() == theirs.keys() and all(alike(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(alike, ours, theirs))
    if isinstance(ours, Tensor) or isinstance(theirs, Tensor):
        return isinstance(ours, Tensor) and isinstance(theirs, Tensor) and ours.shape == theirs.shape
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return type(ours) is type(theirs)
    if isinstance(ours, int | float):
        return isinstance(theirs, int | float) and math.isfinite(theirs)
    return type(ours) is type(theirs)


def fits_parameters(optimizer: Optimizer, state: object) -> bool:
    """Whether what an optimiser has saved is of its parameters' shapes, and the same kind of thing for all alike.

    Matrices are alike, and so is all else: an optimiser may treat them in two ways.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    if not isinstance(state, Mapping) or not state.keys() <= set(range(len(parameters))):
        return False
    # These keep other things than numbers and moments.
    if type(optimizer).__name__ in ('Adafactor', 'LBFGS', 'Muon'):
        return True
    forms: dict[bool, set[object]] = {True: set(), False: set()}
    for number, values in state.items():
        if not isinstance(values, Mapping):
            return False
        shapes = [value.shape for value in values.values() if isinstance(value, Tensor)]
        if any(shape not in ((), parameters[number].shape) for shape in shapes):
            return False
        form = tuple((key, 'tensor' if isinstance(value, Tensor) else type(value)) for key, value in values.items())
        forms[is_matrix(parameters[number])].add(form)
    return all(len(alike) <= 1 for alike in forms.values())


def needs_of(optimizer: Optimizer) -> set[str]:
    """What an optimiser keeps of its parameters, by name: as one of its class and settings does after a step."""
    taken = inspect.signature(type(optimizer)).parameters
    settings = {key: value for key, value in optimizer.param_groups[0].items() if key in taken and key != 'params'}
    shapes = {(2, 2) if is_matrix(parameter) else (2,) for parameter in optimizer.param_groups[0]['params']}
    device = optimizer.param_groups[0]['params'][0].device
    parameters = [Parameter(torch.ones(shape, device=device)) for shape in shapes]
    other = type(optimizer)(parameters, **settings)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    other.step()
    return {key for parameter in parameters for key in other.state[parameter]}
