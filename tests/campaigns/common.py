"""What campaigns share: limits of time, commands in this process, what may not be left behind, and the table.

A campaign has a function ``run(seed, number, seconds, only=None, show=False) -> Counter``. Its keys say what was done
and how it ended, ``kind: outcome``; what is against the rules begins in capitals and names seed and case.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import FrameType

#: Seconds that a case may take.
LIMIT = 20.0
#: How a command may end: done, failed while running, wrong input; those after a signal.
STATUSES = frozenset({0, 1, 2})
STOPPED = frozenset({128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)})

Campaign = Callable[[int, int, float, 'int | None', bool], 'Counter[str]']


class Hang(BaseException):
    """A case that took too long."""


class Broken(Exception):
    """A case that ended against the rules."""


@contextlib.contextmanager
def limited(seconds: float = LIMIT) -> Iterator[None]:
    """Raises :class:`Hang` in this thread, the main one, when the time is over."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang(f'longer than {seconds:.0f} s')

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fsr(arguments: Sequence[str]) -> tuple[int, str]:
    """Runs a command in this process; its status, and what it printed or raised."""
    from fsr_plugins.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), limited():
        try:
            status = main(list(arguments))
        except Exception:
            status = -1
            traceback.print_exc(file=printed)
    return status, printed.getvalue()


def check(status: int, printed: str, allowed: Collection[int] = STATUSES) -> None:
    """Looks at how a command ended.

    Raises:
        Broken: by a status that is not allowed, or with a traceback.
    """
    if 'Traceback (most recent call last)' in printed:
        raise Broken(f'traceback, {printed.strip().splitlines()[-1]}')
    if status not in allowed:
        raise Broken(f'status {status}, {printed.strip()[-200:]}')


def files_below(folder: Path) -> set[Path]:
    """Everything in a folder, however deep."""
    return set(folder.rglob('*'))


@contextlib.contextmanager
def only_inside(folder: Path) -> Iterator[None]:
    """Looks at what is beside a folder before and after.

    Raises:
        Broken: something has come, or gone.
    """

    def beside() -> set[Path]:
        return {path for path in files_below(folder.parent) if not path.is_relative_to(folder)}

    before = beside()
    yield
    if different := before ^ beside():
        raise Broken(f'outside its folder: {", ".join(sorted(map(str, different)))}')


def is_broken(outcome: str) -> bool:
    """Whether a key of a campaign's outcome is against the rules."""
    return outcome[:2].isupper()


def broken(found: Counter[str]) -> dict[str, int]:
    """What of an outcome is against the rules."""
    return {outcome: times for outcome, times in found.items() if is_broken(outcome)}


def table(found: Counter[str]) -> str:
    """The outcome as lines, what is against the rules last."""
    lines = [f'{times:6d}  {outcome}' for outcome, times in sorted(found.items(), key=lambda item: is_broken(item[0]))]
    wrong = sum(broken(found).values())
    return '\n'.join([*lines, f'{found.total():6d}  cases, {wrong} against the rules'])


def main(run: Campaign, about: str, *, number: int, seconds: float) -> int:
    """The command line of a campaign; the status is 1 if something was against the rules.

    Args:
        about: what it does; the first line is shown.
        number: how many cases unless the arguments say otherwise.
        seconds: after how many no further case is begun.
    """
    parser = argparse.ArgumentParser(description=about.strip().splitlines()[0])
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--number', type=int, default=number, help=f'of cases; default: {number}')
    parser.add_argument('--seconds', type=float, default=seconds, help=f'to begin cases in; default: {seconds:.0f}')
    parser.add_argument('--only', type=int, metavar='CASE', help='run this case alone')
    parser.add_argument('--show', action='store_true', help='show the traceback of what is against the rules')
    arguments = parser.parse_args()
    found = run(arguments.seed, arguments.number, arguments.seconds, arguments.only, arguments.show)
    print(table(found))
    sys.stdout.flush()
    return 1 if broken(found) else 0


def prepare_environment(folder: Path) -> None:
    """Caches and whatever is built on first use go into a folder; nothing is fetched."""
    os.environ.update(
        XDG_CACHE_HOME=str(folder / 'cache'),
        FSR_DATASETS=str(folder / 'datasets'),
        FSR_WEIGHTS=str(folder / 'weights'),
        FSR_OFFLINE='1',
    )
