"""The two stages of PKDN's training (Sec. 3.1 and 3.2). Equation numbers are the paper's.

A batch holds ``gt``, HR faces, and ``parsing``, their maps as uint8 ids (the view ``parsing`` of the datasets).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from fsr_plugins.config.losses import Loss
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.errors import UserError
from fsr_plugins.losses.distillation import DistillationLoss
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net
from fsr_plugins.models.strategies import SuperResolution
from fsr_plugins.registry import MODEL_REGISTRY, lookup
from fsr_plugins.values import Block

#: The view of a dataset that gives the maps.
VIEW = 'parsing'


class WithParsing(nn.Module):
    """A teacher as a network of LR alone: it takes the maps of the batch that its model was fed last.

    Args:
        net: the teacher.
        model: whose batch it is.
    """

    def __init__(self, net: nn.Module, model: FSRModel) -> None:
        super().__init__()
        self.net = net
        self.model = model
        self.training = net.training

    def forward(self, lq: Tensor) -> Tensor:
        """(N, 3, h, w) to (N, 3, scale * h, scale * w)."""
        return self.net(lq, parsing_of(self.model))


def parsing_of(model: FSRModel) -> Tensor:
    """The maps of the model's batch, (N, H, W) uint8.

    Raises:
        UserError: the batch has none.
    """
    if VIEW not in model.batch:
        raise UserError(f"PKDN's teacher needs parsing maps: set 'views: [{VIEW}]' in the blocks under 'datasets'.")
    return model.batch[VIEW]


def check_views(datasets: Mapping[str, Block]) -> None:
    """Sees before training that every set the teacher will be shown comes with maps, as far as that can be told.

    Raises:
        UserError: one of the toolkit's own sets does not ask for them.
    """
    for phase, block in datasets.items():
        known = getattr(lookup('datasets', block['type']), 'Options', None)
        if known is not None and 'views' in known.model_fields and VIEW not in (block.get('views') or []):
            raise UserError(f"PKDN's teacher needs parsing maps: set 'views: [{VIEW}]' in 'datasets.{phase}'.")


class WithMaps(SuperResolution['PKDNTeacherModel']):
    """The teacher, with the maps of the images under validation."""

    def networks(self, model: PKDNTeacherModel) -> dict[str, nn.Module]:
        """``result``."""
        return {'result': WithParsing(model.evaluated('net_t'), model)}


class BesideTeacher(SuperResolution['PKDNStudentModel']):
    """The student, and ``teacher`` where there is one to be measured."""

    def networks(self, model: PKDNStudentModel) -> dict[str, nn.Module]:
        """``result`` and ``teacher``."""
        nets = {'result': model.evaluated('net_g')}
        if model.net_t is not None and model.train_opt.validate_teacher:
            nets['teacher'] = WithParsing(model.net_t, model)
        return nets


@MODEL_REGISTRY.register()
class PKDNTeacherModel(FSRModel):
    """Stage 1: the teacher learns to use the parsing map of HR (Eq. 1)."""

    networks = {'net_t': Net(result=True)}
    net_t: nn.Module
    evaluation = WithMaps()

    class Train(TrainOptions):
        """L1 to HR."""

        pixel_opt: Loss = Loss.required('L1 to HR, Eq. 1')

    train_opt: Train

    def prepare_training(self) -> None:
        """Sees that the sets have maps."""
        check_views(self.options.datasets)

    def step(self) -> None:
        """Eq. 1."""
        with self.phase('net_t') as losses:
            losses['l_pix'] = self.losses.pixel_opt(self.net_t(self.lq, parsing_of(self)), self.gt)


@MODEL_REGISTRY.register()
class PKDNStudentModel(FSRModel):
    """Stage 2: the student learns from HR, from the teacher's images and from its features (Eq. 2).

    Without teacher and ``kd_opt`` the same student learns from HR alone: the control.
    """

    networks = {
        'net_g': Net(result=True),
        'net_t': Net(frozen=True, optional=True),
    }
    net_g: nn.Module
    net_t: nn.Module | None
    evaluation = BesideTeacher()

    class Train(TrainOptions):
        """L_SR (Eq. 3); L_TS and L_FS (Eq. 4 and 5), whose weights and schedule are ``kd_opt``'s."""

        pixel_opt: Loss = Loss.required('L_SR, Eq. 3')
        kd_opt: Loss | None = Loss.field('L_TS and L_FS, Eq. 4 and 5: a DistillationLoss', needs='net_t')
        kd_include_bottleneck: bool = Field(False, description='L_FS compares the bottleneck too')
        validate_teacher: bool = Field(True, description='validation measures the teacher too')

    train_opt: Train

    def prepare_training(self) -> None:
        """Sees that a teacher comes with ``kd_opt``, and the sets with maps."""
        if self.net_t is not None and 'kd_opt' not in self.losses:
            raise UserError("The student is to learn from a teacher, but 'train.kd_opt' is missing in the option file.")
        datasets = self.options.datasets
        if self.net_t is not None:
            seen = datasets if self.train_opt.validate_teacher else {'train': datasets['train']} if datasets else {}
            check_views(seen)

    def step(self) -> None:
        """Eq. 2; the teacher runs once, and not at all when the schedule has ended the distillation."""
        with self.phase('net_g') as losses:
            sr, features = self.net_g(self.lq, with_features=True)
            losses['l_pix'] = self.losses.pixel_opt(sr, self.gt)
            if 'kd_opt' in self.losses and self.distillation.active(self.current_iter):
                sr_t, features_t = self.taught()
                losses |= self.distillation(
                    sr, sr_t, self.compared(features), self.compared(features_t), self.current_iter
                )

    @property
    def distillation(self) -> DistillationLoss:
        """L_TS and L_FS with their weights and schedule."""
        return self.losses.typed('kd_opt', DistillationLoss)

    @torch.no_grad()
    def taught(self) -> tuple[Tensor, list[Tensor]]:
        """The teacher's image and features of the batch."""
        assert self.net_t is not None
        return self.net_t(self.lq, parsing_of(self), with_features=True)

    def compared(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The features of Eq. 5: of the stages down and up, and in between of the bottleneck, if asked for."""
        if self.train_opt.kd_include_bottleneck:
            return list(features)
        middle = len(features) // 2
        return [*features[:middle], *features[middle + 1 :]]
