"""The types of what a checkpoint says of itself. Importing them brings pydantic: a tenth of a second."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, FiniteFloat, Strict, StrictInt, StrictStr, with_config
from typing_extensions import Required, TypedDict


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
Coordinate = Annotated[FiniteFloat, Strict(), Field(ge=-(1 << 15), le=1 << 15)]
Points = Annotated[list[tuple[Coordinate, Coordinate]], Field(min_length=5, max_length=5), AfterValidator(_spread)]
#: The size of a face as a share of LR's.
Share = Annotated[FiniteFloat, Strict(), Field(gt=0, le=64)]
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
