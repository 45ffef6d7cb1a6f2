"""The optimisers and schedules of a stage on a few numbers, from the first iteration to the last."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from fsr_plugins.config import Stage
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.config.problems import explained
from fsr_plugins.errors import UserError
from fsr_plugins.models.optim import Schedule, build_optimizer, build_scheduler, chosen_blocks
from fsr_plugins.values import Block, Options

#: Steps that the optimisers take, and iterations and seconds in which schedules are followed without a gap.
_STEPS, _ITERATIONS, _SECONDS = 3, 10_000, 1.0


def rehearse(stage: Stage) -> list[str]:
    """Follows every learning rate of a stage: all of it where that is quick, else its beginning, turns and end.

    Raises:
        UserError: an optimiser or a schedule cannot be built or fails at an iteration to come, or a rate is not finite.
    """
    if stage.generates_set:
        return []
    for label in _trained(stage):
        _rehearse(stage, stage.train, label)
    left = stage.train.total_iter % stage.train.accumulate
    if not left:
        return []
    which = 'the last iteration makes' if left == 1 else f'the last {left} iterations make'
    return [
        f'{stage.where(("train", "total_iter"))}: {which} no step, since one takes {stage.train.accumulate} '
        "('train.accumulate'): give a multiple of it as 'train.total_iter'."
    ]


def same_rates(stage: Stage, before: Options, iterations: int) -> bool:
    """Whether every learning rate up to an iteration is what it would have been with a stage's earlier options."""
    old: TrainOptions = stage.model.Train.model_validate(dict(before['train']))
    for label in _trained(stage):
        pairs = zip(_rates(old, label, iterations), _rates(stage.train, label, iterations), strict=True)
        if any(one != other for one, other in pairs):
            return False
    return True


def _trained(stage: Stage) -> list[str]:
    """The networks that have an optimiser."""
    declared = stage.declared
    return [label for label in stage.networks if not (declared[label].frozen or declared[label].solved)]


def _rates(train: TrainOptions, label: str, iterations: int) -> Iterator[list[float]]:
    """The rates of a network's groups at every iteration from 1 on."""
    (_, optim), (_, block) = chosen_blocks(train, label)
    # The rates alone: how the optimiser works is compared elsewhere.
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=float((optim or {}).get('lr', 1e-3)))
    schedule = Schedule([(optimizer, build_scheduler(block, optimizer) if block else None)])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for iteration in range(1, iterations + 1):
            schedule.set(iteration, train.warmup_iter)
            yield [group['lr'] for group in optimizer.param_groups]


def _rehearse(stage: Stage, train: TrainOptions, label: str) -> None:
    (optim_key, optim), (key, block) = chosen_blocks(train, label)
    if optim is None:
        raise UserError(f"{stage.where(('train',))}: 'train' has neither '{optim_key}' nor 'optim' for {label}.")
    on_cpu = stage.options.num_gpu == 0 or not torch.cuda.is_available()
    device = 'cpu' if on_cpu else 'cuda'
    # A bias, a matrix, a convolution: there are optimisers that take only some of them.
    parameters = [nn.Parameter(torch.zeros((2,) * dimensions, device=device)) for dimensions in (1, 2, 4)]
    place = f"{stage.where(('train', optim_key))}: key 'train.{optim_key}'"
    with explained(f'{place}: {optim["type"]} cannot be used'):
        optimizer = build_optimizer(optim, parameters)
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            for _ in range(_STEPS):
                optimizer.step()
    if not all(bool(parameter.isfinite().all()) for parameter in parameters):
        raise UserError(f"{place}: after {_STEPS} steps the weights are not finite: lower 'lr'.")
    scheduler: LRScheduler | None = None
    if block:
        place = f"{stage.where(('train', key))}: key 'train.{key}'"
        with explained(f'{place}: {block["type"]} cannot be built'):
            scheduler = build_scheduler(block, optimizer)
    _follow(Schedule([(optimizer, scheduler)]), train, block or {}, place)


def _follow(schedule: Schedule, train: TrainOptions, block: Block, place: str) -> None:
    ((optimizer, scheduler),) = schedule.pairs
    total = train.total_iter
    iteration = 0

    def what() -> str:
        periods, hint = block.get('periods'), ''
        if isinstance(periods, list) and sum(periods) < total:
            hint = f", for 'periods' end at {sum(periods)}"
        return f'{place}: it fails at iteration {iteration} of {total}{hint}'

    with explained(what), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for iteration in _iterations(total, block):
            if scheduler is not None and iteration > 1:
                # Where iterations were left out; otherwise it stands there already.
                scheduler.last_epoch = iteration - 2
            schedule.set(iteration, train.warmup_iter)
            for group in optimizer.param_groups:
                if not (math.isfinite(group['lr']) and group['lr'] >= 0):
                    rate = f'the learning rate is {group["lr"]} at iteration {iteration} of {total}'
                    raise UserError(f'{place}: {rate}: it has to be finite and not negative.')


def _iterations(total: int, block: Block) -> Iterator[int]:
    """Iterations from 1 on without a gap, for as long as that is quick; then those around every turn, and the last."""
    started = time.perf_counter()
    iteration = 0
    while iteration < min(total, _ITERATIONS):
        iteration += 1
        yield iteration
        if iteration >= 1000 and iteration % 100 == 0 and time.perf_counter() - started > _SECONDS:
            break
    turns = {total}
    for value in block.values():
        numbers = [number for number in (value if isinstance(value, list) else [value]) if isinstance(number, int)]
        turns |= {*numbers, *(sum(numbers[:length]) for length in range(1, len(numbers) + 1))}
    around = {turn + offset for turn in turns for offset in (-1, 0, 1, 2)}
    yield from sorted(point for point in around if iteration < point <= total)
