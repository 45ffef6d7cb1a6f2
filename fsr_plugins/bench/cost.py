"""What a network costs: parameters, multiply-adds, images a second and memory on the present device."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from mmengine.analysis import get_model_complexity_info
from torch import Tensor, nn

from fsr_plugins.bench.memory import PeakMemory
from fsr_plugins.bench.options import Cost
from fsr_plugins.bench.results import Complexity, Json, Speed, Training
from fsr_plugins.models.evaluation import Network

logger = logging.getLogger(__name__)

#: What passes are repeated for at the least: a small enlargement takes a fraction of a millisecond.
_LEAST_SECONDS = 0.2


def complexity(net: nn.Module, size: tuple[int, int]) -> Complexity:
    """Parameters, and multiply-adds of one LR image by mmengine's analysis, which counts a multiply-add once.

    What a network holds that is solved and not trained counts as its parameters.

    Args:
        net: on the CPU, in evaluation mode.
        size: height and width of the LR image.
    """
    parameters = sum(values.numel() for values in list(net.parameters()) or net.buffers())
    try:
        with _quiet():
            lq = torch.zeros(1, 3, *size)
            found = get_model_complexity_info(net, inputs=lq, show_table=False, show_arch=False)
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, StopIteration) as error:  # others' code
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        logger.warning('The multiply-adds of %s cannot be counted: %s', type(net).__name__, reason)
        return {'parameters': parameters, 'macs': None, 'why_not': reason}
    return {'parameters': parameters, 'macs': int(found['flops']), 'why_not': None}


@contextmanager
def _quiet() -> Iterator[None]:
    """mmengine tells of every operation without multiply-adds."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@torch.inference_mode()
def speed(net: Network, size: tuple[int, int], options: Cost, device: torch.device) -> dict[str, Speed]:
    """Images a second and the most memory that tensors took, by batch size.

    A pass warms up, and the median of the others counts. Memory is looked at in a pass of its own: on a GPU after the
    first, which tries algorithms; on a CPU it is the first.

    ``peak_bytes`` holds weights, input and all that lives at once of what lies between: on a GPU by the allocator's
    account, on a CPU the outputs of operations, without what an operation needs inside.
    """
    return {str(batch): _of_batch(net, size, batch, options, device) for batch in options.batches}


def _of_batch(net: Network, size: tuple[int, int], batch: int, options: Cost, device: torch.device) -> Speed:
    lq = torch.rand((batch, 3, *size), generator=torch.Generator().manual_seed(0)).to(device)
    weights = sum(_bytes(tensor) for tensor in net.state_dict().values()) if isinstance(net, nn.Module) else 0
    if device.type == 'cuda':
        net(lq)
    with PeakMemory(device) as memory:
        net(lq)
    times: list[float] = []
    begun, elapsed = time.perf_counter(), 0.0
    while (len(times) < options.repeats or elapsed < _LEAST_SECONDS) and elapsed < options.seconds:
        synchronise(device)
        started = time.perf_counter()
        net(lq)
        synchronise(device)
        times.append(time.perf_counter() - started)
        elapsed = time.perf_counter() - begun
    return {
        'images_per_second': batch / statistics.median(times),
        'peak_bytes': memory.peak + weights + _bytes(lq),
        'repeats': len(times),
    }


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def synchronise(device: torch.device) -> None:
    """Waits for a GPU."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def training(records: Mapping[str, Json], trained: Sequence[str]) -> Training:
    """What training took, by the records of its stages.

    Args:
        records: ``done.json`` of every stage that the entry needs.
        trained: the stages that train the network itself.
    """
    machines = [record.get('machine') for record in records.values()]
    return {
        'seconds': round(sum(records[name]['seconds'] for name in trained), 1),
        'seconds_all': round(sum(record['seconds'] for record in records.values()), 1),
        'machines': [machine for place, machine in enumerate(machines) if machine and machine not in machines[:place]],
        'stages': {
            name: {'iterations': record['iterations'], 'seconds': record['seconds'], 'trains_network': name in trained}
            for name, record in records.items()
        },
    }
