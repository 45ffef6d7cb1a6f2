"""GMSD as a metric for fsr_plugins. Importing this module registers it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import MeanMetric, size_of
from fsr_plugins.registry import METRIC_REGISTRY

#: RGB to grey as MATLAB's ``rgb2gray`` does it.
GREY = (0.298936021293775, 0.587043074451121, 0.114020904255103)


@METRIC_REGISTRY.register()
class GMSD(MeanMetric):
    """Gradient magnitude similarity deviation (Xue et al., TIP 2014): 0 for equal edges, larger for unlike ones."""

    name = 'gmsd'
    better = 'lower'
    needs_gt = True

    def __init__(self, constant: float = 170.0, reduce: int = 2) -> None:
        """
        Args:
            constant: c of Eq. 4, for grey values up to 255.
            reduce: how many times images are made smaller first, by means; 1 leaves small faces as they are.

        Raises:
            UserError: a constant that is not positive, or ``reduce`` below 1.
        """
        if constant <= 0 or reduce < 1:
            raise UserError(f"The metric 'gmsd' takes 'constant' above 0 and 'reduce' from 1: {constant}, {reduce}.")
        super().__init__(f'grey, reduced {reduce} times, constant {constant:g}, uint8')
        self.constant = constant
        self.reduce = reduce

    def values(self, sr: Tensor, gt: Tensor | None) -> Tensor:
        """GMSD of each image, shape (N,) float64."""
        assert gt is not None  # `needs_gt` has been checked
        if min(sr.shape[-2:]) < 2 * self.reduce:
            raise UserError(f"The metric 'gmsd' got images of {size_of(sr)}: they need {2 * self.reduce} px or more.")
        first, second = self.gradients(sr), self.gradients(gt)
        similarity = (2 * first * second + self.constant) / (first.square() + second.square() + self.constant)
        return similarity.flatten(1).std(1)

    def gradients(self, images: Tensor) -> Tensor:
        """Gradient magnitudes (N, H', W') of NCHW images, by Prewitt's filter. float64, as GPUs convolve coarsely."""
        grey = torch.einsum('nchw,c->nhw', images.double() * 255, images.new_tensor(GREY, dtype=torch.float64))[:, None]
        height, width = grey.shape[-2:]
        grey = F.avg_pool2d(F.pad(grey, (0, -width % self.reduce, 0, -height % self.reduce)), self.reduce)
        across = grey.new_tensor([[1, 0, -1]] * 3) / 3
        return F.conv2d(grey, torch.stack([across, across.T])[:, None], padding=1).square().sum(1).sqrt()
