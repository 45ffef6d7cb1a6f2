"""A change of the coordinates of w that makes an encoder's codes standard normal and leaves every image as it is."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr_plugins.archs.stylegan2 import ModulatedConv2d, StyleGAN2Decoder
from fsr_plugins.methods.dapfsr.archs import DAPEncoder

#: Added to the covariance, as a part of its mean variance: channels that say nothing are not blown up without end.
_FLOOR = 1e-3


class Moments:
    """Running mean and covariance of codes.

    Args:
        num: channels D of a code.
        decay: of the running mean, in (0, 1).
    """

    def __init__(self, num: int, device: torch.device, decay: float = 0.99) -> None:
        self.decay = decay
        self.weight = torch.zeros((), dtype=torch.float64, device=device)
        self.first = torch.zeros(num, dtype=torch.float64, device=device)
        self.second = torch.zeros(num, num, dtype=torch.float64, device=device)

    @torch.no_grad()
    def update(self, codes: Tensor) -> None:
        """Takes in codes (N, D)."""
        codes = codes.detach().double()
        news = (torch.ones_like(self.weight), codes.mean(dim=0), codes.t() @ codes / len(codes))
        for own, new in zip((self.weight, self.first, self.second), news, strict=True):
            own.lerp_(new, 1 - self.decay)

    def mean(self) -> Tensor:
        """(D,) float64."""
        return self.first / self.weight

    def covariance(self) -> Tensor:
        """(D, D) float64."""
        return self.second / self.weight - torch.outer(self.mean(), self.mean())

    def state(self) -> dict[str, Tensor]:
        """For a training state."""
        return {'weight': self.weight, 'first': self.first, 'second': self.second}

    def load(self, state: dict[str, Tensor]) -> None:
        """Puts :meth:`state` back."""
        for name, own in self.state().items():
            own.copy_(state[name])


@torch.no_grad()
def whiten(encoder: DAPEncoder, decoder: StyleGAN2Decoder, moments: Moments) -> None:
    """E becomes ``R^-1 (E - m)``, and G takes that for it: m is the codes' mean, R the root of their covariance.

    Afterwards w = mu_w + sigma_w * noise (the sampling of Algorithm 1) has the mean and covariance of the faces' own w.
    The change is in the last layers of the encoder and in the affine layers of the decoder's styles.

    Args:
        encoder: one that predicts offsets; every layer's code is changed alike.
        decoder: the G that draws its w.
        moments: of E.
    """
    covariance, mean = moments.covariance(), moments.mean()
    floor = _FLOOR * covariance.diagonal().mean()
    values, vectors = torch.linalg.eigh(covariance + floor * torch.eye(len(mean)).to(covariance))
    root = vectors * values.clamp(min=floor).sqrt() @ vectors.t()
    inverse = vectors / values.clamp(min=floor).sqrt() @ vectors.t()
    for layer in encoder.last_layers():
        weight, bias = (tensor.double().unflatten(0, (-1, len(mean))) for tensor in (layer.weight, layer.bias))
        layer.weight.copy_((inverse @ weight).flatten(0, 1))
        layer.bias.copy_(((bias - mean) @ inverse.t()).flatten())
    mu, sigma = encoder.latent_mean.double(), encoder.latent_std.double()
    for module in decoder.modules():
        if isinstance(module, ModulatedConv2d):
            affine = module.modulation
            before = affine.weight.double()
            after = before * sigma @ root / sigma
            shift = affine.scale * (before @ (mu + sigma * mean) - after @ mu)
            affine.weight.copy_(after)
            affine.bias.add_(shift / affine.lr_mul)
