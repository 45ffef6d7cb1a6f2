"""Training against a discriminator: SRGAN (Ledig et al. 2017) and ESRGAN (Wang et al. 2018)."""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import Self

from fsr_plugins.config.losses import Loss
from fsr_plugins.errors import misfit
from fsr_plugins.models.networks import Net
from fsr_plugins.models.supervised import SupervisedModel
from fsr_plugins.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class GANModel(SupervisedModel):
    """A network ``net_g`` from LR to SR, trained against a discriminator ``net_d``: SRGAN, or ESRGAN (relativistic).

    Of a discriminator with normalisation layers the running statistics see each image once an iteration and phase.
    """

    networks = {'net_g': Net(result=True), 'net_d': Net(optional=True, train_only=True)}
    net_d: nn.Module

    class Train(SupervisedModel.Train):
        """Any loss may be left out; without an adversarial one there is no discriminator."""

        gan_opt: Loss | None = Loss.field('adversarial loss', needs='net_d')
        relativistic: bool = Field(False, description="an image is judged against the other kind's mean, as in ESRGAN")
        net_d_iters: int = Field(1, ge=1, description='iterations of net_d for one of net_g')
        net_d_init_iters: int = Field(0, ge=0, description='first iterations, in which net_d alone learns')

        @model_validator(mode='after')
        def _net_g_learns(self) -> Self:
            if 'gan_opt' not in self.losses and (self.net_d_iters > 1 or self.net_d_init_iters):
                key = 'net_d_iters' if self.net_d_iters > 1 else 'net_d_init_iters'
                raise misfit(f"'{key}' leaves iterations to net_d, which learns by 'gan_opt' only: give that loss too")
            last = self.total_iter - self.total_iter % self.net_d_iters
            if last <= self.net_d_init_iters:
                raise misfit(
                    f"net_g learns every {self.net_d_iters} iterations ('net_d_iters') after {self.net_d_init_iters} "
                    f"('net_d_init_iters'), and 'total_iter' is {self.total_iter}: it would learn nothing"
                )
            return self

        @model_validator(mode='after')
        def _whole_batches(self) -> Self:
            if self.accumulate > 1 and (self.net_d_iters > 1 or self.net_d_init_iters):
                raise misfit(
                    "'accumulate' gathers every iteration's gradients, and 'net_d_iters' or 'net_d_init_iters' leaves "
                    'iterations of net_g out: set one of them to its default'
                )
            return self

    train_opt: Train

    def step(self) -> None:
        """The generator, then the discriminator on the same images."""
        self.train_discriminator(self.train_generator() if self.generator_learns() else self.generate())

    def generator_learns(self) -> bool:
        """Whether the generator learns in this iteration."""
        options = self.train_opt
        return self.current_iter % options.net_d_iters == 0 and self.current_iter > options.net_d_init_iters

    def trial_iteration(self) -> int:
        """See :meth:`FSRModel.trial_iteration`; the first in which the generator learns."""
        every = self.train_opt.net_d_iters
        return max(super().trial_iteration(), (self.train_opt.net_d_init_iters // every + 1) * every)

    def generate(self) -> Tensor:
        """SR of the batch, without a graph."""
        with torch.no_grad(), self.precision.autocast():
            return self.net_g(self.lq)

    def train_generator(self) -> Tensor:
        """One step of the generator; returns its images, detached."""
        with self.phase('net_g') as losses:
            sr = self.net_g(self.lq)
            losses.update(self.generator_losses(sr))
        return sr.detach()

    def generator_losses(self, sr: Tensor) -> dict[str, Tensor]:
        """What the generator learns by, of its images: the losses to HR and ``l_gan``."""
        losses = self.losses_to_hr(sr)
        if 'gan_opt' in self.losses:
            losses['l_gan'] = self._adversarial_loss(sr)
        return losses

    def _adversarial_loss(self, sr: Tensor) -> Tensor:
        """That of the generator; relativistic: ESRGAN, Eq. 3."""
        gan = self.losses.gan_opt
        if not self.train_opt.relativistic:
            return gan(self.net_d(sr), True, is_disc=False)
        with torch.no_grad():
            real = self.net_d(self.gt)
        fake = self.net_d(sr)
        return (gan(real - fake.mean(), False, is_disc=False) + gan(fake - real.mean(), True, is_disc=False)) / 2

    def train_discriminator(self, sr: Tensor) -> None:
        """One step of the discriminator, ``l_d``, on HR and on these images; relativistic: ESRGAN, Eq. 2."""
        if 'gan_opt' not in self.losses:
            return
        gan = self.losses.gan_opt
        with self.phase('net_d') as losses:
            real, fake = self.net_d(self.gt), self.net_d(sr)
            if self.train_opt.relativistic:
                # The mean of the other kind is a yardstick: each kind's gradient flows through its own images.
                real, fake = real - fake.detach().mean(), fake - real.detach().mean()
            losses['l_d'] = gan(real, True, is_disc=True) + gan(fake, False, is_disc=True)
            if self.train_opt.relativistic:
                losses['l_d'] = losses['l_d'] / 2
