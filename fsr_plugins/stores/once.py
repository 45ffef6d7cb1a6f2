"""What is built on first use: where it is kept, that one process alone builds it, and how to leave no trace of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from filelock import FileLock, Timeout

from fsr_plugins.atomic import cannot_be_made
from fsr_plugins.lmdb_env import release

logger = logging.getLogger(__name__)
#: Where things are built instead of in their place, if anywhere.
_elsewhere: ContextVar[Path | None] = ContextVar('_elsewhere', default=None)


def built_folder(what: str) -> Path:
    """Where things of a kind are kept: ``$FSR_DATASETS/<what>``, or ``datasets/<what>`` of the working directory."""
    return Path(os.environ.get('FSR_DATASETS') or 'datasets') / what


@contextmanager
def built_in(folder: Path) -> Iterator[None]:
    """Inside, what is not built yet is built in ``folder``: for those who must leave everything else as it is.

    Built-in faces are not all drawn then: a few stand for all.
    """
    token = _elsewhere.set(folder)
    try:
        yield
    finally:
        _elsewhere.reset(token)
        for path in folder.glob('*.lmdb'):
            release(path)


def place_to_build(path: Path) -> Path:
    """Where ``path``, which is not there, is to be built: there, or in the folder of :func:`built_in`."""
    folder = _elsewhere.get()
    return path if folder is None else folder / path.name


def leaves_nothing() -> bool:
    """Whether everything is to stay as it is: inside :func:`built_in`."""
    return _elsewhere.get() is not None


def is_elsewhere(path: str) -> bool:
    """Whether ``path`` lies in the folder of :func:`built_in`."""
    folder = _elsewhere.get()
    return folder is not None and Path(path).is_relative_to(folder)


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
