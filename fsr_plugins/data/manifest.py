"""What a store says about itself: ``manifest.json`` beside an LMDB's ``data.mdb``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fsr_plugins.errors import UserError

NAME = 'manifest.json'

Holding = Literal['identity', 'landmarks', 'parsing']


class Manifest(BaseModel):
    """The contents of a store.

    ``sizes`` is one (height, width) for all images or one for each key; empty while a folder has not been verified.
    ``checksum`` is the SHA-256 over every key and its stored bytes in key order, of a union that over its parts';
    ``bytes`` the length of ``data.mdb``.
    """

    model_config = ConfigDict(extra='forbid', frozen=True)

    version: Literal[1] = 1
    kind: Literal['folder', 'lmdb', 'union']
    encoding: Literal['files', 'png', 'raw', 'mixed']
    count: int = Field(ge=0)
    keys: list[str]
    sizes: list[tuple[int, int]] = []
    holds: list[Holding] = []
    checksum: str | None = None
    bytes: int | None = None


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an LMDB folder.

    Raises:
        UserError: it is not JSON of the expected form, or contradicts itself.
    """
    path = folder / NAME
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"'{path}' is no manifest of this toolkit; prepare the LMDB again: {error}") from error
    if len(manifest.keys) != manifest.count or len(manifest.sizes) not in (1, manifest.count):
        raise UserError(
            f"'{path}' lists {len(manifest.keys)} keys for {manifest.count} images; prepare the LMDB again."
        )
    return manifest
