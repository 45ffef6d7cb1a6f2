"""Adding to a prepared dataset what a network sees on its faces: landmarks, parsing maps.

The dataset is written anew beside itself, with all that :mod:`~fsr_plugins.prepare.carry_out` gives (parts, an
account, a manifest), and then takes the old one's place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fsr_plugins.errors import UserError
from fsr_plugins.prepare.base import Format, Prepared
from fsr_plugins.prepare.carry_out import REPORT, carry_out
from fsr_plugins.prepare.per_thread import PerThread
from fsr_plugins.prepare.plan import NO_FACE, Item, ItemResult, PreparationPlan, Skip
from fsr_plugins.stores.images import Image
from fsr_plugins.stores.lmdb_env import release
from fsr_plugins.stores.manifest import Manifest
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.records import Face
from fsr_plugins.stores.store import Store

#: Finds something on each of some images; None where it finds no face.
Annotator = Callable[[Sequence[Image]], Sequence[Any]]

#: Images that a network is given at a time.
_TOGETHER = 16


@dataclass(frozen=True)
class FaceAnnotation:
    """What is added.

    Attributes:
        kind: ``landmarks`` or ``parsing``.
        settings: for the manifest: engine and weights.
        open: opens a finder, one a thread.
        fallback: what a face gets on which nothing is found, by the image's height and width; None: it is left out.
    """

    kind: str
    settings: Mapping[str, Any]
    open: Callable[[], Annotator]
    fallback: Callable[[int, int], Any] | None = None


def annotate(dst: Path, annotation: FaceAnnotation) -> Prepared:
    """Adds to every face of a prepared dataset; what it held of that kind is replaced.

    Interrupted and started again with equal arguments, it goes on. Until the end the dataset is as it was.

    Args:
        dst: A folder or LMDB that ``fsr prepare`` has written.
        annotation: What to add.

    Raises:
        UserError: there is no prepared dataset, or nothing of it is left.
        RunError: the disk is full.
        Interrupted: by Ctrl-C.
    """
    new, old = dst.with_name(f'.new.{dst.name}'), dst.with_name(f'.old.{dst.name}')
    if old.exists() and not dst.exists():  # killed between the two renames below
        old.rename(dst)
    store = open_store(dst)
    manifest = store.manifest
    if manifest.origin is None:
        raise UserError(
            f"'{dst}' was not prepared by this toolkit (no origin in its manifest): see 'fsr prepare folder'."
        )
    plan = _plan(store, manifest, annotation)
    if not _whole(new, plan):
        shutil.rmtree(new, ignore_errors=True)
        form: Format = 'lmdb' if manifest.kind == 'lmdb' else 'folder'
        carry_out(plan, new, form=form, encoding='png' if manifest.encoding == 'png' else 'raw')
    release(dst)
    release(new)
    shutil.rmtree(old, ignore_errors=True)
    dst.rename(old)
    new.rename(dst)
    shutil.rmtree(old)
    return _said(dst, manifest)


def _whole(new: Path, plan: PreparationPlan) -> bool:
    """Whether an interrupted run with these arguments had finished ``new`` and only not moved it."""
    if not new.exists():
        return False
    origin = open_store(new).manifest.origin
    return origin is not None and (origin.dataset, origin.protocol) == (plan.dataset, plan.protocol)


def _said(dst: Path, before: Manifest) -> Prepared:
    store = open_store(dst)
    people = 0 if store.identities is None else len(np.unique(store.identities))
    assert store.manifest.origin is not None and before.origin is not None
    lost = {
        reason: number - before.origin.skipped.get(reason, 0)
        for reason, number in store.manifest.origin.skipped.items()
        if number > before.origin.skipped.get(reason, 0)
    }
    return Prepared(str(dst), len(store), people, sum(lost.values()), lost)


def _plan(store: Store, manifest: Manifest, annotation: FaceAnnotation) -> PreparationPlan:
    """The dataset again, face by face, with what is added."""
    assert manifest.origin is not None
    places = {key: place for place, key in enumerate(store.keys)}
    people = store.identities
    items = [Item(key, key, None if people is None else int(people[place])) for key, place in places.items()]
    engine = PerThread(annotation.open)

    def make(chunk: Sequence[Item]) -> Iterable[ItemResult]:
        for start in range(0, len(chunk), _TOGETHER):
            yield from _added(store, places, chunk[start : start + _TOGETHER], annotation, engine.own)

    protocol = {**manifest.origin.protocol, annotation.kind: dict(annotation.settings)}
    return PreparationPlan(manifest.origin.dataset, protocol, items, make, _earlier(Path(store.path)))


def _added(
    store: Store, places: Mapping[str, int], items: Sequence[Item], annotation: FaceAnnotation, find: Annotator
) -> Iterator[ItemResult]:
    images = [store.image(item.key) for item in items]
    for item, image, found in zip(items, images, find(images), strict=True):
        if found is None and annotation.fallback is not None:
            found = annotation.fallback(image.shape[0], image.shape[1])
        if found is None:
            yield [Skip(item.name, NO_FACE, f'for its {annotation.kind}')]
            continue
        face = Face(
            item.key,
            image,
            None,
            None if store.landmarks is None else store.landmarks[places[item.key]],
            store.parsing(item.key) if store.has_parsing else None,
        )
        yield [face._replace(**{annotation.kind: found})]


def _earlier(dst: Path) -> list[Skip]:
    """What was left out when the dataset was prepared."""
    report = json.loads((dst / REPORT).read_text(encoding='utf-8')) if (dst / REPORT).is_file() else {'images': []}
    return [Skip(image['name'], image['reason'], image['detail']) for image in report['images']]
