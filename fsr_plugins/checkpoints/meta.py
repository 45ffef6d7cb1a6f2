"""What a checkpoint says of itself, and whether that can be true: checked before anything is made of it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Literal, cast

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
    with_config,
)
from torch import nn
from typing_extensions import Required, TypedDict

from fsr_plugins.checkpoints.layout import META, PARAMS, PARAMS_EMA
from fsr_plugins.checkpoints.tensors import shown
from fsr_plugins.errors import UserError
from fsr_plugins.wording import wanted

#: How deep the values of ``meta`` are nested at most, how many there are, and how long a key is.
_DEEP, _MANY, _LONG = 32, 100_000, 200
#: What plain values are.
_PLAIN = (str, int, float, bool, type(None))


def _same(expected: tuple[float, ...], found: tuple[float, ...]) -> tuple[float, ...]:
    if found != expected:
        raise ValueError(f'{list(expected)}')
    return found


def _spread(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if any(len(set(coordinates)) == 1 for coordinates in zip(*points, strict=True)):
        raise ValueError('points of a face, which do not lie in one line')
    return points


def _no_requirement(names: list[str]) -> list[str]:
    if names:
        raise ValueError('empty: this version knows nothing that a reader must know')
    return names


#: A side of HR images in pixels; five points of a face, x and y each.
Side = Annotated[StrictInt, Field(ge=1, le=1 << 14)]
Coordinate = Annotated[FiniteFloat, Field(ge=-(1 << 15), le=1 << 15)]
Points = Annotated[list[tuple[Coordinate, Coordinate]], Field(min_length=5, max_length=5), AfterValidator(_spread)]
#: The size of a face as a share of LR's.
Share = Annotated[FiniteFloat, Field(gt=0, le=64)]
_Names = dict[StrictStr, object]


@with_config(ConfigDict(extra='allow'))
class TrainedOn(TypedDict, total=False):
    """What a checkpoint says of a store that it was trained on.

    Attributes:
        size: height and width of its HR images.
        points: the mean of its faces' points, five of x and y, in pixels of HR.
    """

    size: tuple[Side, Side] | None
    points: Points | None


@with_config(ConfigDict(extra='allow'))
class Arch(TypedDict):
    """The block of a network: its type; arguments may stand beside it."""

    type: Annotated[StrictStr, Field(min_length=1, max_length=200)]


@with_config(ConfigDict(extra='allow'))
class Meta(TypedDict, total=False):
    """What a checkpoint says of itself, as far as somebody reads it; other plain values may stand beside it.

    Attributes:
        format: the version of all this; only 1 is known.
        requires: what a reader must know to understand the file; this version knows of nothing.
        arch: the network's block, ``type`` and arguments.
        module: the module that registers it, for people: nothing is imported by it.
        scale: how many times the network enlarges.
        sizes: side of the HR crops by phase; None where images were taken whole.
        range, channels: what the network takes and makes, RGB in [0, 1].
        degradation: the block that made its LR.
        manifests: by phase, the stores that it saw, HR's first.
        experiment, net, iteration: where it comes from.
        aligned: how the faces lie that it takes, where no set says it: as FFHQ's.
        gains_from, gains_up_to: the smallest and the largest faces of a photograph that gain by the network, measured,
            as shares of its LR.
        history: what was changed during the training, and accepted: behind which iteration, and a line each.
        computed: number format, layout and compilation of its training steps.
        adapted, base: by what it was adapted, the latest last; the digest of what it was adapted from.
    """

    format: Literal[1]
    requires: Annotated[list[StrictStr], AfterValidator(_no_requirement)]
    arch: Required[Arch]
    module: StrictStr
    scale: Annotated[StrictInt, Field(ge=1, le=1 << 10)] | None
    sizes: dict[StrictStr, Side | None]
    range: Annotated[tuple[float, float], AfterValidator(lambda found: _same((0.0, 1.0), found))]
    channels: Literal['RGB']
    degradation: _Names | None
    data: _Names
    manifests: dict[StrictStr, list[TrainedOn]]
    aligned: Literal['ffhq']
    gains_from: Share
    gains_up_to: Share
    experiment: StrictStr | None
    net: StrictStr
    iteration: Annotated[StrictInt, Field(ge=0)]
    history: list[_Names]
    computed: _Names
    versions: dict[StrictStr, StrictStr]
    adapted: list[_Names]
    base: StrictStr | None


@functools.cache
def _checked() -> TypeAdapter[Meta]:
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
    if wrong := _not_plain(meta):
        raise UserError(f"{source} cannot be read: its 'meta' {wrong}.")
    try:
        _checked().validate_python(meta)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = '.'.join(str(step) for step in (META, *first['loc']))
        value = first['input']
        value = shown(value) if isinstance(value, _PLAIN) else f'a {type(value).__name__}'
        what = 'is missing' if first['type'] == 'missing' else f'is {value}, but must be {wanted(first)}'
        raise UserError(
            f'{source} cannot be read: its {shown(place)} {what}. It is damaged, or a newer version wrote it.'
        ) from error
    return cast('Meta', meta)


def _not_plain(meta: object) -> str | None:
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
                return f'has a key that is a {type(odd[0]).__name__}'
            if any(isinstance(key, str) and len(key) > _LONG for key in value):
                return f'has a key of more than {_LONG} letters'
            todo += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, (list, tuple)):
            todo += [(item, depth + 1) for item in value]
        else:
            return f'holds a {type(value).__name__}; only plain values are read'
    return None


def meta_of(net: nn.Module) -> Meta:
    """What the checkpoint of a network that :func:`~fsr_plugins.checkpoints.load` has built says; else nothing."""
    return cast('Meta', vars(net).get(META, {}))


def trained_on(meta: Meta) -> TrainedOn:
    """Size and mean points of the HR faces that a network was trained on, as far as its checkpoint says."""
    stores = (meta.get('manifests') or {}).get('train') or [{}]
    size, points = stores[0].get('size'), stores[0].get('points')
    crop = (meta.get('sizes') or {}).get('train')
    if crop is not None and (size is None or tuple(size) != (crop, crop)):
        # Cut out of the images at random: the points lie anywhere.
        return {'size': (crop, crop), 'points': None}
    return {'size': size, 'points': points}
