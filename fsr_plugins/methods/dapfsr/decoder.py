"""The decoder's training: StyleGAN2's (Karras et al., CVPR 2020), on HR faces of the source alone."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from fsr_plugins.archs.stylegan2 import StyleGAN2Critic, StyleGAN2Decoder
from fsr_plugins.config.losses import Loss
from fsr_plugins.config.options import TrainOptions
from fsr_plugins.losses.stylegan import PathLengthPenalty, R1Penalty
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net, bare, evaluating
from fsr_plugins.models.strategies import GeneratedFaces
from fsr_plugins.registry import MODEL_REGISTRY
from fsr_plugins.values import State

#: Faces in the picture of the training's progress, and the seed of the z they are made of.
_SHOWN, _SEED = 16, 0


@MODEL_REGISTRY.register()
class DAPDecoderModel(FSRModel):
    """G against a critic: logistic loss, lazy R1 and path length penalties, two z mixed, G's moving average the result.

    Batches hold ``gt``. Validation takes as many faces of G as the set has and knows metrics without pairs alone (FID).
    """

    networks = {'net_g': Net(result=True, double_backward=True), 'net_d': Net(train_only=True, double_backward=True)}
    net_g: StyleGAN2Decoder
    net_d: StyleGAN2Critic
    evaluation = GeneratedFaces()

    class Train(TrainOptions):
        """The losses; a penalty left out is off."""

        gan_opt: Loss = Loss.required('of G and critic: a LogisticGANLoss')
        r1_opt: Loss | None = Loss.field("on the critic's gradient at real faces: an R1Penalty")
        path_length_opt: Loss | None = Loss.field("on G's gradient by w: a PathLengthPenalty")
        path_batch_shrink: int = Field(2, ge=1, description='faces of the path length penalty: the batch over this')
        mixing_prob: float = Field(0.9, ge=0, le=1, description='how often a face is made of two z')

    train_opt: Train

    def prepare_training(self) -> None:
        """Begins the running mean of the path lengths."""
        self.mean_path_length = torch.zeros((), device=self.device)

    def trial_iteration(self) -> int:
        """See :meth:`FSRModel.trial_iteration`; the first in which both penalties are due."""
        intervals = [self.losses.typed('r1_opt', R1Penalty).interval] if 'r1_opt' in self.losses else []
        intervals += [self.path_length.interval] if 'path_length_opt' in self.losses else []
        return math.lcm(super().trial_iteration(), *intervals)

    def step(self) -> None:
        """The critic on real and made faces, then G."""
        assert self.gt is not None
        with self.phase('net_d') as losses:
            with torch.no_grad():
                made = self.net_g(self.draw_styles(len(self.gt)), raw=True)
            losses['l_d'] = self.losses.gan_opt(self.net_d(self.gt), True, is_disc=True)
            losses['l_d'] += self.losses.gan_opt(self.net_d(made, raw=True), False, is_disc=True)
            if 'r1_opt' in self.losses and self.losses.typed('r1_opt', R1Penalty).due(self.current_iter):
                losses['l_d_r1'] = self.r1_penalty(self.gt * 2 - 1)
        with self.phase('net_g') as losses:
            made = self.net_g(self.draw_styles(len(self.gt)), raw=True)
            losses['l_g'] = self.losses.gan_opt(self.net_d(made, raw=True), True)
            if 'path_length_opt' in self.losses and self.path_length.due(self.current_iter):
                losses['l_g_path'] = self.path_length_penalty(max(1, len(self.gt) // self.train_opt.path_batch_shrink))

    @property
    def path_length(self) -> PathLengthPenalty:
        """The penalty on G's gradient."""
        return self.losses.typed('path_length_opt', PathLengthPenalty)

    def draw_styles(self, num: int) -> list[Tensor]:
        """One z (num, num_style_feat), or two to mix at a layer that the decoder draws."""
        net_g = bare(self.net_g)
        several = 1 + int(torch.rand(()) < self.train_opt.mixing_prob)
        return list(torch.randn(several, num, net_g.num_style_feat, device=self.device))

    def r1_penalty(self, real: Tensor) -> Tensor:
        """The penalty at real faces (N, 3, H, W) in [-1, 1], in full precision."""
        with torch.autocast(self.device.type, enabled=False):
            real = real.float().requires_grad_()
            return self.losses.r1_opt(self.net_d(real, raw=True), real)

    def path_length_penalty(self, num: int) -> Tensor:
        """The penalty on ``num`` made faces, in full precision; moves the running mean of the lengths."""
        with torch.autocast(self.device.type, enabled=False):
            made, latents = self.net_g(self.draw_styles(num), raw=True, return_latents=True)
            penalty = self.path_length(made, latents, self.mean_path_length)
        self.mean_path_length = penalty.mean
        self.log('path_length', penalty.length)
        return penalty.loss

    def faces(self, num: int, generator: torch.Generator) -> Tensor:
        """``num`` faces of the averaged G with its fixed noise, (num, 3, size, size) RGB, not clamped."""
        net_g = self.evaluated('net_g')
        z = torch.randn(num, bare(self.net_g).num_style_feat, generator=generator).to(self.device)
        with evaluating(net_g), self.precision.autocast():
            return net_g(z, randomize_noise=False).float()

    def preview(self) -> Tensor:
        """Faces of the same few z each time."""
        from torchvision.utils import make_grid  # here, for it takes long

        faces = self.faces(_SHOWN, torch.Generator().manual_seed(_SEED)).clamp(0, 1)
        return make_grid(faces, nrow=_SHOWN // 2, padding=0)

    def training_state(self) -> State:
        """See :meth:`FSRModel.training_state`; with the mean of the path lengths."""
        return {**super().training_state(), 'mean_path_length': self.mean_path_length}

    def load_training_state(self, state: State) -> None:
        """Puts :meth:`training_state` back."""
        super().load_training_state(state)
        self.mean_path_length = state['mean_path_length'].to(self.device)
