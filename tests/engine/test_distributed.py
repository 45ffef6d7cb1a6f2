"""What a process is set to before it trains."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import torch

from fsr_plugins.engine import distributed
from fsr_plugins.errors import NoRoomError, RunError, UserError


@pytest.fixture
def algorithms() -> Iterator[None]:
    """Puts torch's settings back."""
    yield
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize('deterministic', [True, False])
def test_algorithms_are_fast_or_deterministic(deterministic: bool, algorithms: None) -> None:
    distributed.choose_algorithms(deterministic)
    assert torch.are_deterministic_algorithms_enabled() is deterministic
    assert torch.backends.cudnn.benchmark is not deterministic


def faults(size: int, times: int) -> int:
    """Page faults of making and dropping a tensor of ``size`` bytes again and again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.zeros(size, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc')
def test_freed_memory_is_used_again() -> None:
    steps = ['import test_distributed as t', 't.distributed.start("none", 0)', 't.faults(64 << 20, 10)']
    code = '; '.join([*steps, 'print(t.faults(64 << 20, 5))'])
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=__file__.rpartition('/')[0], capture_output=True, text=True, check=True
    )
    # Mapped anew each time, the tensors would cost a fault for each of their 16,384 pages of 4 KiB, or some hundreds
    # altogether where the kernel takes huge pages.
    assert int(done.stdout) < 100


LAUNCHED = {'RANK': '0', 'WORLD_SIZE': '1', 'LOCAL_RANK': '0', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '29555'}
SLURM = {'SLURM_PROCID': '0', 'SLURM_NTASKS': '1', 'SLURM_LOCALID': '0', 'SLURM_NODELIST': 'here'}


@pytest.mark.parametrize(
    ('launcher', 'changed', 'said'),
    [
        ('slurm', {'SLURM_PROCID': None, 'SLURM_NTASKS': None}, 'for srun, which sets SLURM_PROCID, SLURM_NTASKS; '),
        ('slurm', {'SLURM_NTASKS': 'two'}, "SLURM_NTASKS is 'two', but must be a whole number"),
        ('slurm', {'SLURM_PROCID': '1'}, 'SLURM_PROCID is 1 and SLURM_NTASKS is 1'),
        ('pytorch', {'MASTER_ADDR': None, 'MASTER_PORT': None}, 'for torchrun, which sets MASTER_PORT, MASTER_ADDR; '),
        ('pytorch', {'RANK': ''}, 'which sets RANK; start with torchrun'),
        ('pytorch', {'LOCAL_RANK': '-1'}, "LOCAL_RANK is '-1', but must be a whole number"),
        ('pytorch', {'MASTER_PORT': 'http'}, "MASTER_PORT is 'http', but must be a whole number"),
        ('pytorch', {'RANK': '3', 'WORLD_SIZE': '2'}, 'RANK is 3 and WORLD_SIZE is 2'),
    ],
)
def test_what_a_launcher_has_not_set_is_named(
    launcher: str, changed: dict[str, str | None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**LAUNCHED, **SLURM, **changed}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said):
        distributed.start(launcher, 0)


def test_a_port_in_use_is_a_run_that_cannot_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(('0.0.0.0', 0))
        taken.listen()
        for name, value in {**LAUNCHED, 'MASTER_PORT': str(taken.getsockname()[1])}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(RunError, match=r'cannot meet at 127\.0\.0\.1:\d+: .*--master_port'):
            distributed.start('pytorch', 0)


def test_parameters_that_no_launcher_takes_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="'dist_params' cannot be used by the launcher pytorch: .*colour"):
        distributed.start('pytorch', 0, {'backend': 'nccl', 'colour': 1})


def test_processes_wait_for_one_that_reads_a_large_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    for name, value in {**LAUNCHED, 'MASTER_PORT': port}.items():
        monkeypatch.setenv(name, value)
    distributed.start('pytorch', 0)
    try:
        group = torch.distributed.distributed_c10d._get_default_group()
        assert group._get_backend(torch.device('cpu')).options._timeout == timedelta(hours=4)
    finally:
        distributed.stop()


@pytest.fixture
def group() -> Iterator[None]:
    """A group of this process alone."""
    torch.distributed.init_process_group('gloo', store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('run', [distributed.on_main, distributed.everywhere])
def test_an_error_of_more_than_a_message_comes_to_every_process(
    run: Callable[[Callable[[], object]], object], group: None
) -> None:
    def work() -> None:
        raise NoRoomError('too little room', 3, 7)

    with pytest.raises(NoRoomError, match='^too little room$') as caught:
        run(work)
    assert (caught.value.free, caught.value.needed) == (3, 7)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_waits_for_others_can_be_ended(number: signal.Signals) -> None:
    code = (
        'import os, sys\n'
        'from fsr_plugins.cli.streams import ended_by_signals\n'
        'from fsr_plugins.engine import distributed\n'
        'with ended_by_signals():\n'
        '    print("waits", flush=True)\n'
        '    distributed.start("pytorch", 0, None)\n'
    )
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    about = {'RANK': '1', 'WORLD_SIZE': '2', 'LOCAL_RANK': '0', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
    process = subprocess.Popen(
        [sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, env={**os.environ, **about}
    )
    assert process.stdout is not None and process.stdout.readline().strip() == 'waits'
    time.sleep(3)
    process.send_signal(number)
    assert process.wait(10) == -number
