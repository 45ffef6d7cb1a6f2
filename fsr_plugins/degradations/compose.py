"""Several degradations, one after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from fsr_plugins.degradations.base import Degradation
from fsr_plugins.degradations.random import mix
from fsr_plugins.errors import UserError
from fsr_plugins.registry import DEGRADATION_REGISTRY, build
from fsr_plugins.values import ReadBlock


@DEGRADATION_REGISTRY.register()
class Compose(Degradation):
    """A sequence of degradations; its ``scale`` is the product of theirs.

    Args:
        stages: blocks with a key ``type``, as in an option file, or degradations already built.

    Raises:
        UserError: no stage, or a block that cannot be built.
    """

    def __init__(self, stages: Sequence[ReadBlock | Degradation]) -> None:
        super().__init__()
        if not stages:
            raise UserError("Compose: 'stages' is empty; give at least one degradation block.")
        built: list[Degradation] = [
            build('degradations', stage) if isinstance(stage, Mapping) else stage for stage in stages
        ]
        self.stages = nn.ModuleList(built)
        self.scale = math.prod(stage.scale for stage in built)

    def degrade(self, gt: Tensor, seeds: Tensor) -> Tensor:
        for position, stage in enumerate(self.stages):
            # With the same seed two stages would draw the same numbers.
            gt = stage(gt, mix(seeds, position))
        return gt
