"""Drawing built-in faces by several processes.

Drawing holds Python's lock most of the time, so threads do not help. The processes are started as commands of their
own, ``python -m``, and not by multiprocessing. Spawned children run the caller's main script again; that fails without
a ``__main__`` guard, or for a script from standard input. Forked ones inherit the locks of the caller's threads.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import cv2

from fsr_plugins.errors import RunError
from fsr_plugins.portraits.domains import render
from fsr_plugins.portraits.spec import PortraitSpec, parse_spec
from fsr_plugins.stores.records import FaceLike
from fsr_plugins.threads import available_cores

#: Faces a process draws and hands over in one go.
_CHUNK = 32

#: Starting a process takes as long as drawing some hundred faces.
_WORTH_PROCESSES = 256

#: A process takes some 400 MB, most of it for libraries.
_MOST_PROCESSES = 16

#: One thread each: the processes are as many as there are cores.
_ONE_THREAD = dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'), '1')


def draw(spec: PortraitSpec, processes: int | None = None) -> Iterator[FaceLike]:
    """Draws the faces of a spec in order, by as many processes as there are cores unless told otherwise.

    Raises:
        UserError: the spec is wrong.
        RunError: a process ended before its work was done.
    """
    if processes is None:
        few = spec.number < _WORTH_PROCESSES
        processes = 1 if few else min(available_cores(), _MOST_PROCESSES)
    if processes == 1:
        for start in range(0, spec.number, _CHUNK):
            yield from _chunk(spec, start)
        return
    workers = [_start(spec, first, processes) for first in range(processes)]
    try:
        # Worker w draws the chunks w, w + processes, …; a full pipe makes it wait, so nothing piles up.
        for _, worker in zip(range(0, spec.number, _CHUNK), cycle(workers), strict=False):
            yield from _receive(worker)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _chunk(spec: PortraitSpec, start: int) -> list[FaceLike]:
    indices = range(start, min(start + _CHUNK, spec.number))
    return list(render(spec.domain, spec.split, indices, spec.size, spec.seed, spec.light))


def _start(spec: PortraitSpec, first: int, step: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, '-m', __spec__.name, spec.text(), str(first), str(step)]
    roots = [str(Path(__file__).parents[2]), os.environ.get('PYTHONPATH')]
    path = os.pathsep.join(root for root in roots if root)
    # Safe path: a file of the working directory must not be taken for a library.
    environment = {**os.environ, **_ONE_THREAD, 'PYTHONPATH': path, 'PYTHONSAFEPATH': '1'}
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment)


def _receive(worker: subprocess.Popen[bytes]) -> list[FaceLike]:
    assert worker.stdout is not None
    try:
        faces: list[FaceLike] = pickle.load(worker.stdout)
    except (EOFError, pickle.UnpicklingError) as error:
        raise RunError(
            f'A process that draws built-in faces ended with status {worker.wait()} before it was done; '
            'what it said is above. If it was killed, there may be too little memory.'
        ) from error
    return faces


def main() -> None:
    """What a worker does: draws every ``step``-th chunk and writes it, pickled, to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the caller ends its workers
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the caller is gone: end without a word
    cv2.setNumThreads(0)
    import torch

    torch.set_num_threads(1)
    output = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)  # whatever a library prints must not come between the faces
    spec, first, step = parse_spec(sys.argv[1]), *map(int, sys.argv[2:])
    for start in range(first * _CHUNK, spec.number, step * _CHUNK):
        pickle.dump(_chunk(spec, start), output, protocol=pickle.HIGHEST_PROTOCOL)
        output.flush()


if __name__ == '__main__':
    main()
