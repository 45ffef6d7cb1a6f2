"""What a preparer hands over to be carried out: which images, and how one becomes faces."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fsr_plugins.errors import UserError
from fsr_plugins.prepare.source import Source, wrong_layout
from fsr_plugins.stores.records import Face

#: Why images are not kept; a dataset may have reasons of its own.
CORRUPT, TOO_SMALL, NO_FACE, DUPLICATE = 'corrupt', 'too small', 'no face', 'duplicate'


class Item(NamedTuple):
    """An image of the source that is to become a face, or several.

    ``key`` is the face's in the store, or the beginning of several faces' keys; ``name`` is the image's in the source;
    ``person`` says whose face it is: a label as it is, or the dataset's own words, of which labels are made at the end;
    ``extra`` is whatever else the preparer needs (names of maps, boxes, points), of plain values.
    """

    key: str
    name: str
    person: str | int | None = None
    extra: Any = None


class Skip(NamedTuple):
    """An image, or a face of one, that is not kept: its name in the source, a short reason, and what was seen."""

    name: str
    reason: str
    detail: str = ''


#: What an item has become: at least one face, or the reason why there is none.
ItemResult = Sequence[Face | Skip]


@dataclass(frozen=True)
class PreparationPlan:
    """A dataset's images in order, and the work on them.

    Attributes:
        dataset: the preparer's name.
        protocol: every argument on which pixels or choice depend, of plain values; it goes into the manifest.
        items: in the order in which they are made; equal arguments give equal items.
        make: turns some consecutive items, of one part of the work, into faces: for each item, in order, what it has
            become. Called from several threads at once. Faces carry no identity: ``Item.person`` says it.
        skipped: what was left out before any image was read.
        unique: leave out faces whose pixels are those of an earlier one.
        source: where ``make`` reads pictures. If any has alpha the protocol says over what it was laid.
    """

    dataset: str
    protocol: Mapping[str, object]
    items: Sequence[Item]
    make: Callable[[Sequence[Item]], Iterable[ItemResult]]
    skipped: Sequence[Skip] = ()
    unique: bool = False
    source: Source | None = None

    def fingerprint(self, encoding: str) -> str:
        """SHA-256 in hex of all that decides what is written: equal plans go on where one was interrupted."""
        said: list[object] = [self.dataset, self.protocol, encoding, self.unique, self.items, self.skipped]
        if self.source is not None and self.source.ground != 'black':  # black is nothing that was asked for
            said.append(self.source.ground)
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: object) -> object:
    if hasattr(value, 'tolist'):  # NumPy's arrays and numbers
        return value.tolist()
    raise TypeError(f'{type(value).__name__} is no plain value')


def one_by_one(make: Callable[[Item], Face | Skip]) -> Callable[[Sequence[Item]], Iterable[ItemResult]]:
    """``PreparationPlan.make`` of a function that makes one face of an item; a UserError of it is a corrupt image."""

    def made(item: Item) -> ItemResult:
        try:
            return [make(item)]
        except UserError as error:
            return [Skip(item.name, CORRUPT, str(error))]

    return lambda items: map(made, items)


def images_by_key(
    source: Source, dataset: str, looked_for: str, *patterns: re.Pattern[str]
) -> tuple[dict[str, str], list[Skip]]:
    """A dataset's images by key, those of the first pattern that any name fits, and what is there besides.

    Args:
        source: where to look.
        dataset: its name, for the message.
        looked_for: an image's name, for the message.
        patterns: as for :meth:`Source.by_key`.

    Raises:
        UserError: no name fits any pattern: the source has another layout.
    """
    for pattern in patterns:
        if found := source.by_key(pattern):
            return without_duplicates(source, found)
    raise wrong_layout(source, dataset, looked_for)


def without_duplicates(source: Source, found: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[Skip]]:
    """Of names by key (:meth:`Source.by_key`) the first of each key, in key order, and the others as duplicates."""
    chosen = {key: names[0] for key, names in sorted(found.items())}
    twins = [Skip(name, DUPLICATE, f"has the key of '{chosen[key]}'") for key in chosen for name in found[key][1:]]
    return chosen, twins + [Skip(name, 'link', 'links are not followed') for name in source.links]
