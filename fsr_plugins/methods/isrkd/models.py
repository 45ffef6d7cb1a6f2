"""The two stages of ISR-KD's training (Sec. III-A, III-B, III-F). Equation numbers are the paper's.

A batch holds ``gt``, HR faces of the domain that is learned; in the incremental stage also ``source_gt``, HR faces of
the domain that is to be kept. Images are in [0, 1]; ``loss_range`` says on which scale the losses compare them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fsr_plugins.config.losses import Loss
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.data.edge_options import Thresholds
from fsr_plugins.edges import canny
from fsr_plugins.errors import UserError
from fsr_plugins.losses.distillation import DistillationLoss
from fsr_plugins.methods.isrkd.archs import EDGE_SCALES, GeneratorOutput
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.evaluation import Results
from fsr_plugins.models.networks import Net
from fsr_plugins.models.strategies import SuperResolution, Table
from fsr_plugins.registry import MODEL_REGISTRY
from fsr_plugins.threads import one_thread
from fsr_plugins.values import Batch

#: What validation calls the likeness of the incremental network's images to the teacher's.
SIMILARITY = 'incremental_vs_pretrained'


@MODEL_REGISTRY.register()
class ISRKDPretrainModel(FSRModel):
    """Stage 1: the generator G_S learns the source domain from scratch, by Eq. 4 without distillation."""

    networks = {'net_g': Net(result=True), 'net_d': Net(optional=True, train_only=True)}
    net_g: nn.Module
    net_d: nn.Module

    class Train(TrainOptions):
        """The losses of Eq. 4 but L_kd: one left out is off."""

        pixel_opt: Loss | None = Loss.field('L_rl, Eq. 8')
        edge_opt: Loss | None = Loss.field('L_edge, Eq. 3: a SequenceLoss over edge_scales')
        lce_opt: Loss | None = Loss.field('L_lce, Eq. 6')
        id_opt: Loss | None = Loss.field('L_id, Eq. 7')
        gan_opt: Loss | None = Loss.field('L_ad, Eq. 5', needs='net_d')
        loss_range: Literal[255, 1] = Field(
            255, description='scale of images and edges in pixel, edge, LCE and KD loss'
        )
        edge_scales: list[Literal[1, 2, 4]] = Field([1, 2, 4], min_length=1, description='HR over the edge maps')
        edge_source: Literal['dataset', 'device'] = Field('dataset', description='view canny, or found in each batch')
        edge_thresholds: Thresholds = Field('mean_std', description="Canny's for edge_source: device; as the view's")
        suggested_loss = 'pixel_opt'

    train_opt: Train

    def step(self) -> None:
        """The generator by Eq. 4, then the discriminator by Eq. 5 on the same images."""
        with self.phase('net_g') as losses:
            sr = self.generate(losses)
        if 'gan_opt' in self.losses:
            with self.phase('net_d') as losses:
                losses['l_d'] = self.losses.gan_opt(self.net_d(self.gt), True, is_disc=True)
                losses['l_d'] += self.losses.gan_opt(self.net_d(sr.detach()), False, is_disc=True)

    def generate(self, losses: dict[str, Tensor]) -> Tensor:
        """Adds the generator's losses, returns its images of the domain that is learned."""
        assert self.gt is not None
        output = self.net_g(self.lq, details=True)
        self.supervise(output, self.gt, losses)
        if 'gan_opt' in self.losses:
            losses['l_gan'] = self.losses.gan_opt(self.net_d(output.sr), True, is_disc=False)
        return output.sr

    def supervise(self, output: GeneratorOutput, hr: Tensor, losses: dict[str, Tensor], after: str = '') -> None:
        """Adds L_rl, L_lce, L_id and L_edge of a batch.

        Args:
            hr: (N, 3, H, W), what the output is compared with.
            after: behind the losses' names.
        """
        scale = self.train_opt.loss_range
        sr = output.sr.float()
        images = scale * sr, scale * hr
        if 'pixel_opt' in self.losses:
            losses[f'l_pix{after}'] = self.losses.pixel_opt(*images)
        if 'lce_opt' in self.losses:
            losses[f'l_lce{after}'] = self.losses.lce_opt(*images)
        if 'id_opt' in self.losses:
            losses[f'l_id{after}'] = self.losses.id_opt(sr, hr)
        if 'edge_opt' in self.losses:
            edges = dict(zip(EDGE_SCALES, output.edges, strict=True))
            ours = [scale * edges[factor].float() for factor in self.train_opt.edge_scales]
            losses[f'l_edge{after}'] = self.losses.edge_opt(ours, [scale * edge for edge in self.edge_targets(hr)])

    def edge_targets(self, hr: Tensor) -> list[Tensor]:
        """E_HR: Canny's edges of the HR images at every one of ``edge_scales``, (N, 1, H / s, W / s), 0 or 1.

        Args:
            hr: (N, 3, H, W) in [0, 1]; with ``edge_source: dataset`` those of the batch's ``gt``.

        Raises:
            UserError: the batch has none.
        """
        if self.train_opt.edge_source == 'device':
            # Reduced by area means, as for the view canny.
            images = [F.avg_pool2d(hr, factor) for factor in self.train_opt.edge_scales]
            thresholds = self.train_opt.edge_thresholds
            if isinstance(thresholds, str):
                return [canny(image, adaptive=thresholds) for image in images]
            low, high = thresholds
            return [canny(image, low, high) for image in images]
        missing = [key for s in self.train_opt.edge_scales if (key := f'canny_{s}') not in self.batch]
        if missing:
            raise UserError(
                f"The batch has no '{missing[0]}', which 'train.edge_opt' needs: give the dataset 'views: [canny]' "
                f"with 'canny: {{scales: {self.train_opt.edge_scales}}}', or set 'train.edge_source: device'."
            )
        return [self.batch[f'canny_{factor}'][:, None] / 255 for factor in self.train_opt.edge_scales]


