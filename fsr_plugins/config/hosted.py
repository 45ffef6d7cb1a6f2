"""Checking a stage of a model that is not this toolkit's: what it reads is its own, what the engine does is checked."""

from __future__ import annotations

from collections.abc import Iterator

from fsr_plugins.config.blocks import check_block, find_type, parameters
from fsr_plugins.config.optimisers import optimizer_class, scheduler_class
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.config.problems import Problems
from fsr_plugins.config.yamlfile import Keys
from fsr_plugins.errors import UserError, shown
from fsr_plugins.registry import lookup
from fsr_plugins.values import Options

#: Options that are of this toolkit's own steps, and the values that ask for nothing.
_REFUSED = {'precision': 'fp32', 'compile': False, 'channels_last': False, 'degradation': None}
_REFUSED_IN_TRAIN = {'accumulate': 1, 'clip_grad_norm': None}
#: Blocks of these kinds are the model's, but are checked as far as they are known.
_OPTIMISERS, _SCHEDULERS = ('optim_', 'optim'), ('scheduler',)


def is_hosted(model: object) -> bool:
    """Whether a class, as the registry's ``lookup`` gives it, runs a model that is not of this toolkit."""
    return getattr(model, 'hosts', None) is not None


def names_hosted(opt: Options) -> bool:
    """Whether ``model_type`` names such a model; False for what it cannot name."""
    name = opt.get('model_type')
    try:
        return isinstance(name, str) and is_hosted(lookup('models', name))
    except UserError:
        return False


def check_hosted(name: str, opt: Options, problems: Problems, trains: bool) -> None:
    """Checks the networks, the blocks ``train`` and ``path`` and what is unsupported; the model checks the rest.

    Args:
        name: the model's.
        trains: see ``check_stage``.
    """
    for keys, value in _refused(opt):
        problems.add(
            keys,
            f'is {shown(value)}: {name} is hosted, its steps are its own and know nothing of it. Leave the key out.',
        )
    for key, block in opt.items():
        if key.startswith('network_') and block is not None:
            check_block(block, (key,), problems, 'archs')
    for key, value in (opt.get('path') or {}).items() if isinstance(opt.get('path'), dict | None) else ():
        if key.startswith(('pretrain_network_', 'resume_state')) and not isinstance(value, str | None):
            problems.add(('path', key), f'is {shown(value)}, but must be a path.')
    train = opt.get('train')
    if not trains:
        return
    if not isinstance(train, dict):
        if train is None:
            problems.add(('train',), f'is missing: {name} needs it.')
        return
    problems.validate(TrainOptions, train, ('train',), set(train), f"'train' of {name}")
    for key, value in train.items():
        if value is not None and key.startswith(_OPTIMISERS):
            check_block(value, ('train', key), problems, optimizer_class, given=1)
        elif value is not None and key in _SCHEDULERS:
            check_block(value, ('train', key), problems, scheduler_class, given=1)


def _refused(opt: Options) -> Iterator[tuple[Keys, object]]:
    for key, nothing in _REFUSED.items():
        if opt.get(key, nothing) != nothing:
            yield (key,), opt[key]
    train = opt.get('train')
    if not isinstance(train, dict):
        return
    for key, nothing in _REFUSED_IN_TRAIN.items():
        if train.get(key, nothing) != nothing:
            yield ('train', key), train[key]


def check_metric(block: object, keys: Keys, problems: Problems) -> None:
    """Checks a block of ``val.metrics``: BasicSR's functions of two images measure what a hosted model makes."""
    metric = find_type(block, keys, problems, 'metrics')
    if metric is None or not isinstance(block, dict):
        return
    if isinstance(metric, type):
        problems.add(
            (*keys, 'type'),
            f"is '{block['type']}', which measures this toolkit's models. Hosted ones are measured by BasicSR's "
            'functions: calculate_psnr, calculate_ssim, calculate_niqe.',
        )
        return
    named = parameters(metric)[0]
    images = [key for key in ('img', 'img2') if key in named]
    known = named.keys() - set(images) | {'better', 'type'}
    for key in block if metric.__module__.startswith('basicsr.') else ():
        if key not in known:  # they take anything and read no more than these
            problems.unknown((*keys, key), known, metric.__name__)
    check_block(
        {key: value for key, value in block.items() if key != 'better'}, keys, problems, 'metrics', given=len(images)
    )
