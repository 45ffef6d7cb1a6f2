"""Adding to a prepared dataset what a network sees on its faces: landmarks, parsing maps.

The dataset is written anew beside itself, with all that :mod:`~fsr_plugins.prepare.carry_out` gives (parts, an
account, a manifest), and then takes the old one's place.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from fsr_plugins.errors import UserError
from fsr_plugins.lmdb_env import release
from fsr_plugins.prepare.base import Prepared
from fsr_plugins.prepare.carry_out import REPORT, carry_out
from fsr_plugins.prepare.per_thread import PerThread
from fsr_plugins.prepare.plan import NO_FACE, Item, ItemResult, PreparationPlan, Skip
from fsr_plugins.stores.images import Image
from fsr_plugins.stores.manifest import Origin
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.store import Store

#: Landmarks, float32 (5, 2), or a parsing map, uint8 HW.
Found = npt.NDArray[np.float32] | Image
#: Finds something on each of some images; None where it finds no face.
Annotator = Callable[[Sequence[Image]], Sequence[Found | None]]

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

    kind: Literal['landmarks', 'parsing']
    settings: Mapping[str, object]
    open: Callable[[], Annotator]
    fallback: Callable[[int, int], Found] | None = None


def annotate(dst: Path, annotation: FaceAnnotation) -> Prepared:
    """Adds to every face of a prepared dataset; what it held of that kind is replaced.

    Interrupted and started again with equal arguments, it goes on. Until the end the dataset is as it was.

    Args:
        dst: A folder or LMDB that ``fsr prepare`` has written, or a link to one, which stays.
        annotation: What to add.

    Raises:
        UserError: there is no prepared dataset, or nothing of it is left.
        RunError: the disk is full.
        Interrupted: by Ctrl-C.
    """
    given, dst = dst, Path(os.path.realpath(dst))  # a link is none of the folders that are moved, '.' has no name
    new, old = dst.with_name(f'.new.{dst.name}'), dst.with_name(f'.old.{dst.name}')
    if old.exists() and not dst.exists():  # killed between the two renames below
        old.rename(dst)
    store = open_store(dst)
    manifest = store.manifest
    if manifest.origin is None:
        raise UserError(
            f"'{dst}' was not prepared by this toolkit (no origin in its manifest): see 'fsr prepare folder'."
        )
    plan = _plan(store, manifest.origin, annotation)
    # An interrupted run with these arguments may have finished ``new`` and only not moved it.
    made = open_store(new).manifest.origin if new.exists() else None
    if made is None or (made.dataset, made.protocol) != (plan.dataset, plan.protocol):
        shutil.rmtree(new, ignore_errors=True)
        if manifest.kind == 'lmdb':
            carry_out(plan, new, form='lmdb', encoding='png' if manifest.encoding == 'png' else 'raw')
        else:
            carry_out(plan, new, form='folder')
    release(dst)
    release(new)
    shutil.rmtree(old, ignore_errors=True)
    dst.rename(old)
    new.rename(dst)
    shutil.rmtree(old)
    return replace(_summary(dst, manifest.origin), path=str(given))


def _summary(dst: Path, before: Origin) -> Prepared:
    """The dataset as it is now, and what was left out beyond what it lacked ``before``."""
    store = open_store(dst)
    people = 0 if store.identities is None else len(np.unique(store.identities))
    assert store.manifest.origin is not None
    lost = {
        reason: number - before.skipped.get(reason, 0)
        for reason, number in store.manifest.origin.skipped.items()
        if number > before.skipped.get(reason, 0)
    }
    return Prepared(str(dst), len(store), people, sum(lost.values()), lost)


def _plan(store: Store, origin: Origin, annotation: FaceAnnotation) -> PreparationPlan:
    """The dataset again, face by face, with what is added; what was left out before is left out again."""
    people = store.identities
    items = [Item(key, key, None if people is None else int(people[place])) for place, key in enumerate(store.keys)]
    engine = PerThread(annotation.open)

    def make(chunk: Sequence[Item]) -> Iterable[ItemResult]:
        for start in range(0, len(chunk), _TOGETHER):
            yield from _added(store, chunk[start : start + _TOGETHER], annotation, engine.own)

    file = Path(store.path) / REPORT
    report = json.loads(file.read_text(encoding='utf-8')) if file.is_file() else {'images': []}
    skipped = [Skip(image['name'], image['reason'], image['detail']) for image in report['images']]
    protocol = {**origin.protocol, annotation.kind: dict(annotation.settings)}
    return PreparationPlan(origin.dataset, protocol, items, make, skipped)


def _added(store: Store, items: Sequence[Item], annotation: FaceAnnotation, find: Annotator) -> Iterator[ItemResult]:
    faces = [store.get(item.key) for item in items]
    for item, face, found in zip(items, faces, find([face.image for face in faces]), strict=True):
        if found is None and annotation.fallback is not None:
            found = annotation.fallback(face.image.shape[0], face.image.shape[1])
        if found is None:
            yield [Skip(item.name, NO_FACE, f'for its {annotation.kind}')]
        elif annotation.kind == 'landmarks':
            yield [face._replace(identity=None, landmarks=np.asarray(found, np.float32))]
        else:
            yield [face._replace(identity=None, parsing=np.asarray(found, np.uint8))]
