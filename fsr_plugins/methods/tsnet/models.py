"""The two stages of TSNet's training (Sec. 2.3 and 3.1). Equation numbers are the paper's.

A batch holds ``gt``, HR faces, and ``real_lq``, LR faces of other people as the camera took them, paired with nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fsr_plugins.config.options import Block, TrainOptions
from fsr_plugins.errors import UserError
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net
from fsr_plugins.registry import MODEL_REGISTRY


def discriminator_loss(criterion: nn.Module, net_d: nn.Module, real: Tensor | None, fake: Tensor) -> Tensor:
    """Eq. 3 as the discriminator sees it; no gradient reaches what generated ``fake``."""
    return criterion(net_d(real), True, is_disc=True) + criterion(net_d(fake.detach()), False, is_disc=True)


def required_loss(model: FSRModel, key: str) -> nn.Module:
    """The loss that ``train.<key>`` names; unlike :meth:`FSRModel.build_loss` it must be there."""
    loss = model.build_loss(key)
    if loss is None:
        raise UserError(f"This training needs a loss 'train.{key}' in the option file.")
    return loss


@MODEL_REGISTRY.register()
class TSNetDegradationModel(FSRModel):
    """Stage 1: DeNet learns to make LR faces that look like the camera's and show the HR face's content (Eq. 4)."""

    networks = {'net_de': Net(result=True), 'net_d_de': Net(only_training=True)}
    net_de: nn.Module
    net_d_de: nn.Module

    class Train(TrainOptions):
        """Content loss to the bicubic reduction (Eq. 2, weight alpha_1) and adversarial loss (Eq. 3, weight beta_1)."""

        pixel_opt: Block
        gan_opt: Block

    def init_losses(self) -> None:
        """Builds ``pixel_opt`` and ``gan_opt``."""
        self.cri_pix = required_loss(self, 'pixel_opt')
        self.cri_gan = required_loss(self, 'gan_opt')

    def step(self) -> None:
        """DeNet by Eq. 4 with ``lq`` the bicubic reduction, then its discriminator by Eq. 3."""
        with self.phase('net_de') as losses:
            generated = self.net_de(self.gt)
            losses['l_pix'] = self.cri_pix(generated, self.lq)
            losses['l_gan'] = self.cri_gan(self.net_d_de(generated), True, is_disc=False)
        with self.phase('net_d_de') as losses:
            losses['l_d'] = discriminator_loss(self.cri_gan, self.net_d_de, self.batch['real_lq'], generated)

    def validation_nets(self) -> dict[str, nn.Module]:
        """None: DeNet makes LR faces, and whether they look real has no reference to be measured against."""
        raise UserError("TSNetDegradationModel trains no SR network: set 'val: null' in this stage.")


@MODEL_REGISTRY.register()
class TSNetJointModel(FSRModel):
    """Stage 2: TNet on DeNet's pairs, SNet on real LR faces guided by TNet, DSNet closing the cycle (Eq. 5 to 8)."""

    networks = {
        'net_s': Net(result=True, optional=True),
        'net_t': Net(result=True),
        'net_ds': Net(optional=True, only_training=True),
        'net_de': Net(frozen=True, optional=True, only_training=True),
        'net_d_t': Net(optional=True, only_training=True),
        'net_d_s': Net(optional=True, only_training=True),
        'net_d_ds': Net(optional=True, only_training=True),
    }
    net_t: nn.Module
    net_s: nn.Module
    net_ds: nn.Module
    net_de: nn.Module

    class Train(TrainOptions):
        """The losses of TNet (``_t``), SNet (``_s``) and DSNet (``_ds``), and the switches of Table 3."""

        pixel_opt_t: Block | None = None
        pixel_opt_s: Block | None = None
        cycle_opt: Block | None = None
        gan_opt_t: Block | None = None
        gan_opt_s: Block | None = None
        gan_opt_ds: Block | None = None
        use_cycle: bool = True
        lr_source: Literal['denet', 'bicubic'] = 'denet'
        eval_net: Literal['t', 's'] = 's'
        train_mode: Literal['kd', 'cyclegan'] = 'kd'

    train_opt: Train

    def init_losses(self) -> None:
        """Builds the losses that the switches call for and sees that their networks are there."""
        kd, cycle = self.train_opt.train_mode == 'kd', self.train_opt.use_cycle
        if not (kd or cycle):
            raise UserError("'train_mode: cyclegan' is training by the cycle alone: it needs 'use_cycle: true'.")
        names = ['t', *(['s'] if kd else []), *(['ds'] if cycle else [])]
        self.generators = [f'net_{name}' for name in names]
        self.cri_pix = {name: required_loss(self, f'pixel_opt_{name}') for name in 'ts'} if kd else {}
        self.cri_cycle = required_loss(self, 'cycle_opt') if cycle else None
        self.cri_gan = {name: loss for name in names if (loss := self.build_loss(f'gan_opt_{name}')) is not None}
        teacher_lr = ['net_de'] if kd and self.train_opt.lr_source == 'denet' else []
        for label in [*self.generators, *teacher_lr, *(f'net_d_{name}' for name in self.cri_gan)]:
            if getattr(self, label) is None:
                block = label.replace('net_', 'network_', 1)
                raise UserError(f"This training needs a block '{block}' in the option file.")

    def step(self) -> None:
        """All generators in one phase, then all discriminators on the same images in another."""
        real_lq = self.batch['real_lq']
        with self.phase(*self.generators) as losses:
            if self.train_opt.train_mode == 'kd':
                fakes = {'t': self.teacher(losses), 's': self.student(real_lq, losses)}
            else:
                fakes = {'t': self.net_t(real_lq)}
            if self.cri_cycle is not None:
                sr = fakes['s' if 's' in fakes else 't']
                losses['l_cycle'] = self.cri_cycle(self.net_ds(sr), real_lq)  # Eq. 7
                if 'ds' in self.cri_gan:
                    # Eq. 8 has no LR adversarial term, so this one may move DSNet only: hence the detached image.
                    fakes['ds'] = self.net_ds(sr.detach())
            for name, criterion in self.cri_gan.items():
                losses[f'l_gan_{name}'] = criterion(getattr(self, f'net_d_{name}')(fakes[name]), True, is_disc=False)
        with self.phase(*(f'net_d_{name}' for name in self.cri_gan)) as losses:
            for name, criterion in self.cri_gan.items():
                real = real_lq if name == 'ds' else self.gt
                losses[f'l_d_{name}'] = discriminator_loss(criterion, getattr(self, f'net_d_{name}'), real, fakes[name])

    def teacher(self, losses: dict[str, Tensor]) -> Tensor:
        """TNet on synthetic pairs: adds the reconstruction loss of all iterations (Eq. 5), returns the last image."""
        lq = self.net_de(self.gt) if self.train_opt.lr_source == 'denet' else self.lq
        images = self.net_t(lq, all_iterations=True)
        losses['l_pix_t'] = self.cri_pix['t'](images, self.gt)
        return images[-1]

    def student(self, real_lq: Tensor, losses: dict[str, Tensor]) -> Tensor:
        """SNet on real LR faces, TNet's last image its HR: adds the reconstruction loss, returns the last image."""
        with torch.no_grad():
            pseudo_hr = self.net_t(real_lq)
        images = self.net_s(real_lq, all_iterations=True)
        losses['l_pix_s'] = self.cri_pix['s'](images, pseudo_hr)
        return images[-1]

    @classmethod
    def result_label(cls, opt: Mapping[str, Any]) -> str:
        """SNet, or TNet where ``train.eval_net`` says so or nothing but TNet is trained."""
        train = opt.get('train') or {}
        student = train.get('train_mode', 'kd') == 'kd' and train.get('eval_net', 's') == 's'
        return 'net_s' if student else 'net_t'

    def validation_nets(self) -> dict[str, nn.Module]:
        """``result``, ``tnet``, and ``snet`` unless TNet is trained alone."""
        nets = {'result': self.evaluated(self.result_label(self.opt)), 'tnet': self.evaluated('net_t')}
        if (self.opt.get('train') or {}).get('train_mode', 'kd') == 'kd':
            nets['snet'] = self.evaluated('net_s')
        return nets
