"""What is built on first use: where it is kept, and that one process alone builds it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fsr_plugins.errors import UserError

logger = logging.getLogger(__name__)


def built_folder(what: str) -> Path:
    """Where things of a kind are kept: ``$FSR_DATASETS/<what>``, or ``datasets/<what>`` of the working directory."""
    return Path(os.environ.get('FSR_DATASETS') or 'datasets') / what


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Holds the right to build ``path``; the system gives it back when the process ends, however it ends.

    Raises:
        UserError: the folder that it belongs into cannot be written.
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
        raise UserError(
            f"'{path.parent}' cannot be written ({error.strerror}); "
            'set FSR_DATASETS to a folder for what is built on first use.'
        ) from error
    try:
        yield
    finally:
        lock.release()
