"""A plugin for option files: our supervised training, which stamps its first iteration."""

from __future__ import annotations

from fsr_plugins.models import SupervisedModel
from fsr_plugins.registry import MODEL_REGISTRY

from .stamp import stamp


@MODEL_REGISTRY.register()
class StampedSupervisedModel(SupervisedModel):
    """Like its parent, but says when an iteration is done; trained for one only."""

    def optimize_parameters(self, current_iter: int) -> None:
        """See the parent."""
        super().optimize_parameters(current_iter)
        stamp()
