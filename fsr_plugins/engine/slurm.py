"""What srun says of a process, under the names by which torch looks for it."""

from __future__ import annotations

import os
import re

#: Where the processes meet, if neither ``dist_params.port`` nor MASTER_PORT says.
_PORT = 29500
#: A comma outside brackets.
_COMMA = re.compile(r',(?![^\[]*\])')
#: A range of numbers, of which the first counts.
_RANGE = re.compile(r'\[(\w+)[^\]]*\]')


def first_host(nodes: str) -> str:
    """The first machine of a list as Slurm writes it: ``gpu[03-05,9],cpu1`` gives ``gpu03``."""
    return _RANGE.sub(r'\1', _COMMA.split(nodes)[0])


def set_environment(port: object = None) -> None:
    """Sets RANK, WORLD_SIZE and LOCAL_RANK by what srun has set, and MASTER_ADDR and MASTER_PORT unless they are set.

    Args:
        port: Of MASTER_PORT; None: what is set, or 29500.
    """
    given = os.environ
    given.update(RANK=given['SLURM_PROCID'], WORLD_SIZE=given['SLURM_NTASKS'], LOCAL_RANK=given['SLURM_LOCALID'])
    given.setdefault('MASTER_ADDR', first_host(given['SLURM_NODELIST']))
    if port is not None:
        given['MASTER_PORT'] = str(port)
    given.setdefault('MASTER_PORT', str(_PORT))
