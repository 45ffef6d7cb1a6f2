"""What figures of speed depend on: the machine, and the versions of what does the work."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import cv2
import psutil
import torch

from fsr_plugins.threads import available_cores
from fsr_plugins.values import Record

PACKAGES = ('fsr_plugins', 'basicsr', 'torch', 'torchvision', 'numpy', 'lmdb')


def machine() -> Record:
    """Processor, cores in use, memory, GPU and system of this process's machine."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return {
        'cpu': next(names, platform.processor() or platform.machine()),
        'cores': available_cores(),
        'memory': f'{psutil.virtual_memory().total / 2**30:.0f} GiB',
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'os': platform.platform(),
        'torch_threads': torch.get_num_threads(),
    }


def versions() -> dict[str, str]:
    """Of Python and the packages that do the work."""
    # OpenCV is installed under several names (headless, contrib); the module knows which version it is.
    own = {'python': platform.python_version(), 'opencv': cv2.__version__}
    return own | {name: version(name) for name in PACKAGES}
