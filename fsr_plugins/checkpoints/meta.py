"""What a checkpoint says of itself, and whether that can be true: checked before anything is made of it."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from torch import nn

from fsr_plugins.checkpoints.layout import META, PARAMS, PARAMS_EMA
from fsr_plugins.checkpoints.tensors import kind_of, shown
from fsr_plugins.errors import UserError
from fsr_plugins.wording import wanted

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from fsr_plugins.checkpoints.meta_types import Meta, TrainedOn

#: How deep the values of ``meta`` are nested at most, how many there are, and how long a key is.
_DEEP, _MANY, _LONG = 32, 100_000, 200
#: What plain values are.
_PLAIN = (str, int, float, bool, type(None))
#: The part of a random crop's side that it is moved by at most and still shows the face where the whole image does.
_JITTER = 0.125


@functools.cache
def _checked() -> TypeAdapter[Meta]:
    from pydantic import TypeAdapter

    from fsr_plugins.checkpoints.meta_types import Meta

    return TypeAdapter(Meta)


def meta_in(content: object, source: str) -> Meta | None:
    """What a file of this toolkit says of itself; None for other people's files, which say nothing or other things.

    Args:
        content: what was read of the file.
        source: how messages call the file.

    Raises:
        UserError: it says what cannot be, or what this version does not understand.
    """
    if not isinstance(content, Mapping) or META not in content or not {PARAMS, PARAMS_EMA} & content.keys():
        return None
    meta = content[META]
    if not isinstance(meta, Mapping) or 'arch' not in meta:
        return None
    if wrong := not_plain(meta):
        raise UserError(f"{source} cannot be read: its 'meta' {wrong}.")
    from pydantic import ValidationError

    try:
        _checked().validate_python(meta)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = '.'.join(str(step) for step in (META, *first['loc']))
        value = first['input']
        value = shown(value) if isinstance(value, _PLAIN) else kind_of(value)
        what = 'is missing' if first['type'] == 'missing' else f'is {value}, but must be {wanted(first)}'
        raise UserError(
            f'{source} cannot be read: its {shown(place)} {what}. It is damaged, or a newer version wrote it.'
        ) from error
    low, high = meta.get('gains_from', 0), meta.get('gains_up_to', math.inf)
    if low > high:
        raise UserError(f"{source} cannot be read: its 'meta.gains_from' is {low}, above 'gains_up_to', {high}.")
    return cast('Meta', meta)


def not_plain(meta: object) -> str | None:
    """What in nested values is none of YAML's, or too much; nothing is followed deeper than that."""
    todo, count = [(meta, 0)], 0
    while todo:
        value, depth = todo.pop()
        count += 1
        if depth > _DEEP or count > _MANY:
            return 'is nested too deep, or holds too many values'
        if type(value) in _PLAIN:
            continue
        if isinstance(value, Mapping):
            if odd := [key for key in value if type(key) not in _PLAIN]:
                return f'has a key that is {kind_of(odd[0])}'
            if any(isinstance(key, str) and len(key) > _LONG for key in value):
                return f'has a key of more than {_LONG} letters'
            todo += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, (list, tuple)):
            todo += [(item, depth + 1) for item in value]
        else:
            return f'holds {kind_of(value)}; only plain values are read'
    return None


def meta_of(net: nn.Module) -> Meta:
    """What the checkpoint of a network that :func:`~fsr_plugins.checkpoints.load` has built says; else nothing."""
    return cast('Meta', vars(net).get(META, {}))


def trained_on(meta: Meta) -> TrainedOn:
    """Size and mean points of the HR faces that a network was trained on, as far as its checkpoint says.

    Where crops were a little smaller than the images, the points are those of the crop in the middle, the mean of all.
    """
    stores = (meta.get('manifests') or {}).get('train') or [{}]
    size, points = stores[0].get('size'), stores[0].get('points')
    crop = (meta.get('sizes') or {}).get('train')
    if crop is None or (size is not None and tuple(size) == (crop, crop)):
        return {'size': size, 'points': points}
    # Cut out of the images at random: the points lie anywhere, unless little is cut off.
    if size is None or points is None or not all(0 <= side - crop <= crop * _JITTER for side in size):
        return {'size': (crop, crop), 'points': None}
    down, right = ((side - crop) / 2 for side in size)
    return {'size': (crop, crop), 'points': [(x - right, y - down) for x, y in points]}


def saw_crops_of_anything(meta: Meta) -> bool:
    """Whether a network was trained on random crops of which nothing says that they show a face each.

    Such a network takes pictures of any size: its crops' is none of a face.
    """
    crop = (meta.get('sizes') or {}).get('train')
    stores = (meta.get('manifests') or {}).get('train') or [{}]
    whole = stores[0].get('size')
    is_cut = crop is not None and (whole is None or tuple(whole) != (crop, crop))
    return is_cut and trained_on(meta)['points'] is None
