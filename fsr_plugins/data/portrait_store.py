"""The built-in faces as a store: ``portraits://<domain>/<split>?number=2000&size=64&seed=0``, built on first use."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from fsr_plugins.data.lmdb_store import LmdbStore
from fsr_plugins.data.lmdb_writer import write_lmdb
from fsr_plugins.data.progress import progress
from fsr_plugins.data.records import FaceLike
from fsr_plugins.errors import UserError
from fsr_plugins.registry import near

logger = logging.getLogger(__name__)

SCHEME = 'portraits://'

#: Faces drawn in one go by a process: enough to outweigh handing them over.
_CHUNK = 32

_WORTH_PROCESSES = 256


@dataclass(frozen=True)
class PortraitSpec:
    """Which built-in faces: ``number`` of ``size`` x ``size`` pixels of a domain's split, drawn from ``seed``."""

    domain: str
    split: str = 'train'
    number: int = 2000
    size: int = 128
    seed: int = 0

    def path(self) -> Path:
        """Where they are kept: ``$FSR_DATASETS/portraits`` or ``datasets/portraits`` of the working directory."""
        root = Path(os.environ.get('FSR_DATASETS') or 'datasets')
        return root / 'portraits' / f'{self.domain}_{self.split}_n{self.number}_s{self.size}_seed{self.seed}.lmdb'


def parse_spec(text: str) -> PortraitSpec:
    """Reads a ``portraits://`` spec.

    Raises:
        UserError: naming what is unknown and the nearest right word.
    """
    from fsr_plugins.data.portraits import DOMAINS, SPLITS

    parts = urlsplit(text)
    domain, split = parts.netloc, parts.path.strip('/') or 'train'
    if domain not in DOMAINS:
        raise UserError(f"'{text}' has no domain '{domain}'.{near(domain, DOMAINS)} Known: {', '.join(DOMAINS)}.")
    if split not in SPLITS:
        raise UserError(f"'{text}' has no split '{split}'.{near(split, SPLITS)} Known: {', '.join(SPLITS)}.")
    numbers = {'number': 1, 'size': 4, 'seed': 0}
    values: dict[str, int] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key not in numbers:
            raise UserError(f"'{text}' has an unknown key '{key}'.{near(key, numbers)} Known: {', '.join(numbers)}.")
        if not value.isdecimal() or int(value) < numbers[key]:
            raise UserError(f"'{text}': '{key}' is '{value}'; it must be a whole number of at least {numbers[key]}.")
        values[key] = int(value)
    return PortraitSpec(domain, split, **values)


def open_portraits(text: str) -> LmdbStore:
    """Opens the store of a spec; draws it first if it is not there, while other processes that want it wait.

    Raises:
        UserError: the spec is wrong, or its place cannot be written.
    """
    spec = parse_spec(text)
    path = spec.path()
    if not path.exists():
        with _only_one(path):
            if not path.exists():
                logger.info('Drawing %d faces of %s/%s into %s (once).', spec.number, spec.domain, spec.split, path)
                write_lmdb(path, progress(draw(spec), spec.number, f'{spec.domain}/{spec.split}'), 'raw')
    return LmdbStore(path)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Holds the right to build ``path``; the system gives it back when the process ends, however it ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = (path.parent / f'.{path.name}.lock').open('w')
    except OSError as error:
        raise UserError(
            f"'{path.parent}' cannot be written ({error.strerror}); "
            'set FSR_DATASETS to a folder for the built-in faces.'
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def draw(spec: PortraitSpec, processes: int | None = None) -> Iterator[FaceLike]:
    """Draws the faces of a spec in order, by as many processes as there are cores unless told otherwise."""
    processes = processes or len(os.sched_getaffinity(0))
    starts = range(0, spec.number, _CHUNK)
    # Starting a process takes as long as drawing some hundred faces.
    if processes == 1 or spec.number < _WORTH_PROCESSES:
        yield from _draw_chunk(spec, 0, spec.number)
        return
    # Spawned, not forked: the caller may have threads, and a fork copies whatever lock they hold.
    with ProcessPoolExecutor(processes, mp_context=get_context('spawn')) as pool:
        counts = [min(_CHUNK, spec.number - start) for start in starts]
        for chunk in pool.map(_draw_chunk, [spec] * len(starts), starts, counts):
            yield from chunk


def _draw_chunk(spec: PortraitSpec, start: int, count: int) -> list[FaceLike]:
    from fsr_plugins.data.portraits import iterate

    return list(iterate(spec.domain, spec.split, start + count, spec.size, spec.seed, start))
