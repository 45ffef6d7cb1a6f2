"""Keys of BasicSR that have no effect here: taken, so that its files can be used, and said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fsr_plugins.values import Options

#: In ``val`` and in a set: the values that ask for nothing else than what is done anyway, or None where no value does.
_VAL: Mapping[str, tuple[object, ...]] = {'pbar': (False, None)}
_SETS: Mapping[str, tuple[object, ...]] = {
    'use_shuffle': (True, None),
    'dataset_enlarge_ratio': (1, None),
    'prefetch_mode': (None,),
    'num_prefetch_queue': (1, None),
    'persistent_workers': (False, None),
    'pin_memory': (None, False, True),
}
#: What is done instead, by key.
_INSTEAD = {
    'pbar': 'validation is logged when it is done',
    'use_shuffle': 'training is always shuffled',
    'dataset_enlarge_ratio': 'epochs follow each other without a pause',
    'prefetch_mode': 'threads make batches ahead anyway',
    'num_prefetch_queue': 'as many batches are made ahead as are needed',
    'persistent_workers': 'the threads that read images live as long as the training',
}
#: Every such key of a set: the dataset does not read it either.
SET_KEYS = frozenset(_SETS)
VAL_KEYS = frozenset(_VAL)


def without_effect(opt: Options, taken_out: Iterable[tuple[str, str]] = ()) -> list[str]:
    """A sentence for each key of a stage's options that asks for what is not done.

    Args:
        taken_out: such keys that are no longer in the options, each with the reason.
    """
    return [f"the key '{key}' has no effect here: {why}." for key, why in (*_found(opt), *taken_out)]


def _found(opt: Options) -> Iterator[tuple[str, str]]:
    blocks = {'val': (opt.get('val'), _VAL)}
    blocks |= {f'datasets.{phase}': (block, _SETS) for phase, block in (opt.get('datasets') or {}).items()}
    for name, (block, known) in blocks.items():
        for key, value in block.items() if isinstance(block, dict) else ():
            if key in known and value not in known[key]:
                yield f'{name}.{key}', _INSTEAD[key]
    for prefix, name in (('pretrain_network_', 'path'), ('optim_', 'train'), ('scheduler_', 'train')):
        block = opt.get(name)
        for key, value in block.items() if isinstance(block, dict) else ():
            network = f'network_{key.removeprefix(prefix)}'
            if key.startswith(prefix) and value is not None and opt.get(network) is None:
                yield f'{name}.{key}', f"there is no '{network}'"
