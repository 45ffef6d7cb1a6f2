"""Several processes: what ends one ends the others with a sentence, and never with the backend's own words."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsr_plugins.engine.lock import only_writer

#: ``fsr train`` in which something happens to process RANK at iteration 5.
WITH_A_FAULT = """
import os, signal, sys
from fsr_plugins import compat
from fsr_plugins.cli import main
from fsr_plugins.engine import states, trainer
from fsr_plugins.errors import RunError
from fsr_plugins.models import SupervisedModel

fault, rank = sys.argv.pop(1), int(os.environ.get('RANK') or os.environ['SLURM_PROCID'])
if fault == 'full disk':
    def save(self, iteration, state):
        raise RunError('Cannot write it: no space left on device.')
    states.TrainingStates.save = save
elif fault == 'killed':
    report = trainer.Trainer._report
    def kill(self):
        report(self)
        if self.iteration == 5 and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    trainer.Trainer._report = kill
elif fault == 'nan':
    def step(self):
        with self.phase('net_g') as losses:
            loss = self.losses.pixel_opt(self.net_g(self.lq), self.gt)
            losses['l_pix'] = loss * float('nan') if self.current_iter == 5 and rank == 1 else loss
    SupervisedModel.step = step
sys.exit(main(['train', *sys.argv[1:]]))
"""


def start(file: Path, fault: str, code: str = WITH_A_FAULT) -> list[tuple[int, str]]:
    """Runs two processes as torchrun would, without its own messages; gives status and errors of each.

    Args:
        code: of the program; its first argument is the fault.
    """
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    script = file.parent / 'with_a_fault.py'
    script.write_text(code)
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), fault, '-opt', str(file), '--launcher', 'pytorch'],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                'OMP_NUM_THREADS': '1',
                'RANK': rank,
                'LOCAL_RANK': rank,
                'WORLD_SIZE': '2',
                'MASTER_ADDR': '127.0.0.1',
                'MASTER_PORT': port,
            },
        )
        for rank in ('0', '1')
    ]
    deadline = time.monotonic() + 120
    try:
        errors = [process.communicate(timeout=deadline - time.monotonic())[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    lines = ['\n'.join(line for line in text.splitlines() if 'error' in line or 'Trace' in line) for text in errors]
    return [(process.returncode, text) for process, text in zip(processes, lines, strict=True)]


@pytest.mark.long
def test_a_process_that_is_lost_ends_the_other_with_a_sentence(experiment_file: Path) -> None:
    (status, message), (killed, _) = start(experiment_file, 'killed')
    assert (status, killed) == (1, -signal.SIGKILL)
    assert message.startswith('fsr: error: Process 0 has lost another of the 2 of this run')
    assert len(message.splitlines()) == 1


@pytest.mark.long
def test_a_full_disk_reaches_every_process(experiment_file: Path) -> None:
    outcomes = start(experiment_file, 'full disk')
    assert [status for status, _ in outcomes] == [1, 1]
    for rank, (_, message) in zip(('', ' (process 1)'), outcomes, strict=True):
        assert message == f'fsr{rank}: error: Cannot write it: no space left on device.'


@pytest.mark.slow
def test_what_one_process_finds_ends_all(experiment_file: Path) -> None:
    (status, message), (other, cause) = start(experiment_file, 'nan')
    assert (status, other) == (1, 1)
    assert message.startswith('fsr: error: ') and len(message.splitlines()) == 1
    assert cause.startswith('fsr (process 1): error: The loss l_pix is nan at iteration 5')
    assert len(cause.splitlines()) == 1


@pytest.mark.slow
def test_a_lock_that_cannot_be_had_is_said_by_every_process(experiment_file: Path) -> None:
    folder = experiment_file.parent / 'experiments/small'
    with only_writer(folder):
        outcomes = start(experiment_file, 'none')
    assert [status for status, _ in outcomes] == [2, 2]
    for _, message in outcomes:
        assert f"'{folder}' is in use: process {os.getpid()} on" in message and len(message.splitlines()) == 1


@pytest.mark.long
def test_under_torchrun_the_process_that_is_left_says_so(experiment_file: Path) -> None:
    script = experiment_file.parent / 'with_a_fault.py'
    script.write_text(WITH_A_FAULT)
    arguments = ['killed', '-opt', str(experiment_file), '--launcher', 'pytorch']
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 1
    said = 'Process 0 has lost another of the 2 of this run'
    assert [line for line in done.stderr.splitlines() if line.startswith('fsr: error: ' + said)]
    assert done.stderr.count(said) == 2  # torchrun's report has it, too
