"""Domain-aware latent mixing (Sec. 4.2): source faces in the style of an exemplar, for the decoder to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fsr_plugins.archs.stylegan2 import StyleGAN2Decoder
from fsr_plugins.losses.features import FeatureExtractor, feature_distance, style_distance
from fsr_plugins.methods.dapfsr.archs import DAPFSR


def mix(target: Tensor, source: Tensor, alpha: Tensor) -> Tensor:
    """w^m of Eq. 6, layer by layer: 1 is the source's w, 0 the target's.

    Args:
        target, source: (N, num_latent, num_style_feat).
        alpha: (num_latent,) in [0, 1].
    """
    return torch.lerp(target, source, alpha[:, None])


def style_transferred(content: Tensor, style: Tensor) -> Tensor:
    """AdaIN (Huang and Belongie, ICCV 2017, Eq. 8) on the colours: each channel gets the style's mean and deviation.

    Args:
        content: (N, C, H, W). style: (K, C, H, W); the n-th content takes the (n mod K)-th.

    Returns:
        (N, C, H, W).
    """
    style = spread(style, len(content))
    std, mean = torch.std_mean(content, dim=(2, 3), keepdim=True)
    style_std, style_mean = torch.std_mean(style, dim=(2, 3), keepdim=True)
    return (content - mean) / (std + 1e-5) * style_std + style_mean


def spread(x: Tensor, num: int) -> Tensor:
    """``num`` rows, x again and again."""
    return x[torch.arange(num, device=x.device) % len(x)]


@dataclass
class Mixing:
    """What one round of Algorithm 1's outer loop draws, and its mixing weight.

    Attributes:
        target: w^t, one for each of the source's, (N, num_latent, num_style_feat).
        source: w^s of the same shape; the layers of a face share a draw.
        alpha: (num_latent,).
        exemplar: I^t, (K, 3, H, W), kept since later batches may hold the exemplars in another order, or others; the
            n-th w^t is of the (n mod K)-th.
        style: F of the exemplars, once it is known; the same for the whole round.
    """

    target: Tensor
    source: Tensor
    alpha: Tensor
    exemplar: Tensor
    style: Sequence[Tensor] | None = None

    @classmethod
    def begin(cls, net: DAPFSR, lq: Tensor, exemplar: Tensor, num: int, swapped_layers: int) -> Mixing:
        """Lines 2 to 4 of Algorithm 1.

        Args:
            lq: LR of the exemplars, (K, 3, h, w).
            exemplar: their HR, (K, 3, H, W).
            num: how many w^s.
            swapped_layers: how many last layers alpha_0 takes from the exemplar.
        """
        encoder = net.encoder
        target = spread(encoder(lq).float(), num)
        mean, std = encoder.latent_mean, encoder.latent_std
        source = mean + std * torch.randn(num, 1, len(mean), device=mean.device)
        alpha = torch.ones(target.shape[1], device=mean.device)
        alpha[len(alpha) - swapped_layers :] = 0
        return cls(target, source.expand_as(target).contiguous(), alpha, exemplar)

    def mixed(self) -> Tensor:
        """w^m."""
        return mix(self.target, self.source, self.alpha)

    def learn(self, decoder: StyleGAN2Decoder, extractor: FeatureExtractor, rate: float) -> None:
        """A step of gradient descent on alpha by Eq. 7, kept in [0, 1].

        Args:
            decoder: G, of which nothing learns here.
            extractor: F.
            rate: xi.
        """

        def features(latents: Tensor) -> Sequence[Tensor]:
            return extractor(decoder(latents, input_is_latent=True, noise=decoder.no_noise()))

        with torch.no_grad():
            content = features(self.source)
            if self.style is None:
                self.style = extractor(self.exemplar)
            style = [spread(layer, len(self.source)) for layer in self.style]
        with torch.enable_grad():
            alpha = self.alpha.detach().requires_grad_()
            made = features(mix(self.target, self.source, alpha))
            loss = feature_distance(made, content) + style_distance(made, style)  # Eq. 8 and Eq. 9
            (gradient,) = torch.autograd.grad(loss, alpha)
        self.alpha = (self.alpha - rate * gradient).clamp(0, 1)

    def state(self) -> dict[str, Tensor]:
        """For a training state."""
        return {'target': self.target, 'source': self.source, 'alpha': self.alpha, 'exemplar': self.exemplar}

    @classmethod
    def of(cls, state: Mapping[str, Tensor], device: torch.device) -> Mixing:
        """What :meth:`state` gave."""
        target, source, alpha, exemplar = (state[name].to(device) for name in ('target', 'source', 'alpha', 'exemplar'))
        return cls(target, source, alpha, exemplar)
