"""``python -m basicsr.train``, mended, with a model that stamps its first iteration.

Usage: python -m benchmark.basicsr_train ROOT -opt FILE
"""

from __future__ import annotations

import sys

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR

from basicsr.models.sr_model import SRModel  # isort: skip
from basicsr.train import train_pipeline  # isort: skip
from basicsr.utils.registry import MODEL_REGISTRY  # isort: skip

from .stamp import stamp


@MODEL_REGISTRY.register()
class StampedSRModel(SRModel):
    """Like its parent, but says when an iteration is done; trained for one only."""

    def optimize_parameters(self, current_iter: int) -> None:
        """See the parent."""
        super().optimize_parameters(current_iter)
        stamp()


if __name__ == '__main__':
    train_pipeline(sys.argv.pop(1))
