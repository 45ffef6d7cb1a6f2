"""A beginning for decoder and encoder where there is no time for StyleGAN2's millions of faces; not the paper's."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from fsr_plugins.methods.dapfsr.models import DAPEncoderModel
from fsr_plugins.models.networks import Net, bare
from fsr_plugins.registry import ARCH_REGISTRY, MODEL_REGISTRY


@ARCH_REGISTRY.register()
class LatentPosterior(nn.Module):
    """How sure an encoder is of each channel of a code: normal around it, with one learned deviation a channel.

    Args:
        num_style_feat: channels D.

    Shape: see :meth:`forward`.
    """

    def __init__(self, num_style_feat: int = 512) -> None:
        super().__init__()
        self.log_std = nn.Parameter(torch.full((num_style_feat,), -2.0))

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """A draw around the code, and the divergence from the standard normal distribution.

        Args:
            code: (N, D).

        Returns:
            (N, D), and KL of a channel, mean over all, a scalar (Kingma and Welling, ICLR 2014, appendix B).
        """
        std = self.log_std.exp()
        divergence = 0.5 * (code.square() + std.square() - 1) - self.log_std
        return code + std * torch.randn_like(code), divergence.mean()


@MODEL_REGISTRY.register()
class DAPWarmUpModel(DAPEncoderModel):
    """E and G together by Eq. 5, as a variational autoencoder with one code for all layers of w.

    So ``mu_w + sigma_w * noise`` comes near to what G has learned to draw, and the adversarial stage ``decoder`` begins
    with faces instead of with noise, ``encoder`` with this E. G's mapping network, and with it the statistics of w,
    stays as it is.
    """

    networks = {'net_e': Net(result=True), 'net_g': Net(), 'net_q': Net(only_training=True)}

    class Train(DAPEncoderModel.Train):
        """Those of the encoder's training, and two weights."""

        prior_weight: float = Field(2e-5, ge=0, description='of the divergence from the standard normal distribution')
        agree_weight: float = Field(0.01, ge=0, description="of the squared distance of the layers' E from their mean")

    train_opt: Train
    net_g: nn.Module
    net_q: nn.Module

    def learns(self, label: str, name: str) -> bool:
        """Everything but the mapping network, which has no part in it."""
        return not name.startswith('style_mlp')

    def step(self) -> None:
        """One step of all three."""
        net_e: Any = bare(self.net_e)
        with self.phase('net_e', 'net_g', 'net_q') as losses:
            offset = (self.net_e(self.lq) - net_e.latent_mean) / net_e.latent_std
            code = offset.mean(dim=1)
            drawn, divergence = self.net_q(code)
            sr = self.net_g(net_e.latent_mean + drawn * net_e.latent_std, input_is_latent=True, randomize_noise=False)
            self.reconstruction(losses, sr, self.gt)
            losses['l_prior'] = self.train_opt.prior_weight * divergence
            losses['l_agree'] = self.train_opt.agree_weight * (offset - code[:, None]).square().mean()
