"""The method: a network learns from HR, and a smaller one from HR and from the first one's edges."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fsr_plugins.config.options import Block, TrainOptions
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net
from fsr_plugins.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class SoftEdgeModel(FSRModel):
    """Trains ``net_g``; with a teacher ``net_t`` also on the edges that the teacher draws."""

    networks = {'net_g': Net(result=True), 'net_t': Net(frozen=True, optional=True)}

    class Train(TrainOptions):
        """The losses of an option file's block ``train``; ``edge_opt`` is for the stage with a teacher."""

        pixel_opt: Block
        edge_opt: Block | None = None

    def init_losses(self) -> None:
        """The pixel loss against HR, and the edge loss against the teacher."""
        self.cri_pix = self.build_loss('pixel_opt')
        self.cri_edge = self.build_loss('edge_opt')

    def step(self) -> None:
        """SR from LR, compared with HR and, in the second stage, with the teacher's SR."""
        with self.phase('net_g') as losses:
            sr = self.net_g(self.lq)
            losses['l_pix'] = self.cri_pix(sr, self.gt)
            if self.net_t is not None and self.cri_edge is not None:
                with torch.no_grad():
                    taught = self.net_t(self.lq)
                losses['l_edge'] = self.cri_edge(sr, taught)

    def validation_nets(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """The student, and beside it the teacher where there is one."""
        nets = super().validation_nets()
        return nets if self.net_t is None else {**nets, 'teacher': self.net_t}
