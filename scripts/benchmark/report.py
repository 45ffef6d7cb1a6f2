"""What was measured, on which machine: the table and the JSON file."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from .timing import Comparison

PACKAGES = ('fsr_plugins', 'basicsr', 'torch', 'torchvision', 'numpy', 'opencv-python', 'lmdb')


def _cpu() -> str:
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.processor() or platform.machine())


def machine() -> dict[str, Any]:
    """What the figures depend on."""
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
    return {'python': platform.python_version(), **{name: version(name) for name in PACKAGES}}


def content(results: Mapping[str, Comparison | None], runs: int) -> dict[str, Any]:
    """The JSON file; what could not be measured on this machine is null."""
    return {
        'machine': machine(),
        'versions': versions(),
        'ratios': {name: round(found.ratio, 3) if found else None for name, found in results.items()},
        'figures': {name: found.figures() if found else None for name, found in results.items()},
        'runs': runs,
    }


def table(results: Mapping[str, Comparison | None]) -> Table:
    """The ratios beside both sides' medians."""
    made = Table(title='ours against BasicSR; ratio: larger is better')
    for column in ('measured', 'ours', 'BasicSR', 'unit', 'ratio'):
        made.add_column(column, justify='left' if column in ('measured', 'unit') else 'right')
    made.add_column('how', overflow='fold')
    for name, found in results.items():
        if found is None:
            made.add_row(name, '–', '–', '', '–', 'not possible on this machine')
            continue
        made.add_row(name, f'{found.ours:.4g}', f'{found.basicsr:.4g}', found.unit, f'{found.ratio:.2f}', found.how)
    return made
