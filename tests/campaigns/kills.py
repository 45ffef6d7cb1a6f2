"""Runs that are killed or asked to stop at random moments, and go on by the same command to the same end.

Training in three stages (the second makes images for the third), one-shot adaptation, a suite, and training in two
processes are ended once to three times each, by SIGKILL, SIGTERM, SIGINT or SIGHUP: in an iteration, in validation, in
the middle of writing, between stages. The last run must end well, and what it leaves must be equal, bit for bit, to
what an uninterrupted one leaves: weights, figures, pictures, the newest training states. A case is a function of seed
and number; on a busy machine a delay of milliseconds may fall elsewhere::

    python tests/campaigns/kills.py --seed 1 --number 40
    python tests/campaigns/kills.py --seed 1 --only 17 --show
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests'), str(ROOT / 'tests/campaigns')]
# Before torch is loaded.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import common
from common import Broken
from killed_runs import SCENARIOS, Moment, Scenario, check_figures, difference, left, own, start

from fsr_plugins.engine.lock import LOCK, only_writer

#: Every kind once in so many cases.
KINDS = ('train', 'oneshot', 'train', 'bench', 'two processes', 'train', 'oneshot', '1 -> 2 -> 1')
_SIGNALS = (signal.SIGKILL,) * 6 + (signal.SIGTERM,) * 3 + (signal.SIGINT, signal.SIGHUP)
#: The longest delay after an event, in seconds.
_DELAY = 0.03
#: The status of a process that has lost another.
_LOST = 1


def run(seed: int, number: int, seconds: float, only: int | None = None, show: bool = False) -> Counter[str]:
    """Runs cases until ``number`` or ``seconds`` are reached.

    Returns:
        how often each kind ended how; what is against the rules is in capitals, with its case.
    """
    found: Counter[str] = Counter()
    started, before = time.monotonic(), Path.cwd()
    with tempfile.TemporaryDirectory() as around:
        common.prepare_environment(Path(around))
        campaign = Campaign(Path(around))
        for case in [only] if only is not None else range(number):
            if time.monotonic() - started > seconds:
                break
            draw = random.Random(f'{seed}.{case}')
            kind = KINDS[case % len(KINDS)]
            try:
                found[f'{kind}: {campaign.one(draw, kind)}'] += 1
            except Exception as error:
                found[f'{type(error).__name__.upper()} {kind}, seed {seed}, case {case}: {str(error)[:300]!r}'] += 1
                if show:
                    traceback.print_exc()
                    print((campaign.log).read_text())
            finally:
                os.chdir(before)
    return found


class Campaign:
    """The cases, and what uninterrupted runs leave.

    Args:
        around: every run is in ``<around>/case``, so that paths are equal too.
    """

    def __init__(self, around: Path) -> None:
        self.folder, self.log = around / 'case', around / 'log'
        self._whole: dict[str, tuple[dict[str, Any], list[int]]] = {}

    def one(self, draw: random.Random, kind: str) -> str:
        """Makes a case and looks at its end; in words how it went.

        Raises:
            Broken: against the rules.
        """
        if kind == '1 -> 2 -> 1':
            return self._other_numbers(draw)
        scenario = SCENARIOS[kind]
        expected, events = self._uninterrupted(kind, scenario)
        self._begin(scenario)
        number = draw.choice(range(len(scenario.commands)))
        for command in scenario.commands[:number]:
            self._to_the_end(scenario, command)
        said = []
        for _ in range(draw.choice((1, 1, 2, 3))):
            moment = Moment(
                draw.randint(1, events[number]),
                draw.choice((0.0, draw.uniform(0, _DELAY))),
                draw.choice(_SIGNALS),
                draw.randrange(scenario.processes),
            )
            said.append(self._end(scenario, scenario.commands[number], moment))
        for command in scenario.commands[number:]:
            self._to_the_end(scenario, command)
        found = {name: content for name, content in left(self.folder).items() if name in expected or not own(name)}
        if where := difference(expected, found):
            raise Broken(f'{", ".join(said)}: {where} is not what an uninterrupted run leaves')
        return f'{", ".join(sorted(set(said)))}, equal to the uninterrupted'

    def _other_numbers(self, draw: random.Random) -> str:
        """Begun by one process, gone on with by two, ended by one: other batches, so it is only looked at whether it
        goes on, and whether what is left holds together."""
        scenario = SCENARIOS['train']
        _, events = self._uninterrupted('train', scenario)
        self._begin(scenario)
        for processes in (1, 2):
            moment = Moment(draw.randint(1, events[0]), 0.0, draw.choice(_SIGNALS), draw.randrange(processes))
            self._end(scenario, 'train', moment, processes)
        self._to_the_end(scenario, 'train')
        check_figures(self.folder)
        return 'goes on to its end'

    def _uninterrupted(self, kind: str, scenario: Scenario) -> tuple[dict[str, Any], list[int]]:
        """What is left, and how many things happen in each command."""
        if kind not in self._whole:
            self._begin(scenario)
            events = []
            for command in scenario.commands:
                self._to_the_end(scenario, command)
                events.append(int(Path(f'{self.log}.events').read_text()))
            self._whole[kind] = left(self.folder), events
        return self._whole[kind]

    def _begin(self, scenario: Scenario) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        os.chdir(self.folder)
        scenario.fill(self.folder)

    def _to_the_end(self, scenario: Scenario, command: str) -> None:
        statuses, printed = self._start(scenario, command, None, scenario.processes)
        for status in statuses:
            common.check(status, printed, {0})
        # A killed run leaves its lock; whether anybody still holds it is seen by taking it.
        for lock in self.folder.rglob(LOCK):
            with only_writer(lock.parent):
                pass

    def _end(self, scenario: Scenario, command: str, moment: Moment, processes: int | None = None) -> str:
        """A run that ends itself, or is done before."""
        processes = processes or scenario.processes
        statuses, printed = self._start(scenario, command, moment, processes)
        expected = {0, 128 + moment.number}
        for rank, status in enumerate(statuses):
            # The others lose it, or agree to stop as if they had been asked themselves.
            others = expected | {_LOST, 128 + signal.SIGTERM}
            common.check(status, printed, expected if rank == moment.rank else others)
        ended = statuses[moment.rank] != 0
        return signal.Signals(moment.number).name if ended else 'done before'

    def _start(
        self, scenario: Scenario, command: str, moment: Moment | None, processes: int
    ) -> tuple[Sequence[int], str]:
        self.log.unlink(missing_ok=True)
        statuses = start(scenario, command, self.log, moment, processes)
        return statuses, self.log.read_text()


if __name__ == '__main__':
    sys.exit(common.main(run, __doc__ or '', number=40, seconds=900))
