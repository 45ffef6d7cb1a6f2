"""Signals that end a command: what is on its way out says why; what waits is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

#: A command within which the signal NUMBER arrives, while an error is told or not.
CODE = """
import os, sys, time
from fsr_plugins.cli.streams import Ended, ended_by_signals
number, telling = int(sys.argv[1]), sys.argv[2] == 'telling'
try:
    with ended_by_signals():
        try:
            if telling:
                raise ValueError('why')
            os.kill(os.getpid(), number)
            time.sleep(1)
        except ValueError as error:
            os.kill(os.getpid(), number)
            time.sleep(0.1)
            print(error)
except Ended as end:
    print('ended by', end.number)
"""


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ('rank', 'state', 'status', 'said'),
    [
        (None, 'working', 0, 'ended by {}'),
        (None, 'telling', 0, 'ended by {}'),
        ('1', 'working', None, ''),
        ('1', 'telling', 0, 'why'),
    ],
)
def test_how_it_ends(number: int, rank: str | None, state: str, status: int | None, said: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != 'RANK'}
    done = subprocess.run(
        [sys.executable, '-c', CODE, str(int(number)), state],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        env=environment if rank is None else {**environment, 'RANK': rank},
    )
    assert done.returncode == (-number if status is None else status)
    assert done.stdout.strip() == said.format(int(number))
