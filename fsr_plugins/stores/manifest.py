"""What a store says about itself: ``manifest.json`` beside an LMDB's ``data.mdb`` or in a prepared folder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fsr_plugins.errors import UserError

NAME = 'manifest.json'

#: Plain values by name, as JSON holds them.
Json = dict[str, object]

#: Height or width of an image.
Side = Annotated[int, Field(ge=1, lt=1 << 31)]

Holding = Literal['identity', 'landmarks', 'parsing']


class Origin(BaseModel):
    """Where a store's images come from, and how they were made.

    ``protocol`` holds every argument on which pixels or choice depend; ``found`` images were looked at, and those that
    were not kept are counted in ``skipped`` by reason.
    """

    model_config = ConfigDict(extra='forbid', frozen=True)

    dataset: str
    protocol: Json = {}
    found: int = Field(ge=0)
    skipped: dict[str, int] = {}


class Manifest(BaseModel):
    """The contents of a store.

    ``kind`` is folder, lmdb, union, or what a store from outside calls itself. ``sizes`` is one (height, width) for all
    images or one for each key; empty while a folder has not been verified. ``checksum`` is the SHA-256 over every key
    and its stored bytes in key order, of a union that over its parts'. ``bytes`` is the length of ``data.mdb``;
    ``origin`` is there in what ``fsr prepare`` makes.
    """

    model_config = ConfigDict(extra='forbid', frozen=True)

    version: Literal[1] = 1
    kind: str = Field(pattern=r'^\w[\w.+-]*$')
    encoding: Literal['files', 'png', 'raw', 'mixed']
    count: int = Field(ge=0)
    keys: list[str]
    sizes: list[tuple[Side, Side]] = []
    holds: list[Holding] = []
    checksum: str | None = None
    bytes: int | None = None
    origin: Origin | None = None

    def provenance(self) -> Json:
        """What tells this dataset from another, in few plain values: all but keys and sizes."""
        return self.model_dump(exclude={'keys', 'sizes'}, exclude_none=True)


def compact_sizes(sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The sizes as a manifest says them: one if all are equal."""
    return list(sizes[:1] if len(set(sizes)) == 1 else sizes)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an LMDB or of a prepared folder.

    Raises:
        UserError: it is not JSON of the expected form, or contradicts itself.
    """
    path = folder / NAME
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"'{path}' is no manifest of this toolkit; prepare the data again: {error}") from error
    if len(manifest.keys) != manifest.count or len(manifest.sizes) not in (1, manifest.count):
        raise UserError(
            f"'{path}' lists {len(manifest.keys)} keys for {manifest.count} images; prepare the data again."
        )
    if any(first >= second for first, second in pairwise(manifest.keys)):
        raise UserError(
            f"'{path}' lists keys twice or in another order than that of their names; prepare the data again."
        )
    return manifest
