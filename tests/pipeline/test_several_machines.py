"""Two machines, each with one process, simulated on this one: trained, killed, resumed, by torchrun and by Slurm."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_processes import WITH_A_FAULT, start

from fsr_plugins.engine.slurm import first_host

#: ``srun --ntasks N --nodes N COMMAND``: what Slurm sets for each task of a step with one task a machine. As srun does,
#: it leaves the other tasks alone when one fails, and ends with the highest status.
SRUN = """#!{python}
import os, subprocess, sys
count = int(sys.argv[sys.argv.index('--ntasks') + 1])
command = sys.argv[sys.argv.index('--') + 1:]
common = dict(SLURM_NTASKS=str(count), SLURM_NPROCS=str(count), SLURM_NNODES=str(count), SLURM_JOB_ID='4711',
              SLURM_STEP_ID='0', SLURM_NODELIST='localhost', SLURM_STEP_NODELIST='localhost', SLURM_LOCALID='0',
              SLURM_TASKS_PER_NODE=f'1(x{{count}})')
tasks = [subprocess.Popen(command, env={{**os.environ, **common, 'SLURM_PROCID': str(n), 'SLURM_NODEID': str(n)}})
         for n in range(count)]
statuses = [task.wait() for task in tasks]
sys.exit(max(128 - status if status < 0 else status for status in statuses))
"""
LOST = 'Process 0 has lost another of the 2 of this run'


def free_port() -> str:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


def environment() -> dict[str, str]:
    return {**os.environ, 'OMP_NUM_THREADS': '1'}


def by_torchrun(file: Path, script: Path, fault: str) -> tuple[list[int], str]:
    """Two agents, one a machine, that meet at a port; their statuses, and what both say."""
    port = free_port()
    agents = [
        subprocess.Popen(
            [
                *(sys.executable, '-m', 'torch.distributed.run', '--nnodes=2', f'--node-rank={node}'),
                *('--nproc-per-node=1', '--rdzv-backend=static', f'--rdzv-endpoint=127.0.0.1:{port}'),
                *(str(script), fault, '-opt', str(file), '--launcher', 'pytorch'),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        for node in range(2)
    ]
    try:
        said = [agent.communicate(timeout=150)[0] for agent in agents]
    finally:
        for agent in agents:
            agent.kill()
    return [agent.returncode for agent in agents], ''.join(said)


def by_srun(file: Path, script: Path, fault: str) -> tuple[list[int], str]:
    """A job step of two tasks; its status, and what both say."""
    srun = script.with_name('srun')
    srun.write_text(SRUN.format(python=sys.executable))
    srun.chmod(srun.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run(
        [
            *(str(srun), '--nodes', '2', '--ntasks', '2', '--', sys.executable, str(script), fault),
            *('-opt', str(file), '--launcher', 'slurm'),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment(), 'MASTER_PORT': free_port()},
        timeout=150,
    )
    return [done.returncode], done.stdout


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / 'experiments/small/second/models/net_g_latest.pth', weights_only=True)['params']


@pytest.mark.long
@pytest.mark.parametrize(('launch', 'killed'), [(by_torchrun, [1, 1]), (by_srun, [137])])
def test_a_run_on_two_machines_is_taken_up_where_one_was_lost(experiment_file: Path, launch, killed) -> None:
    folder = experiment_file.parent
    script = folder / 'with_a_fault.py'
    script.write_text(WITH_A_FAULT)
    statuses, said = launch(experiment_file, script, 'killed')
    assert statuses == killed
    assert [line for line in said.splitlines() if line.startswith('fsr: error: ' + LOST)]
    statuses, said = launch(experiment_file, script, 'none')
    assert set(statuses) == {0}, said[-3000:]
    assert 'resumed at iteration 4' in said
    assert (folder / 'experiments/small/summary.json').is_file()
    resumed = weights(folder)
    (folder / 'experiments').rename(folder / 'of_two_machines')
    assert [status for status, _ in start(experiment_file, 'none')] == [0, 0]
    unbroken = weights(folder)
    assert all(torch.equal(resumed[name], value) for name, value in unbroken.items())
    assert resumed.keys() == unbroken.keys() and unbroken


@pytest.mark.parametrize(
    ('nodes', 'host'),
    [
        ('gpu7', 'gpu7'),
        ('gpu[03-05,9],cpu1', 'gpu03'),
        ('a,b', 'a'),
        ('rack[1-2]n[08,10]', 'rack1n08'),
        ('10.0.0.5', '10.0.0.5'),
    ],
)
def test_the_first_machine_of_slurms_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host
