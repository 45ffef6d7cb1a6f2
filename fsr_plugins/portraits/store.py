"""The built-in faces as a store, drawn when it is first opened.

Where nothing may be left (:func:`fsr_plugins.stores.once.built_in`), a few drawings stand for all.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fsr_plugins.errors import UserError
from fsr_plugins.lmdb_env import release
from fsr_plugins.portraits.domains import IMAGES_PER_PERSON
from fsr_plugins.portraits.spec import SCHEME, PortraitSpec, parse_spec
from fsr_plugins.portraits.workers import draw
from fsr_plugins.stores.lmdb import LmdbStore
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.once import is_elsewhere, only_one, place_to_build
from fsr_plugins.stores.opening import register_scheme
from fsr_plugins.stores.progress import progress
from fsr_plugins.stores.records import Face, FaceLike

logger = logging.getLogger(__name__)
#: Drawings that stand for all faces of a set.
_DRAWN = 16


class DrawnStore(LmdbStore):
    """Faces that can be drawn at any time; raises as :class:`LmdbStore`."""

    remedy = 'remove it, and the faces are drawn anew'


class StandIns(DrawnStore):
    """A few faces that stand for all of a spec, for a look at what is to come.

    Args:
        path: where they lie, for a while.
        text: the spec.
    """

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(path)
        self.text = text

    @property
    def place(self) -> str:
        """The spec: where they lie they will be gone."""
        return self.text


@register_scheme(SCHEME)
def open_portraits(text: str) -> LmdbStore:
    """Opens the store of a spec; draws it first if it is not there, while other processes that want it wait.

    Raises:
        DamagedError: what was drawn is not what it was.
        UserError: the spec is wrong, or its place cannot be written.
    """
    spec = parse_spec(text)
    path = spec.path()
    store = _complete(path, spec.number, text)
    if store is not None:
        return store
    path = place_to_build(path, faces=True)
    store = _complete(path, spec.number, text)
    if store is not None:
        return store
    with only_one(path):
        store = _complete(path, spec.number, text)  # another process may have drawn it meanwhile
        if store is not None:
            return store
        if path.exists():
            logger.warning('%s does not hold %d faces; it is drawn again.', path, spec.number)
            release(path)
            shutil.rmtree(path)
        if is_elsewhere(str(path)):
            write_lmdb(path, _stand_ins(spec), 'raw')
            return StandIns(path, text)
        logger.info('Drawing %d faces of %s/%s into %s (once).', spec.number, spec.domain, spec.split, path)
        write_lmdb(path, progress(draw(spec), spec.number, f'{spec.domain}/{spec.split}'), 'raw')
        return DrawnStore(path)


def takes_long(text: str) -> bool:
    """Whether to open this may draw more faces than stand for all; whatever is no spec of built-in faces does not.

    Args:
        text: what a set names.
    """
    if not text.startswith(f'{SCHEME}://'):
        return False
    try:
        spec = parse_spec(text)
    except UserError:
        return True
    return spec.number > _DRAWN and not spec.path().exists()


def _stand_ins(spec: PortraitSpec) -> Iterator[FaceLike]:
    """All faces of a spec by their keys and identities; the pictures are the first few, over and over."""
    drawn = list(draw(replace(spec, number=min(spec.number, _DRAWN))))
    for index in range(spec.number):
        shown, first = drawn[index % len(drawn)], drawn[0].identity
        identity = None if first is None else first + index // IMAGES_PER_PERSON
        yield Face(f'{index:06d}', shown.image, identity, shown.landmarks, shown.parsing)


def _complete(path: Path, number: int, text: str) -> LmdbStore | None:
    if not path.exists():
        return None
    store = StandIns(path, text) if is_elsewhere(str(path)) else DrawnStore(path)
    return store if len(store) == number else None
