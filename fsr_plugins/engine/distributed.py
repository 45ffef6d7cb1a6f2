"""Process groups: one process without a launcher, or those torchrun or slurm started, on GPUs (NCCL) or CPUs (gloo)."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from fsr_plugins.engine import slurm
from fsr_plugins.engine.memory import keep_freed_memory
from fsr_plugins.errors import RunError, UserError, shown
from fsr_plugins.values import Record

logger = logging.getLogger(__name__)
Result = TypeVar('Result')

LAUNCHERS = ('none', 'pytorch', 'slurm')
#: What a launcher sets for each process: numbers, and other words.
_NUMBERS = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
}
_WORDS = {'pytorch': ('MASTER_ADDR',), 'slurm': ('SLURM_NODELIST',)}
_STARTS = {'pytorch': 'torchrun', 'slurm': 'srun'}
#: How long processes wait for one that reads all images of a large set; a process that dies is noticed at once. NCCL by
#: itself waits for ten minutes.
_LONGEST_WAIT = timedelta(hours=4)
#: Seconds after which nothing is left of the last exchange between processes.
_LAST_EXCHANGE = 0.1
#: By what a RuntimeError is known for one of gloo, NCCL or the store through which processes meet.
_OF_BACKENDS = re.compile(
    r'gloo|NCCL|ProcessGroup|TCPStore|Connection (closed|reset|refused)|Broken pipe', re.IGNORECASE
)


@dataclass(frozen=True)
class World:
    """This process among all."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    @property
    def is_distributed(self) -> bool:
        """Whether a process group exists."""
        return dist.is_initialized()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """While processes wait for each other, Python's own handlers are not run: signals end the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    changed = {number: handler for number, handler in before.items() if callable(handler)}
    for number in changed:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)


def start(launcher: str, num_gpu: int | str = 'auto', dist_params: Record | None = None) -> World:
    """Readies this process and joins the group the launcher prepared; the backend follows the device.

    Args:
        num_gpu: as in the option file; 0 keeps everything on the CPU.
    Raises:
        UserError: ``launcher`` without the variables it should have set, or more GPUs asked for than there are.
        RunError: the processes cannot meet.
    """
    keep_freed_memory()
    # Looked at once, by the first matrix product on a GPU; without it a stage that is `deterministic` fails there.
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    gpus = torch.cuda.device_count()
    if isinstance(num_gpu, int) and num_gpu > gpus:
        raise UserError(f"num_gpu is {num_gpu}, but this machine has {gpus} GPUs; 'auto' takes what is there.")
    if launcher == 'none':
        if isinstance(num_gpu, int) and num_gpu > 1:
            raise UserError(
                f'num_gpu is {num_gpu}: start one process a GPU, `torchrun --nproc_per_node={num_gpu} '
                'fsr_plugins/train.py -opt FILE --launcher pytorch`, or set num_gpu to 1.'
            )
        return World()
    if dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    backend = 'nccl' if gpus and num_gpu != 0 else 'gloo'
    parameters = {key: value for key, value in (dist_params or {}).items() if key != 'backend'}
    local_rank = _check_launched(launcher)
    if backend == 'nccl' and local_rank >= gpus:
        raise UserError(f'{_STARTS[launcher]} started process {local_rank} on a machine with {gpus} GPUs.')
    try:
        with _ended_by_signals():
            if launcher == 'slurm':
                slurm.set_environment(parameters.pop('port', None))
            if backend == 'nccl':
                torch.cuda.set_device(local_rank)
            dist.init_process_group(backend, **{'timeout': _LONGEST_WAIT, **parameters})
    except (RuntimeError, ValueError) as error:
        place = f'{os.environ.get("MASTER_ADDR")}:{os.environ.get("MASTER_PORT")}'
        reason = str(error).partition('\n')[0].rstrip('.')
        raise RunError(
            f'The processes cannot meet at {place}: {reason}. If another run has that port, take another by '
            '`torchrun --master_port`, or by MASTER_PORT.'
        ) from error
    except TypeError as error:
        raise UserError(f"'dist_params' cannot be used by the launcher {launcher}: {error}.") from error
    return World(dist.get_rank(), dist.get_world_size())


def _check_launched(launcher: str) -> int:
    """Looks at what the launcher should have set; the number of this process on its machine.

    Raises:
        UserError: something is missing, or is no such number.
    """
    starts = _STARTS[launcher]
    if missing := [name for name in (*_NUMBERS[launcher], *_WORDS[launcher]) if not os.environ.get(name)]:
        raise UserError(f'--launcher {launcher} is for {starts}, which sets {", ".join(missing)}; start with {starts}.')
    for name in _NUMBERS[launcher]:
        if not re.fullmatch(r'\d{1,9}', os.environ[name], re.ASCII):
            raise UserError(f'{name} is {shown(os.environ[name])}, but must be a whole number; start with {starts}.')
    rank, size, local, *_ = (int(os.environ[name]) for name in _NUMBERS[launcher])
    if rank >= size:
        names = _NUMBERS[launcher]
        raise UserError(f'{names[0]} is {rank} and {names[1]} is {size}: start with {starts}, which counts from 0.')
    return local


def on_main(work: Callable[[], Result]) -> Result:
    """Runs ``work`` on rank 0 alone and gives its result, or its UserError or RunError, to every rank."""
    if not dist.is_initialized():
        return work()
    outcome: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            outcome[0] = work()
        except (UserError, RunError) as error:
            outcome[1] = type(error), str(error), vars(error)
    dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise _again(*outcome[1])
    return outcome[0]


def _again(kind: type[Exception], message: str, more: Record) -> Exception:
    """The error of another process; some are made of more than a message."""
    error = kind.__new__(kind, message)
    vars(error).update(more)
    return error


def everywhere(work: Callable[[], object]) -> None:
    """Runs ``work``, which must not ask other ranks for anything, on every rank; what it raises on one, all raise.

    Raises:
        UserError, RunError: of the first rank that has one.
    """
    if not dist.is_initialized():
        work()
        return
    told = None
    try:
        work()
    except (UserError, RunError) as error:
        told = type(error), str(error), vars(error)
    for found in gather(told):
        if found is not None:
            raise _again(*found)


@contextmanager
def naming_lost_processes() -> Iterator[None]:
    """Says in a sentence that another process has gone, of which the backends tell at length and differently.

    Raises:
        RunError: a process was lost.
    """
    try:
        yield
    except RuntimeError as error:
        if not dist.is_initialized() or not (isinstance(error, dist.DistError) or _OF_BACKENDS.search(str(error))):
            raise
        raise RunError(
            f'Process {dist.get_rank()} has lost another of the {dist.get_world_size()} of this run, which has ended '
            'or cannot be reached; it has said why if it could. What was saved is kept: give the same command again '
            'to go on.'
        ) from error


def gather(value: Result) -> list[Result]:
    """``value`` of every rank, in order, on every rank."""
    if not dist.is_initialized():
        return [value]
    values = [value] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def any_rank(flag: bool) -> bool:
    """Whether ``flag`` is set on at least one rank."""
    return any(gather(flag))


def barrier() -> None:
    """Waits for every rank."""
    if dist.is_initialized():
        dist.barrier()


def stop() -> None:
    """Leaves the process group, if there is one."""
    if dist.is_initialized():
        # gloo's thread needs Python's lock to drop the tensors of the last exchange. A network in DDP that outlives the
        # group, in the traceback of an error for instance, waits for that thread while holding the lock: forever, were
        # there anything left to drop.
        time.sleep(_LAST_EXCHANGE)
        dist.destroy_process_group()


def choose_algorithms(deterministic: bool) -> None:
    """Lets cuDNN try out which convolution is fastest for each size, or keeps to what gives the same bits every time.

    Args:
        deterministic: the option of a stage; an operation that cannot be repeated exactly then raises RuntimeError.
    """
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic != torch.are_deterministic_algorithms_enabled():  # the call imports torch's compiler: a second
        torch.use_deterministic_algorithms(deterministic)
