"""Training states that are not what they were: types, ranges, shapes and numbers that nobody has saved so."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from fsr_plugins.weights import file_sha256

_ODD: tuple[Any, ...] = ('x', None, [], {}, -1, 10**12, float('nan'), float('inf'), [1, 'a'], {'a': 1}, True)
#: What has no effect on what follows, or may be anything.
_FREE = {'seconds', 'log', 'validation', 'history', 'manifests', 'inputs', 'validation_due', 'cuda'}


def forge(draw: random.Random, file: Path) -> str:
    """Changes one thing in a state so that it cannot be right, digest included; in words what."""
    state = torch.load(file, weights_only=True)
    places = [place for place in _places(state, ()) if not _FREE & {str(step) for step in place}]
    place = draw.choice(places)
    target = state
    for step in place[:-1]:
        target = target[step]
    value = target[place[-1]]
    if isinstance(value, torch.Tensor):
        if value.is_floating_point() and draw.random() < 0.5:
            value.view(-1)[draw.randrange(value.numel())] = draw.choice((float('nan'), float('inf'), -float('inf')))
            what = 'NaN or Inf'
        else:
            target[place[-1]] = draw.choice(('x', None, [], torch.zeros(*value.shape, 2)))
            what = 'no such tensor'
    elif draw.random() < 0.3 and isinstance(target, dict) and not isinstance(place[-1], int):
        # That a parameter has no moments yet may be right.
        del target[place[-1]]
        what = 'removed'
    else:
        odd = [other for other in _ODD if type(other) not in (type(value), int, float) or isinstance(value, str)]
        target[place[-1]] = draw.choice([other for other in odd if other != value])
        what = repr(target[place[-1]])
    torch.save(state, file)
    digest = file.with_name(f'{file.name}.sha256')
    if draw.random() < 0.5:
        digest.write_text(file_sha256(file))
    else:
        digest.unlink(missing_ok=True)
    return f'{".".join(map(str, place))}: {what}'


def _places(value: Any, above: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Every key of nested mappings and lists that can be set."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*above, key)
        yield from _places(item, (*above, key))
