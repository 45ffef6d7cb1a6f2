"""What StyleGAN2 is trained with: the logistic loss and two penalties on gradients.

Both penalties are lazy: they are asked for in every ``interval``-th iteration (:meth:`due`) and count so often
(Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, section 3.1). Of Adam the paper then
asks for the learning rate and the exponents of both betas times interval / (interval + 1).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class LogisticGANLoss(nn.Module):
    """softplus(-logit) where an image shall count as real, softplus(logit) where as made; mean over the batch.

    For a generator this is the loss that does not saturate (Goodfellow et al., NeurIPS 2014).

    Args:
        loss_weight: factor on a generator's loss; a discriminator's has the weight 1.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, target_is_real: bool, is_disc: bool = False) -> Tensor:
        """Logits of any shape to a scalar; arguments as of BasicSR's ``GANLoss``."""
        loss = F.softplus(-logits if target_is_real else logits).mean()
        return loss if is_disc else self.loss_weight * loss


class _Lazy(nn.Module):
    def __init__(self, loss_weight: float, interval: int) -> None:
        super().__init__()
        if interval < 1:
            raise ValueError(f'{type(self).__name__} needs an interval of at least 1 iteration, not {interval}.')
        self.loss_weight = loss_weight
        self.interval = interval

    def due(self, current_iter: int) -> bool:
        """Whether the penalty is asked for in this iteration."""
        return current_iter % self.interval == 0


@LOSS_REGISTRY.register()
class R1Penalty(_Lazy):
    """``loss_weight / 2 * interval * mean_n |d logit_n / d image_n|^2`` on real images.

    Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, Eq. 9. The weight 10 is
    StyleGAN2's for images in [-1, 1]; on the same images in [0, 1] the penalty is four times as large.

    Args:
        loss_weight: gamma.
        interval: in iterations.

    Raises:
        ValueError: an ``interval`` below 1.
    """

    def __init__(self, loss_weight: float = 10.0, interval: int = 16) -> None:
        super().__init__(loss_weight, interval)

    def forward(self, logits: Tensor, images: Tensor) -> Tensor:
        """The penalty, a scalar that can be differentiated.

        Args:
            logits: (N, 1), computed from ``images`` outside of autocast.
            images: (N, C, H, W) that ask for a gradient.
        """
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return self.loss_weight / 2 * self.interval * gradient.square().flatten(1).sum(dim=1).mean()


class PathLength(NamedTuple):
    """The penalty to minimise; detached, the running mean to hand in next time and the mean length of this batch."""

    loss: Tensor
    mean: Tensor
    length: Tensor


@LOSS_REGISTRY.register()
class PathLengthPenalty(_Lazy):
    """``loss_weight * interval * mean_n (|J_n^T y_n| - a)^2``: a step of w shall change images by the same everywhere.

    Karras et al., CVPR 2020, section 3.2: y is normal noise over sqrt(H W), J the derivative of the image by w, the
    length the root of the mean square over the layers' w, a the running mean of the lengths. With images in [-1, 1]
    lengths are twice those in [0, 1].

    The running mean is no state of this module: it goes in and comes out, so that a checkpoint can hold it.

    Args:
        loss_weight: as published, 2.
        interval: in iterations.
        decay: how much of a batch's mean length enters the running mean.

    Raises:
        ValueError: an ``interval`` below 1.
    """

    def __init__(self, loss_weight: float = 2.0, interval: int = 4, decay: float = 0.01) -> None:
        super().__init__(loss_weight, interval)
        self.decay = decay

    def forward(self, images: Tensor, latents: Tensor, mean: Tensor, noise: Tensor | None = None) -> PathLength:
        """The penalty and the running mean after it.

        Args:
            images: (N, 3, H, W) that depend on ``latents``, computed outside of autocast.
            latents: w (N, num_latent, D) that asks for a gradient or is computed from what does.
            mean: running mean of the lengths, a scalar; 0 at the beginning.
            noise: standard normal of the images' shape; None: drawn.
        """
        noise = torch.randn_like(images) if noise is None else noise
        pixels = images.shape[2] * images.shape[3]
        (gradient,) = torch.autograd.grad((images * noise).sum() / math.sqrt(pixels), latents, create_graph=True)
        lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
        mean = torch.lerp(mean.to(lengths), lengths.mean(), self.decay)
        loss = self.loss_weight * self.interval * (lengths - mean).square().mean()
        return PathLength(loss, mean.detach(), lengths.mean().detach())
