"""The two stages of TSNet's training (Sec. 2.3 and 3.1). Equation numbers are the paper's.

A batch holds ``gt``, HR faces, and ``real_lq``, LR faces of other people as the camera took them, paired with nothing.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import Self

from fsr_plugins.config.losses import Loss
from fsr_plugins.config.options import TrainOptions, read_train
from fsr_plugins.errors import misfit
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.networks import Net
from fsr_plugins.models.strategies import NoEvaluation, SuperResolution
from fsr_plugins.registry import MODEL_REGISTRY
from fsr_plugins.values import Options


def discriminator_loss(criterion: nn.Module, net_d: nn.Module, real: Tensor | None, fake: Tensor) -> Tensor:
    """Eq. 3 as the discriminator sees it; no gradient reaches what generated ``fake``."""
    return criterion(net_d(real), True, is_disc=True) + criterion(net_d(fake.detach()), False, is_disc=True)


@MODEL_REGISTRY.register()
class TSNetDegradationModel(FSRModel):
    """Stage 1: DeNet learns to make LR faces that look like the camera's and show the HR face's content (Eq. 4)."""

    networks = {'net_de': Net(result=True), 'net_d_de': Net(train_only=True)}
    net_de: nn.Module
    net_d_de: nn.Module
    # DeNet makes LR faces, and whether they look real has no reference to be measured against.
    evaluation = NoEvaluation("TSNetDegradationModel trains no SR network: set 'val: null' in this stage.")

    class Train(TrainOptions):
        """Content loss to the bicubic reduction (Eq. 2, weight alpha_1) and adversarial loss (Eq. 3, weight beta_1)."""

        pixel_opt: Loss = Loss.required('content loss to the bicubic reduction, Eq. 2')
        gan_opt: Loss = Loss.required('adversarial loss, Eq. 3')

    train_opt: Train

    def step(self) -> None:
        """DeNet by Eq. 4 with ``lq`` the bicubic reduction, then its discriminator by Eq. 3."""
        with self.phase('net_de') as losses:
            generated = self.net_de(self.gt)
            losses['l_pix'] = self.losses.pixel_opt(generated, self.lq)
            losses['l_gan'] = self.losses.gan_opt(self.net_d_de(generated), True, is_disc=False)
        with self.phase('net_d_de') as losses:
            losses['l_d'] = discriminator_loss(self.losses.gan_opt, self.net_d_de, self.batch['real_lq'], generated)


class StudentAndTeacher(SuperResolution['TSNetJointModel']):
    """The result, ``tnet``, and ``snet`` unless TNet is trained alone."""

    def networks(self, model: TSNetJointModel) -> dict[str, nn.Module]:
        """See the class."""
        nets = {'result': model.evaluated(model.result_label(model.opt)), 'tnet': model.evaluated('net_t')}
        student = model.train_opt.train_mode == 'kd' and model.net_s is not None
        return {**nets, 'snet': model.evaluated('net_s')} if student else nets


@MODEL_REGISTRY.register()
class TSNetJointModel(FSRModel):
    """Stage 2: TNet on DeNet's pairs, SNet on real LR faces guided by TNet, DSNet closing the cycle (Eq. 5 to 8)."""

    networks = {
        'net_s': Net(result=True, optional=True),
        'net_t': Net(result=True),
        'net_ds': Net(optional=True, train_only=True),
        'net_de': Net(frozen=True, optional=True, train_only=True),
        'net_d_t': Net(optional=True, train_only=True),
        'net_d_s': Net(optional=True, train_only=True),
        'net_d_ds': Net(optional=True, train_only=True),
    }
    net_t: nn.Module
    net_s: nn.Module
    net_ds: nn.Module
    net_de: nn.Module
    evaluation = StudentAndTeacher()

    class Train(TrainOptions):
        """The losses of TNet (``_t``), SNet (``_s``) and DSNet (``_ds``), and the switches of Table 3."""

        pixel_opt_t: Loss | None = Loss.field('reconstruction loss of TNet, Eq. 5')
        pixel_opt_s: Loss | None = Loss.field('reconstruction loss of SNet, Eq. 6')
        cycle_opt: Loss | None = Loss.field('cycle loss, Eq. 7', needs='net_ds')
        gan_opt_t: Loss | None = Loss.field("TNet's adversarial loss", needs='net_d_t')
        gan_opt_s: Loss | None = Loss.field("SNet's adversarial loss", needs='net_d_s')
        gan_opt_ds: Loss | None = Loss.field("DSNet's adversarial loss", needs='net_d_ds')
        use_cycle: bool = Field(True, description='the cycle by DSNet; false: Eq. 8 without Eq. 7')
        lr_source: Literal['denet', 'bicubic'] = Field('denet', description="what makes TNet's LR")
        lr_noise: float = Field(0.0, ge=0, le=1, description="deviation of white noise on TNet's LR, which DeNet lacks")
        eval_net: Literal['t', 's'] = Field('s', description='which network is the result')
        train_mode: Literal['kd', 'cyclegan', 'teacher'] = Field(
            'kd', description='cyclegan: TNet by the cycle alone; teacher: TNet alone on its pairs, without the cycle'
        )

        @property
        def generators(self) -> list[str]:
            """The networks, by their suffix, that these switches train: TNet, SNet, DSNet."""
            return ['t', *(['s'] if self.train_mode == 'kd' else []), *(['ds'] if self.use_cycle else [])]

        @property
        def adversarial(self) -> list[str]:
            """Those of them that have an adversarial loss."""
            return [name for name in self.generators if f'gan_opt_{name}' in self.losses]

        def required_networks(self) -> dict[str, str]:
            """What these switches train, its discriminators, and DeNet where it makes the LR faces."""
            mode = f"'train.train_mode: {self.train_mode}'"
            needed = {f'net_{name}': mode for name in self.generators}
            if self.train_mode != 'cyclegan' and self.lr_source == 'denet':
                needed['net_de'] = "'train.lr_source: denet'"
            return needed | {f'net_d_{name}': f"'train.gan_opt_{name}'" for name in self.adversarial}

        @model_validator(mode='after')
        def _has_its_losses(self) -> Self:
            if self.train_mode == 'cyclegan' and not self.use_cycle:
                raise misfit("'train_mode: cyclegan' is training by the cycle alone: it needs 'use_cycle: true'")
            if self.train_mode == 'teacher' and self.use_cycle:
                raise misfit("'train_mode: teacher' trains TNet alone: it needs 'use_cycle: false'")
            wanted = {'kd': ['pixel_opt_t', 'pixel_opt_s'], 'teacher': ['pixel_opt_t'], 'cyclegan': []}[self.train_mode]
            for key in [*wanted, *(['cycle_opt'] if self.use_cycle else [])]:
                if key not in self.losses:
                    raise misfit(f"this training needs a loss 'train.{key}' in the option file")
            return self

    train_opt: Train

    def step(self) -> None:
        """All generators in one phase, then all discriminators on the same images in another."""
        real_lq = self.batch['real_lq']
        adversarial = self.train_opt.adversarial
        with self.phase(*(f'net_{name}' for name in self.train_opt.generators)) as losses:
            mode = self.train_opt.train_mode
            fakes = {'t': self.net_t(real_lq) if mode == 'cyclegan' else self.teacher(losses)}
            if mode == 'kd':
                fakes['s'] = self.student(real_lq, losses)
            if self.train_opt.use_cycle:
                sr = fakes['s' if 's' in fakes else 't']
                losses['l_cycle'] = self.losses.cycle_opt(self.net_ds(sr), real_lq)  # Eq. 7
                if 'ds' in adversarial:
                    # Eq. 8 has no LR adversarial term, so this one may move DSNet only: hence the detached image.
                    fakes['ds'] = self.net_ds(sr.detach())
            for name in adversarial:
                judgement = getattr(self, f'net_d_{name}')(fakes[name])
                losses[f'l_gan_{name}'] = self.losses[f'gan_opt_{name}'](judgement, True, is_disc=False)
        with self.phase(*(f'net_d_{name}' for name in adversarial)) as losses:
            for name in adversarial:
                criterion, net_d = self.losses[f'gan_opt_{name}'], getattr(self, f'net_d_{name}')
                real = real_lq if name == 'ds' else self.gt
                losses[f'l_d_{name}'] = discriminator_loss(criterion, net_d, real, fakes[name])

    def teacher(self, losses: dict[str, Tensor]) -> Tensor:
        """TNet on synthetic pairs: adds the reconstruction loss of all iterations (Eq. 5), returns the last image."""
        lq = self.net_de(self.gt) if self.train_opt.lr_source == 'denet' else self.lq
        if self.train_opt.lr_noise > 0:  # DeNet is a function of HR: a camera's noise is none of it
            assert lq is not None
            lq = lq + self.train_opt.lr_noise * torch.randn_like(lq)
        images = self.net_t(lq, all_iterations=True)
        losses['l_pix_t'] = self.losses.pixel_opt_t(images, self.gt)
        return images[-1]

    def student(self, real_lq: Tensor, losses: dict[str, Tensor]) -> Tensor:
        """SNet on real LR faces, TNet's last image its HR: adds the reconstruction loss, returns the last image."""
        with torch.no_grad():
            pseudo_hr = self.net_t(real_lq)
        images = self.net_s(real_lq, all_iterations=True)
        losses['l_pix_s'] = self.losses.pixel_opt_s(images, pseudo_hr)
        return images[-1]

    @classmethod
    def result_label(cls, opt: Options) -> str:
        """SNet, or TNet where ``train.eval_net`` says so or there is nothing but TNet."""
        train = read_train(cls.Train, opt.get('train'))
        student = train.train_mode == 'kd' and train.eval_net == 's' and opt.get('network_s') is not None
        return 'net_s' if student else 'net_t'
