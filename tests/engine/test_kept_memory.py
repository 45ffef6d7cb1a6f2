"""What is freed is kept or given back, by counting the pages that the kernel has to bring."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc is told')

#: 20 blocks of 64 MiB, one after another, each written to and freed; prints the page faults.
_BLOCKS = """
import resource
import torch
from fsr_plugins.engine import memory
for name in {calls}:
    getattr(memory, name)()
torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(*calls: str) -> int:
    done = subprocess.run(
        [sys.executable, '-c', _BLOCKS.format(calls=calls)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.long
def test_freed_blocks_are_used_again_and_given_back_when_that_is_wanted() -> None:
    """Fresh pages of 20 blocks are 327,680 of 4 KiB, fewer where pages are larger."""
    kept, given_back = _page_faults('keep_freed_memory'), _page_faults('keep_freed_memory', 'give_back_freed_memory')

    assert kept * 2 < given_back
