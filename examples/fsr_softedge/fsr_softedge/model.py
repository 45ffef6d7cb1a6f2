"""The method: a network learns from HR, and a smaller one from HR and from the first one's edges."""

from __future__ import annotations

import torch
from torch import nn

from fsr_plugins.models import FSRModel, Loss, Net, SuperResolution, TrainOptions
from fsr_plugins.registry import MODEL_REGISTRY


class BesideTeacher(SuperResolution['SoftEdgeModel']):
    """What validation compares: the student, and beside it the teacher where there is one."""

    def networks(self, model: SoftEdgeModel) -> dict[str, nn.Module]:
        """``result`` and ``teacher``."""
        nets = super().networks(model)
        return nets if model.net_t is None else {**nets, 'teacher': model.net_t}


@MODEL_REGISTRY.register()
class SoftEdgeModel(FSRModel):
    """Trains ``net_g``; with a teacher ``net_t`` also on the edges that the teacher draws."""

    networks = {'net_g': Net(result=True), 'net_t': Net(frozen=True, optional=True)}
    net_g: nn.Module
    net_t: nn.Module | None
    evaluation = BesideTeacher()

    class Train(TrainOptions):
        """The losses of an option file's block ``train``; ``edge_opt`` is for the stage with a teacher."""

        pixel_opt: Loss = Loss.required('distance to HR')
        edge_opt: Loss | None = Loss.field("distance to the teacher's edges", needs='net_t')

    train_opt: Train

    def step(self) -> None:
        """SR from LR, compared with HR and, in the second stage, with the teacher's SR."""
        with self.phase('net_g') as losses:
            sr = self.net_g(self.lq)
            losses['l_pix'] = self.losses.pixel_opt(sr, self.gt)
            if self.net_t is not None and 'edge_opt' in self.losses:
                with torch.no_grad():
                    taught = self.net_t(self.lq)
                losses['l_edge'] = self.losses.edge_opt(sr, taught)
