"""What a process is set to before it trains."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from fsr_plugins.engine import distributed


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
