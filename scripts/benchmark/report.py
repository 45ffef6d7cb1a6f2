"""What was measured, on which machine: the table and the JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from fsr_plugins.engine.machine import machine, versions

from .timing import Comparison


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
