"""Face super-resolution on top of BasicSR: published methods as plugins.

Importing this package imports nothing heavy; torch comes with what is used of it. BasicSR, which anybody may import
afterwards, is mended when it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

from fsr_plugins.mending import mend_on_import
from fsr_plugins.version import __version__

__all__ = ['__version__', 'load']

mend_on_import()


def load(path: str | Path) -> nn.Module:
    """A ready network from a checkpoint alone: in eval mode, on the CPU, with the averaged weights if it holds any.

    The network maps NCHW RGB float32 in [0, 1] to the same, ``scale`` times as large.

    Args:
        path: a ``net_*.pth`` that a stage wrote, whose ``meta`` names the arch and its arguments; or the name of a
            bundled network (``fsr list weights``). Or a file of another program's network, where ``spandrel`` is
            installed and knows it by its tensors.

    Raises:
        fsr_plugins.errors.UserError: the file is missing, damaged, holds code, or is of no network that is known.
    """
    from fsr_plugins.checkpoints import load as load_checkpoint

    return load_checkpoint(path)
