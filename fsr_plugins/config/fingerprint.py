"""Telling whether two sets of options train the same thing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from fsr_plugins.values import Options

Keys = tuple[str, ...]

#: Keys that change how a run is watched, stored or fed, and not what comes out of it.
_ASIDE = {
    ('name',),
    ('logger',),
    ('num_gpu',),
    ('threads',),
    ('dist_params',),
    ('val', 'pbar'),
    ('val', 'suffix'),
    ('path', 'resume_state'),
}
_ASIDE_IN_DATASETS = {
    'num_worker_per_gpu',
    'cache',
    'use_shuffle',
    'dataset_enlarge_ratio',
    'pin_memory',
    'persistent_workers',
    'prefetch_mode',
    'num_prefetch_queue',
}
#: The value that is shown for a missing key.
ABSENT = '(absent)'


class Difference(NamedTuple):
    """An option that is not what it was; the values as JSON."""

    key: str
    before: str
    after: str

    def __str__(self) -> str:
        return f'{self.key}: {self.before} -> {self.after}'


def fingerprint(opt: Options) -> str:
    """SHA-256 (hex) over a stage's options, wherever the experiments folder lies.

    Options that leave the result as it is (logging, number of GPUs, workers, prefetching, progress bars) do not count.
    """
    return hashlib.sha256(json.dumps(_semantic(opt, ''), sort_keys=True).encode()).hexdigest()


def differences(
    old: Options, new: Options, experiment: str, defaults: Mapping[str, object] = MappingProxyType({})
) -> list[Difference]:
    """The options that are not the same, but for those that leave the result as it is.

    Args:
        experiment: the name of its folder in ``experiments/``; wherever that lies, paths in it are the same.
        defaults: what options are that are left out, by their dotted keys.
    """
    before, after = _semantic(old, experiment), _semantic(new, experiment)
    absent = {key: json.dumps(value, default=str) for key, value in defaults.items()}

    def said(options: Mapping[str, str], key: str) -> str:
        return options.get(key, absent.get(key, ABSENT))

    found = [Difference(key, said(before, key), said(after, key)) for key in sorted(before.keys() | after.keys())]
    empty = {ABSENT, '{}', 'null'}
    return [one for one in found if one.before != one.after and not {one.before, one.after} <= empty]


def leaves(value: object, keys: Keys = ()) -> Iterator[tuple[Keys, object]]:
    """Every value of nested mappings that is no mapping itself, or an empty one, with the keys that lead to it."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from leaves(item, (*keys, str(key)))
    else:
        yield keys, value


def _semantic(opt: Options, experiment: str) -> dict[str, str]:
    return {
        '.'.join(keys): json.dumps(_placeless(value, experiment))
        for keys, value in leaves(opt)
        if keys
        and not any(keys[: len(aside)] == aside for aside in _ASIDE)
        and not (keys[0] == 'datasets' and len(keys) > 2 and keys[2] in _ASIDE_IN_DATASETS)
    }


def _placeless(value: object, experiment: str) -> object:
    """The value with paths below the experiment's folder as if it lay here, in lists too."""
    if isinstance(value, str):
        here = f'experiments/{experiment}'
        return re.sub(rf'^.*/{re.escape(here)}(?=/|$)', lambda _: here, value) if experiment else _anywhere(value)
    return [_placeless(item, experiment) for item in value] if isinstance(value, list) else value


def _anywhere(text: str) -> str:
    return re.sub(r'^.*/experiments/', 'experiments/', text)
