"""Running one case of a campaign in a process of its own, and judging how it ended."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

#: How long a case may take, and how much memory beyond what the campaign itself holds, in MiB.
SECONDS, MEMORY = 20, 1500
STATUSES = {0, 1, 2}


class Ended(NamedTuple):
    """How a case ended: its status (negative: by which signal, None: it hung), what it wrote, its memory in MiB."""

    status: int | None
    text: str
    memory: int


def forked(function: Callable[[], int], folder: Path) -> Ended:
    """Runs a function in a copy of this process, in ``folder``, with its output caught and its time bounded."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        child = os.fork()
        if child == 0:
            status = 99
            try:
                os.chdir(folder)
                os.dup2(caught.fileno(), 1)
                os.dup2(caught.fileno(), 2)
                sys.stdout, sys.stderr = (os.fdopen(number, 'w', encoding='utf-8', closefd=False) for number in (1, 2))
                status = function()
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        ended, status, usage = 0, 0, None
        deadline = time.monotonic() + SECONDS
        while not ended and time.monotonic() < deadline:
            ended, status, usage = os.wait4(child, os.WNOHANG)
            time.sleep(0 if ended else 0.005)
        if not ended:
            os.kill(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
        caught.seek(0)
        text = caught.read().decode('utf-8', 'replace')
    if os.environ.get('CAMPAIGN_SHOW'):
        sys.stderr.write(text)
    return Ended(os.waitstatus_to_exitcode(status) if ended else None, text, usage.ru_maxrss // 1024)


def content(folder: Path) -> dict[str, bytes | str]:
    """All files below a folder and what is in them; folders and links by what they are."""
    found: dict[str, bytes | str] = {}
    for place, below, names in os.walk(folder):
        for name in [*below, *names]:
            path = os.path.join(place, name)
            inside = os.path.relpath(path, folder)
            if os.path.islink(path):
                found[inside] = f'link to {os.readlink(path)}'
            elif os.path.isfile(path):
                found[inside] = Path(path).read_bytes()
            else:
                found[inside] = 'folder' if os.path.isdir(path) else 'special'
    return found


def judge(
    ended: Ended, before: dict[str, bytes | str], after: dict[str, bytes | str], may_write: tuple[str, ...]
) -> None:
    """The rules that hold for every case.

    Raises:
        AssertionError: one is broken.
    """
    tail = ended.text[-3000:]
    assert ended.status is not None, f'it hung for {SECONDS} s: {tail}'
    assert ended.status in STATUSES, f'status {ended.status}: {tail}'
    assert 'Traceback' not in ended.text, tail
    assert 'Logging error' not in ended.text, tail
    assert ended.memory < _own_memory() + MEMORY, f'{ended.memory} MiB: {tail}'
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    outside = [name for name in changed if not name.split(os.sep)[0].startswith(may_write)]
    assert not outside, f'written outside: {outside}'
    left = [name for name in changed if name.endswith(('.part', '.partial'))]
    assert not left, f'temporary files: {left}'
    if ended.status:
        assert 'error: ' in ended.text, f'status {ended.status} without a word'


def _own_memory() -> int:
    import psutil

    return psutil.Process().memory_info().rss >> 20


#: A kind of fault, and what makes a case of it in a folder, runs it and checks it; it gives what happened, in words.
Cases = list[tuple[str, Callable[[random.Random, Path], str]]]


def run(cases: Cases, seed: int, number: int, seconds: float, only: int | None = None) -> Counter[tuple[str, str]]:
    """Runs cases, kind after kind, until so many are done or the time is over.

    Returns:
        how many of a kind ended how; what broke the rules begins with ``BROKEN``.
    """
    counts: Counter[tuple[str, str]] = Counter()
    end = time.monotonic() + seconds
    for case in range(number) if only is None else [only]:
        if time.monotonic() > end:
            break
        kind, play = cases[case % len(cases)]
        with _folder() as folder:
            try:
                happened = play(random.Random(f'{seed} {case}'), folder)
            except Exception as error:
                happened = f'BROKEN --seed {seed} --only {case}: {type(error).__name__} {error}'
        counts[kind, happened] += 1
    return counts


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix='campaign-'))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def broken(counts: Counter[tuple[str, str]]) -> list[str]:
    """What broke the rules."""
    return [f'{kind}: {happened}' for kind, happened in counts if happened.startswith('BROKEN')]


def main(runs: Callable[[int, int, float, int | None], Counter[tuple[str, str]]], number: int) -> int:
    """The command line of a campaign: prints the table, and gives 1 if anything broke the rules."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--seconds', type=float, default=3600)
    parser.add_argument('--number', type=int, default=number)
    parser.add_argument('--only', type=int)
    arguments = parser.parse_args()
    counts = runs(arguments.seed, arguments.number, arguments.seconds, arguments.only)
    for (kind, happened), times in sorted(counts.items()):
        print(f'{times:6}  {kind:36} {happened}')
    print(f'{sum(counts.values()):6}  cases, seed {arguments.seed}, {len(broken(counts))} broke the rules')
    return 1 if broken(counts) else 0
