"""What figures of speed depend on: the machine, and the versions of what does the work."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import cv2
import torch

from fsr_plugins.values import Record

PACKAGES = ('fsr_plugins', 'basicsr', 'torch', 'torchvision', 'numpy', 'lmdb')


def _cpu() -> str:
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.processor() or platform.machine())


def machine() -> Record:
    """Processor, cores in use, memory, GPU and system of this process's machine."""
    return {
        'cpu': _cpu(),
        'cores': len(os.sched_getaffinity(0)),
        'memory': f'{os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30:.0f} GiB',
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'os': platform.platform(),
        'torch_threads': torch.get_num_threads(),
    }


def versions() -> dict[str, str]:
    """Of Python and the packages that do the work."""
    # OpenCV is installed under several names (headless, contrib); the module knows which version it is.
    own = {'python': platform.python_version(), 'opencv': cv2.__version__}
    return own | {name: version(name) for name in PACKAGES}
