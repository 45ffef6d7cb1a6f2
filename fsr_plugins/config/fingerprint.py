"""Telling whether two sets of options train the same thing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping

from fsr_plugins.values import Options

#: Keys that change how a run is watched, stored or fed, and not what comes out of it.
_ASIDE = {
    ('logger',),
    ('num_gpu',),
    ('dist_params',),
    ('val', 'pbar'),
    ('path', 'resume_state'),
}
#: Keys that only validation looks at.
_VALIDATION = re.compile(r'val(\.|$)|datasets\.(val|test)')
_ASIDE_IN_DATASETS = {
    'num_worker_per_gpu',
    'pin_memory',
    'persistent_workers',
    'prefetch_mode',
    'num_prefetch_queue',
}


def fingerprint(opt: Options) -> str:
    """SHA-256 (hex) over a stage's options, wherever the experiments folder lies.

    Options that leave the result as it is (logging, number of GPUs, workers, prefetching, progress bars) do not count.
    """
    return hashlib.sha256(json.dumps(_semantic(opt), sort_keys=True).encode()).hexdigest()


def changed(old: Options, new: Options, *, validation: bool = True) -> list[str]:
    """The options that :func:`fingerprint` tells apart, as ``train.total_iter: 5 -> 6``.

    Args:
        validation: whether what only validation looks at counts: ``val``, and all of ``datasets`` but ``train``.
    """
    before, after = _semantic(old), _semantic(new)
    lines = []
    for key in sorted(before.keys() | after.keys()):
        if not validation and _VALIDATION.match(key):
            continue
        if before.get(key, '(absent)') != after.get(key, '(absent)'):
            lines.append(f'{key}: {before.get(key, "(absent)")} -> {after.get(key, "(absent)")}')
    return lines


def _semantic(opt: Options) -> dict[str, str]:
    return {
        '.'.join(keys): json.dumps(value)
        for keys, value in _leaves(opt, ())
        if not any(keys[: len(aside)] == aside for aside in _ASIDE)
        and not (keys[0] == 'datasets' and len(keys) > 2 and keys[2] in _ASIDE_IN_DATASETS)
    }


def _leaves(value: object, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*keys, str(key)))
    else:
        yield keys, _placeless(value)


def _placeless(value: object) -> object:
    """The value with paths below the experiments folder as if it lay here, in lists too."""
    if isinstance(value, str):
        return re.sub(r'^.*/experiments/', 'experiments/', value)
    return [_placeless(item) for item in value] if isinstance(value, list) else value
