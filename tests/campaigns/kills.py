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
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:3]]

import common
from common import Broken
from killed_runs import SCENARIOS, Moment, Scenario, check_figures, difference, left, own, start
from state_faults import forge

from fsr_plugins.engine.lock import LOCK, only_writer

#: Every kind once in so many cases.
KINDS = (
    'train', 'forged state', 'oneshot', 'other data', 'train', 'bench', 'forged state', 'two processes', 'train',
    'oneshot', '1 -> 2 -> 1',
)  # fmt: skip
_SIGNALS = (signal.SIGKILL,) * 6 + (signal.SIGTERM,) * 3 + (signal.SIGINT, signal.SIGHUP)
#: The longest delay after an event, in seconds.
_DELAY = 0.03
#: The status of a process that has lost another.
_LOST = 1


def run(seed: int, number: int, seconds: float, only: int | None = None, show: bool = False) -> Counter[str]:
    """Runs cases: see ``common.run_cases``."""
    with tempfile.TemporaryDirectory() as around, patch.dict(os.environ, FSR_OFFLINE='1'):
        # Caches and whatever is built on first use; nothing is fetched.
        for name in ('XDG_CACHE_HOME', 'FSR_DATASETS', 'FSR_WEIGHTS'):
            os.environ[name] = str(Path(around) / name.lower())
        campaign = Campaign(Path(around))
        kinds = [(kind, partial(campaign.one, kind)) for kind in KINDS]
        return common.run_cases(kinds, seed, number, seconds, only, show)


class Campaign:
    """The cases, and what uninterrupted runs leave.

    Args:
        around: every run is in ``<around>/case``, so that paths are equal too.
    """

    def __init__(self, around: Path) -> None:
        self.folder, self.log = around / 'case', around / 'log'
        self._whole: dict[str, tuple[dict[str, Any], list[int]]] = {}

    def one(self, kind: str, draw: random.Random, folder: Path) -> str:
        """Makes a case and looks at its end; in words how it went. ``folder`` is not the runs' own.

        Raises:
            Broken: against the rules.
        """
        if kind == '1 -> 2 -> 1':
            return self._other_numbers(draw)
        if kind == 'forged state':
            return self._forged_state(draw)
        if kind == 'other data':
            return self._other_data(draw)
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
            problem = f'{", ".join(said)}: {where} is not what an uninterrupted run leaves'
            raise Broken(problem, self.log.read_text())
        return f'{", ".join(sorted(set(said)))}, equal to the uninterrupted'

    def _other_numbers(self, draw: random.Random) -> str:
        """Begun by one process, gone on with by two, ended by one: other batches, so it is only looked at whether it
        goes on, and whether what is left holds together."""
        scenario = replace(SCENARIOS['train'], arguments=('--accept-changes',))
        _, events = self._uninterrupted('train', SCENARIOS['train'])
        self._begin(scenario)
        for processes in (1, 2):
            moment = Moment(draw.randint(1, events[0]), 0.0, draw.choice(_SIGNALS), draw.randrange(processes))
            self._end(scenario, 'train', moment, processes)
        self._to_the_end(scenario, 'train')
        check_figures(self.folder)
        return 'goes on to its end'

    def _stopped(self, draw: random.Random) -> tuple[Scenario, dict[str, Any]]:
        """A training that was ended somewhere, and what an uninterrupted one leaves."""
        scenario = SCENARIOS['train']
        expected, events = self._uninterrupted('train', scenario)
        self._begin(scenario)
        self._end(scenario, 'train', Moment(draw.randint(1, events[0]), 0.0, draw.choice(_SIGNALS), 0))
        return scenario, expected

    def _forged_state(self, draw: random.Random) -> str:
        """Stopped, then its newest state is forged: it is passed over, and the end is the same."""
        scenario, expected = self._stopped(draw)
        states = sorted(self.folder.glob('experiments/*/*/training_states/*.state'), key=os.path.getmtime)
        if not states:
            return 'nothing was saved yet'
        what = forge(draw, states[-1])
        if len(list(states[-1].parent.glob('*.state'))) == 1:
            # Of the right form, but not of this stage: it is not known whether the options or the state are wrong.
            ((status,), printed) = self._start(scenario, 'train', None, 1)
            common.check(status, printed, {0, 2} if 'No state in' in printed else {0})
            if status:
                return 'the only state is refused by name'
        self._to_the_end(scenario, 'train')
        found = {name: content for name, content in left(self.folder).items() if name in expected or not own(name)}
        # A state of a stage that is done is read by nobody.
        whole, found = ({name: one[name] for name in one if 'training_states' not in name} for one in (expected, found))
        if where := difference(whole, found):
            raise Broken(f'{what}: {where} is not what an uninterrupted run leaves', self.log.read_text())
        return 'passed over'

    def _other_data(self, draw: random.Random) -> str:
        """Stopped, then an image that it trains on is exchanged: refused by name if it has had an effect."""
        scenario, _ = self._stopped(draw)
        effect = [*self.folder.glob('experiments/*/*/training_states/*.state')]
        one, other = draw.sample(sorted((self.folder / 'faces').iterdir()), 2)
        if draw.random() < 0.5:
            shutil.copyfile(one, other)
        else:
            shutil.copyfile(one, other.with_name('further.png'))
        ((status,), printed) = self._start(scenario, 'train', None, 1)
        common.check(status, printed, {2} if effect else {0})
        if effect and 'other options or data' not in printed:
            raise Broken('the change is not named', printed)
        return 'refused by name' if effect else 'nothing was saved yet'

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

    def _start(self, scenario: Scenario, command: str, moment: Moment | None, processes: int) -> tuple[list[int], str]:
        statuses = start(scenario, command, self.log, moment, processes)
        return statuses, self.log.read_text()


if __name__ == '__main__':
    sys.exit(common.main(run, __doc__ or '', number=40, seconds=900))
