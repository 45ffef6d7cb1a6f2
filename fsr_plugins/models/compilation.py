"""``torch.compile`` for a method's networks: in which mode, and where a step begins that CUDA graphs replay."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch
from torch import nn

from fsr_plugins.config.options import CompileMode

logger = logging.getLogger(__name__)

MODES: tuple[str, ...] = get_args(CompileMode)
#: Those that record what a network does as CUDA graphs, whose memory the next step takes again.
_RECORDING = ('reduce-overhead', 'max-autotune')


class Compilation:
    """The option ``compile`` of a stage.

    Args:
        choice: false, true for torch's default mode, or one of :data:`MODES`; ``auto``, where nothing was measured, is
            false.
    """

    def __init__(self, choice: bool | CompileMode | Literal['auto']) -> None:
        self.mode: str | None = 'default' if choice is True else None if choice == 'auto' else choice or None

    def apply(self, label: str, net: nn.Module, double_backward: bool) -> None:
        """Has a network compiled when it is first called.

        Args:
            double_backward: whether its gradient is differentiated. A compiled network's cannot be: it stays as it is.
        """
        if self.mode is None:
            return
        if double_backward:
            logger.info('%s is not compiled: its gradient is differentiated, which torch.compile does not do.', label)
            return
        net.compile(mode=self.mode)

    def begin_step(self) -> None:
        """Says that nothing of the step before is needed any more: recorded steps use the same memory again."""
        if self.mode in _RECORDING:
            torch.compiler.cudagraph_mark_step_begin()

    def eager(self) -> AbstractContextManager[object]:
        """Inside, networks run as they are: a last batch of another size is no reason to compile anew."""
        return nullcontext() if self.mode is None else torch.compiler.set_stance('force_eager')
