"""``auto`` of ``precision``, ``channels_last`` and ``compile``: the stage's own steps are measured before it begins."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product

import torch

from fsr_plugins.choices import key_of, recall, remember
from fsr_plugins.config.settings import MEASURED, StageSettings, read_settings
from fsr_plugins.data.batches import Batch
from fsr_plugins.engine import distributed, generators
from fsr_plugins.engine.distributed import World
from fsr_plugins.engine.loaders import make_train_loader
from fsr_plugins.engine.machine import machine
from fsr_plugins.errors import RunError
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.stage_model import device_of
from fsr_plugins.number_formats import computes_bf16
from fsr_plugins.registry import lookup
from fsr_plugins.values import Options
from fsr_plugins.version import __version__

logger = logging.getLogger(__name__)

#: By option, the values that are tried on a device, the plainest first.
Way = dict[str, str | bool]
#: The file of choices.
_NAME = 'training'
#: Steps that are not counted, and seconds and steps of those that are.
_WARM, _SECONDS, _FEWEST, _MOST = 2, 1.0, 3, 20
#: A way has to take less than this share of a plainer one's time to be taken instead.
_FASTER = 0.95


def settled(opt: Options, world: World, kept: Mapping[str, str | bool] | None = None) -> tuple[Options, Way]:
    """The options of a stage with a value in the place of each ``auto``, and these values.

    Rank 0 measures, alone and before the models of the stage are there; the others are told.

    Args:
        opt: the stage with run-time keys.
        kept: the values that a training goes on with; None: it begins.

    Raises:
        RunError: no way can train a step.
        UserError: the data or the networks are not available.
    """
    options = read_settings(opt)
    open_keys = options.leaves_to_measure
    if not open_keys:
        return opt, {}
    way: Way | None = None
    if kept is not None:
        way = {key: kept[key] for key in open_keys if key in kept}
    if way is None or way.keys() != set(open_keys):
        way = distributed.on_main(lambda: _found(opt, options, open_keys))
    return {**opt, **way}, way


def candidates(open_keys: Sequence[str], device: torch.device) -> list[Way]:
    """What is tried, the plainest way first.

    ``compile`` is tried on GPUs alone: on a CPU it takes minutes to find out.
    """
    values: dict[str, Sequence[str | bool]] = {
        'precision': ['fp32', 'bf16'] if computes_bf16(device) else ['fp32'],
        'channels_last': [False, True],
        'compile': [False, True] if device.type == 'cuda' else [False],
    }
    return [dict(zip(open_keys, found, strict=True)) for found in product(*(values[key] for key in open_keys))]


def _found(opt: Options, options: StageSettings, open_keys: Sequence[str]) -> Way:
    # One process measures: it is not to wait for the others in a step.
    alone = {**opt, 'dist': False, 'rank': 0, 'world_size': 1}
    key = _key(options, open_keys)
    kept = recall(_NAME, key)
    if isinstance(kept, dict) and kept.keys() == set(open_keys):
        logger.info('%s: %s, as measured here before.', options.name, shown(kept))
        return kept
    with make_train_loader(options, World(), 0, False) as loader:
        batch = next(iter(loader))
    tried = candidates(open_keys, device_of(options))
    if len(tried) == 1:
        return tried[0]
    logger.info('%s: measuring %d ways to train, for some seconds each …', options.name, len(tried))
    seconds = []
    for way in tried:
        with _given_back():
            seconds.append(_seconds_a_step({**alone, **way}, batch))
    best = fastest(seconds)
    if seconds[best] == float('inf'):
        raise RunError(f'{options.name}: no step can be trained in any of {"; ".join(map(shown, tried))}.')
    rows = '; '.join(f'{shown(way)} {_milliseconds(took)}' for way, took in zip(tried, seconds, strict=True))
    logger.info('%s: a step measured: %s. Taken: %s.', options.name, rows, shown(tried[best]))
    remember(_NAME, key, tried[best])
    return tried[best]


def fastest(seconds: Sequence[float]) -> int:
    """The place of the fastest way; a plainer one, which stands before, is left only for a clear gain."""
    best = 0
    for place, took in enumerate(seconds):
        if took < _FASTER * seconds[best]:
            best = place
    return best


def shown(way: Mapping[str, object]) -> str:
    """A way as an option file would have it."""
    return ', '.join(f'{key} {str(value).lower()}' for key, value in way.items())


def _milliseconds(seconds: float) -> str:
    return 'not possible' if seconds == float('inf') else f'{1000 * seconds:.0f} ms'


def _key(options: StageSettings, open_keys: Sequence[str]) -> str:
    """Everything that the fastest way depends on: machine, versions, networks, losses, and the size of a batch.

    What one version of this package cannot train in some way, the next may.
    """
    about = machine()
    train = options.sets['train']
    blocks = {key: value for key, value in (options.model_extra or {}).items() if key.startswith('network_')}
    fixed = {key: getattr(options, key) for key in MEASURED if key not in open_keys}
    return key_of(about['cpu'], about['gpu'], about['torch_threads'], torch.__version__, __version__,
                  options.model_type, blocks, options.train, fixed, options.num_gpu, train.batch_size, train.gt_size,
                  options.scale)  # fmt: skip


def _seconds_a_step(opt: Options, batch: Batch) -> float:
    """Seconds that a training step takes, the median; infinite where this way cannot train one."""
    generators.seed_everything(read_settings(opt).manual_seed)
    model: FSRModel = lookup('models', opt['model_type'])(opt)
    taken: list[float] = []
    try:
        while len(taken) < _WARM + _FEWEST or (len(taken) < _WARM + _MOST and sum(taken[_WARM:]) < _SECONDS):
            started = time.perf_counter()
            model.feed_data(batch)
            model.optimize_parameters(len(taken) + 1)
            if model.device.type == 'cuda':
                torch.cuda.synchronize(model.device)
            taken.append(time.perf_counter() - started)
        model.watch.check()
    except (RunError, RuntimeError) as error:
        logger.info('Not taken, %s: %s', shown({key: opt[key] for key in MEASURED if key in opt}), error)
        return float('inf')
    return sorted(taken[_WARM:])[len(taken[_WARM:]) // 2]


@contextmanager
def _given_back() -> Iterator[None]:
    """Gives memory back behind it: the next way is to find as much."""
    try:
        yield
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
