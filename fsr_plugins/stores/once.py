"""What is built on first use: where it is kept, that one process alone builds it, and how to leave no trace of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from fsr_plugins.atomic import cannot_be_made
from fsr_plugins.lmdb_env import release

logger = logging.getLogger(__name__)


class _Elsewhere(NamedTuple):
    folder: Path
    faces_alone: bool


#: Where things are built instead of in their place, if anywhere.
_elsewhere: ContextVar[_Elsewhere | None] = ContextVar('_elsewhere', default=None)


def built_folder(what: str, *sources: str) -> Path:
    """Where things of a kind are kept: ``$FSR_DATASETS/<what>``, or ``datasets/<what>`` of the working directory.

    Args:
        sources: paths of what it is made of; where one stands for faces in the folder of :func:`built_in`, it is kept
            there too.
    """
    place = _elsewhere.get()
    if place is not None and any(map(is_elsewhere, sources)):
        return place.folder / what
    return Path(os.environ.get('FSR_DATASETS') or 'datasets') / what


@contextmanager
def built_in(folder: Path, faces_alone: bool = False) -> Iterator[None]:
    """Inside, what is not built yet is built in ``folder``: for those who must leave everything else as it is.

    Built-in faces are not all drawn then: a few stand for all.

    Args:
        faces_alone: this holds for them alone; all else is built in its place.
    """
    token = _elsewhere.set(_Elsewhere(folder, faces_alone))
    try:
        yield
    finally:
        _elsewhere.reset(token)
        for path in folder.glob('*.lmdb'):
            release(path)


def place_to_build(path: Path, faces: bool = False) -> Path:
    """Where ``path``, which is not there, is to be built: there, or in the folder of :func:`built_in`.

    Args:
        faces: whether it is built-in faces.
    """
    place = _elsewhere.get()
    return path if place is None or (place.faces_alone and not faces) else place.folder / path.name


def leaves_nothing() -> bool:
    """Whether everything is to stay as it is: inside :func:`built_in`."""
    place = _elsewhere.get()
    return place is not None and not place.faces_alone


def is_elsewhere(path: str) -> bool:
    """Whether ``path`` lies in the folder of :func:`built_in`."""
    place = _elsewhere.get()
    return place is not None and Path(path).is_relative_to(place.folder)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Holds the right to build ``path``; the system gives it back when the process ends, however it ends.

    Raises:
        UserError: the folder that it belongs into cannot be written.
        DiskError: the disk is full.
    """
    lock = FileLock(path.parent / f'.{path.name}.lock')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.info('Waiting for the process that builds %s.', path)
            lock.acquire()
    except OSError as error:
        advice = 'set FSR_DATASETS to a folder for what is built on first use'
        raise cannot_be_made(path.parent, error, advice) from error
    try:
        yield
    finally:
        lock.release()