class AgainstTeacher(SuperResolution['ISRKDIncrementalModel']):
    """The incremental network, and ``pretrained``, the teacher it began as, where the stage has one."""

    def networks(self, model: ISRKDIncrementalModel) -> dict[str, nn.Module]:
        """``result`` and ``pretrained``."""
        nets = {'result': model.evaluated('net_g')}
        return nets if model.net_t is None else {**nets, 'pretrained': model.net_t}

    def comparisons(self, model: ISRKDIncrementalModel) -> dict[str, tuple[str, str]]:
        """The incremental network's images against the teacher's, as in Table II."""
        return {} if model.net_t is None else {SIMILARITY: ('result', 'pretrained')}

    def tables(self, validation: Mapping[str, Results]) -> dict[str, Table]:
        """Table I, a row for each set and metric, and Table II, a row for each set, where there is a teacher.

        ``change_percent`` is ``100 (incremental - pretrained) / pretrained``, signed as the figure moves: of FID, where
        less is better, a fall is a gain. It is None where the pretrained network's figure is 0.
        """
        change, similarity = [], []
        for dataset, results in validation.items():
            old, new = results.get('pretrained', {}), results['result']
            for metric, before in old.items():
                percent = 100 * (new[metric] - before) / before if before else None
                row = {'set': dataset, 'metric': metric, 'pretrained': before, 'incremental': new[metric]}
                change.append({**row, 'change_percent': percent})
            if SIMILARITY in results:
                similarity.append({'set': dataset, **results[SIMILARITY]})
        return {name: rows for name, rows in (('table_1', change), ('table_2', similarity)) if rows}


@MODEL_REGISTRY.register()
class ISRKDIncrementalModel(ISRKDPretrainModel):
    """Stage 2: G_T, begun as G_S, learns the target domain and is held by G_S to the source domain (Eq. 1, 2, 4)."""

    networks = {**ISRKDPretrainModel.networks, 'net_t': Net(frozen=True, optional=True)}
    net_t: nn.Module
    evaluation = AgainstTeacher()

    class Train(ISRKDPretrainModel.Train):
        """Those of stage 1, and L_kd (Eq. 2)."""

        kd_opt: Loss | None = Loss.field('L_kd, Eq. 2: a DistillationLoss; left out: no source images', needs='net_t')
        scale_features: bool = Field(
            False, description='L_kd compares features on the scale loss_range, as those of a network on [0, 255] are'
        )
        supervise_source: bool = Field(False, description='source images are compared with their HR as well')

    train_opt: Train
    source_gt: Tensor | None
    source_lq: Tensor | None

    def prepare_training(self) -> None:
        """Sees that what distillation needs is there."""
        if 'kd_opt' in self.losses:
            self.losses.typed('kd_opt', DistillationLoss)
        if self.train_opt.supervise_source and 'edge_opt' in self.losses and self.train_opt.edge_source == 'dataset':
            raise UserError(
                "Source images come without Canny maps: for 'train.supervise_source' set 'train.edge_source: device', "
                "or leave out 'train.edge_opt'."
            )
        if self.uses_source and self.degradation is None:
            raise UserError("The LR of source images is made while training: give a block 'degradation'.")

    @property
    def uses_source(self) -> bool:
        """Whether a step looks at source images."""
        return 'kd_opt' in self.losses or self.train_opt.supervise_source

    def feed_data(self, data: Batch) -> None:
        """As :meth:`FSRModel.feed_data`; LR of the source images is made here, outside of any lower precision."""
        super().feed_data(data)
        self.source_gt, self.source_lq = self.batch.get('source_gt'), None
        if self.source_gt is not None and self.degradation is not None:
            seeds = self.batch.get('seed')
            with torch.no_grad(), one_thread(self.device):
                # What is random in a degradation is drawn anew, not as for the target image of the same place.
                self.source_lq = self.degradation(self.source_gt, None if seeds is None else seeds + 1)

    def generate(self, losses: dict[str, Tensor]) -> Tensor:
        """Adds the losses of the target images and, where there are some, those of the source images."""
        sr = super().generate(losses)
        if self.uses_source:
            self.remember(losses)
        return sr

    def remember(self, losses: dict[str, Tensor]) -> None:
        """Adds L_kd on the source batch (Eq. 2) and, with ``supervise_source``, its supervised losses.

        Raises:
            UserError: the batch has no source images.
        """
        if self.source_gt is None:
            raise UserError(
                "The batch has no source images, which 'train.kd_opt' and 'train.supervise_source' need: take "
                "SourceTargetDataset with 'max_source_images' above 0, or leave both out."
            )
        distils = 'kd_opt' in self.losses and self.distillation.active(self.current_iter)
        if not (distils or self.train_opt.supervise_source):
            return
        student = self.net_g(self.source_lq, details=True)
        if distils:
            with torch.no_grad():
                teacher = self.net_t(self.source_lq, details=True)
            scale = self.train_opt.loss_range
            images = scale * student.sr.float(), scale * teacher.sr.float()
            features = [[of.bottleneck] for of in (student, teacher)]
            if self.train_opt.scale_features:
                features = [[scale * each.float() for each in of] for of in features]
            losses |= self.distillation(*images, *features, self.current_iter)
        if self.train_opt.supervise_source:
            self.supervise(student, self.source_gt, losses, '_source')

    @property
    def distillation(self) -> DistillationLoss:
        """L_kd with its weights and schedule."""
        return self.losses.typed('kd_opt', DistillationLoss)
