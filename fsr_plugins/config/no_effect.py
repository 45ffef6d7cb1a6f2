"""Keys of BasicSR that have no effect here: taken, so that its files can be used, and said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fsr_plugins.values import Options

#: In ``val`` and in a set: the values that ask for nothing else than what is done anyway, or None where no value does.
_VAL: Mapping[str, tuple[object, ...]] = {'pbar': (False,), 'suffix': (None,)}
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
    'use_shuffle': 'training is always shuffled',
    'dataset_enlarge_ratio': 'epochs follow each other without a pause',
    'suffix': 'pictures are named by iteration',
}
#: Every such key of a set: the dataset does not read it either.
SET_KEYS = frozenset(_SETS)
VAL_KEYS = frozenset(_VAL)


def without_effect(opt: Options) -> str:
    """One sentence that names the keys of a stage's options that ask for what is not done; empty without any."""
    found = dict(_found(opt))
    if not found:
        return ''
    keys = ', '.join(f"'{key}'" + (f' ({why})' if why else '') for key, why in found.items())
    return f'These keys of BasicSR have no effect here: {keys}.'


def _found(opt: Options) -> Iterator[tuple[str, str]]:
    blocks = {'val': (opt.get('val'), _VAL)}
    blocks |= {f'datasets.{phase}': (block, _SETS) for phase, block in (opt.get('datasets') or {}).items()}
    for name, (block, known) in blocks.items():
        for key, value in block.items() if isinstance(block, dict) else ():
            if key in known and value not in known[key]:
                yield f'{name}.{key}', _INSTEAD.get(key, '')
