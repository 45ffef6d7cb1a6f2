"""What campaigns share: the loop over their cases, limits of time and memory, the table and the command line.

A campaign has a function ``run(seed, number, seconds, only=None, show=False) -> Counter``. Its keys say what was done
and how it ended, ``kind: outcome``; what is against the rules begins with ``BROKEN`` and names seed and case.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import resource
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import FrameType

# Before torch is loaded: campaigns import this first.
os.environ.setdefault('OMP_NUM_THREADS', '1')

#: Seconds that a case may take, or a process of one.
LIMIT = 20.0
#: How a command may end: done, failed while running, wrong input.
STATUSES = frozenset({0, 1, 2})

#: Makes a case in a folder, the working directory, runs it and checks it; in words how it ended.
Case = Callable[[random.Random, Path], str]
#: Kinds of cases, each with its name, in turn; without a name where there is one kind alone.
Kinds = Sequence[tuple[str, Case]]


class Hang(BaseException):
    """A case that took too long; no ``except Exception`` may swallow it."""


class Broken(Exception):
    """A case that ended against the rules.

    Args:
        problem: the rule.
        printed: what the case has printed; its end is told with the problem, all of it by ``--show``.
    """

    def __init__(self, problem: str, printed: str = '') -> None:
        end = printed.strip()[-200:]
        super().__init__(f'{problem}: {end}' if end else problem)
        self.printed = printed


def run_cases(
    kinds: Kinds, seed: int, number: int, seconds: float, only: int | None = None, show: bool = False
) -> Counter[str]:
    """Runs cases, kind after kind, until ``number`` or ``seconds`` are reached.

    Every case has a new folder, and may leave nothing beside it.

    Args:
        seed: of all cases; a case is a function of seed and number.
        seconds: in which cases are begun.
        only: the only case to run.
        show: whether tracebacks of what is against the rules are printed.
    Returns:
        how often each kind ended how.
    """
    found: Counter[str] = Counter()
    started, before = time.monotonic(), Path.cwd()
    for case in range(number) if only is None else [only]:
        if time.monotonic() - started > seconds:
            break
        kind, play = kinds[case % len(kinds)]
        with tempfile.TemporaryDirectory(prefix='campaign-', ignore_cleanup_errors=True) as around:
            folder = Path(around) / 'inner/case'
            folder.mkdir(parents=True)
            os.chdir(folder)
            try:
                ended = play(random.Random(f'{seed} {case}'), folder)
                _check_beside(folder)
                outcome = f'{kind}: {ended}' if kind else ended
            except (Exception, Hang) as error:
                outcome = f'BROKEN {kind + " " if kind else ""}--seed {seed} --only {case}: {_described(error)}'
                if show:
                    traceback.print_exc()
                    print(getattr(error, 'printed', ''))
            finally:
                os.chdir(before)
        found[outcome] += 1
    return found


def _check_beside(folder: Path) -> None:
    inner = folder.parent
    if beside := {*inner.iterdir(), *inner.parent.iterdir()} - {folder, inner}:
        raise Broken(f'outside its folder: {", ".join(sorted(map(str, beside)))}')


def _described(error: BaseException) -> str:
    if isinstance(error, Broken):
        return repr(str(error)[:500])
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f'{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}, {str(error)[:300]!r}'


@contextlib.contextmanager
def limited(seconds: float = LIMIT, memory: int | None = None) -> Iterator[None]:
    """Bounds what is done inside, in this thread, the main one.

    Args:
        memory: bytes of addresses that may be taken beyond what the process has; without a bound if None.
    Raises:
        Hang: the time is over.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang(f'longer than {seconds:.0f} s')

    limits = resource.getrlimit(resource.RLIMIT_AS)
    if memory is not None:
        taken = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory, limits[1]))
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def fsr(arguments: Sequence[str]) -> tuple[int, str]:
    """Runs a command in this process; its status, and what it printed.

    Raises:
        Broken: it ended in another way than a command may.
    """
    from fsr_plugins.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = main(list(arguments))
    check(status, printed.getvalue())
    return status, printed.getvalue()


def check(status: int | None, printed: str, allowed: Collection[int] = STATUSES) -> None:
    """Looks at how a command ended.

    Raises:
        Broken: by a status that is not allowed, with a traceback, or not at all (None).
    """
    if status is None:
        raise Broken(f'longer than {LIMIT:.0f} s', printed)
    for sign in ('Traceback (most recent call last)', 'Logging error'):
        if sign in printed:
            raise Broken(sign, printed)
    if status not in allowed:
        raise Broken(f'status {status}', printed)


def broken(found: Counter[str]) -> dict[str, int]:
    """What of an outcome is against the rules."""
    return {outcome: times for outcome, times in found.items() if outcome.startswith('BROKEN')}


def table(found: Counter[str]) -> str:
    """The outcome as lines, what is against the rules last."""
    wrong = broken(found)
    ordered = sorted(found.items(), key=lambda item: (item[0] in wrong, item[0]))
    lines = [f'{times:6d}  {outcome}' for outcome, times in ordered]
    return '\n'.join([*lines, f'{found.total():6d}  cases, {sum(wrong.values())} against the rules'])


def main(
    run: Callable[..., Counter[str]],
    about: str,
    *,
    number: int,
    seconds: float = 3600,
    parser: argparse.ArgumentParser | None = None,
) -> int:
    """The command line of a campaign; the status is 1 if something was against the rules.

    Args:
        about: what it does; the first line is shown.
        number: how many cases unless the arguments say otherwise.
        seconds: after how many no further case is begun.
        parser: with arguments of the campaign's own.
    """
    parser = parser or argparse.ArgumentParser()
    parser.description = about.strip().splitlines()[0]
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--number', type=int, default=number, help=f'of cases; default: {number}')
    parser.add_argument('--seconds', type=float, default=seconds, help=f'to begin cases in; default: {seconds:.0f}')
    parser.add_argument('--only', type=int, metavar='CASE', help='run this case alone')
    parser.add_argument('--show', action='store_true', help='show the traceback of what is against the rules')
    arguments = parser.parse_args()
    found = run(**vars(arguments))
    print(table(found), flush=True)
    return 1 if broken(found) else 0
