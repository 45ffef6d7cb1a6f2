"""NIQE (Mittal et al. 2013) for batches on their device, with the parameters that BasicSR ships."""

from __future__ import annotations

import functools
import importlib.resources
import math
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fsr_plugins.degradations.bicubic import imresize
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import MeanMetric, check_border
from fsr_plugins.metrics.psnr_ssim import luma
from fsr_plugins.registry import METRIC_REGISTRY

BLOCK = 96
#: A covariance needs two blocks at least, so both sides hold two.
SMALLEST = 2 * BLOCK
#: Neighbours whose products are modelled (Eq. 7): right, below, both diagonals.
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
#: What is measured of a colour image.
Converted = Literal['y', 'gray']


@METRIC_REGISTRY.register()
class NIQE(MeanMetric):
    """Distance of an image's statistics from those of natural photographs, without a reference.

    An image with a side under 192 px is enlarged first, since 96-px blocks do not fit: bicubic, by the smallest whole
    factor that makes both sides 192 px or more (64 px: ×3). Such values compare only with others taken so. An image
    with fewer than two textured blocks (a flat one) has no NIQE: its value, and so the mean, is NaN.
    """

    name = 'niqe'
    better = 'lower'
    needs_gt = False
    by_image = False

    def __init__(self, crop_border: int = 0, convert_to: Converted = 'y') -> None:
        """
        Args:
            crop_border: pixels left out at each edge, before enlarging.
            convert_to: what is measured of a colour image: its luma (BT.601, 16–235), or its grey (BT.601, 0–255).

        Raises:
            UserError: no such border, another ``convert_to``.
        """
        check_border(crop_border, self.name)
        if convert_to not in get_args(Converted):
            choices = ', '.join(get_args(Converted))
            raise UserError(f"'convert_to' of the metric NIQE is '{convert_to}': choose one of {choices}.")
        grey = 'Y' if convert_to == 'y' else 'grey'
        super().__init__(
            f'{grey}, border {crop_border}, uint8, sides under {SMALLEST} px enlarged bicubically (64 px: ×3)'
        )
        self.crop_border = crop_border
        self.convert_to = convert_to

    def values(self, sr: Tensor, gt: Tensor | None) -> Tensor:
        """NIQE of each image, shape (N,) float64."""
        border = self.crop_border
        height, width = sr.shape[-2:]
        if min(height, width) <= 2 * border:
            raise UserError(f'Nothing of {height}×{width} px is left inside a border of {border} px: lower it.')
        images = sr.double()[..., border : height - border, border : width - border]
        factor = math.ceil(SMALLEST / min(images.shape[-2:]))
        if factor > 1:
            images = imresize(images, scale=factor).clamp(0, 1)
        if images.shape[1] == 3:
            images = luma(images) if self.convert_to == 'y' else _grey(images)
        # Rounded as in the MATLAB original.
        return niqe(images.mul(255).round())


def _grey(images: Tensor) -> Tensor:
    """As OpenCV's ``COLOR_RGB2GRAY``: (N, 3, H, W) RGB to (N, 1, H, W)."""
    weights = images.new_tensor([0.299, 0.587, 0.114])
    return (images * weights[:, None, None]).sum(1, keepdim=True)


@functools.lru_cache(maxsize=1)
def _pristine() -> dict[str, Tensor]:
    """Mean, covariance and smoothing window fitted to natural photographs, float64."""
    with (
        importlib.resources.as_file(importlib.resources.files('basicsr.metrics') / 'niqe_pris_params.npz') as path,
        np.load(path) as file,
    ):
        return {name: torch.from_numpy(file[name]).double() for name in file.files}


@functools.lru_cache(maxsize=1)
def _shapes() -> tuple[Tensor, Tensor]:
    """Candidate shapes γ of the generalised Gaussian and their ratios Γ(2/γ)² / (Γ(1/γ)Γ(3/γ)), which rise with γ."""
    gamma = torch.arange(9801, dtype=torch.float64) * 0.001 + 0.2
    ratio = torch.exp(2 * torch.lgamma(2 / gamma) - torch.lgamma(1 / gamma) - torch.lgamma(3 / gamma))
    return gamma, ratio


def niqe(grey: Tensor) -> Tensor:
    """NIQE (Eq. 10) of each image.

    Args:
        grey: (N, 1, H, W) float64 in [0, 255], H and W at least 192.

    Returns:
        (N,); NaN where fewer than two blocks have texture.
    """
    rows, columns = grey.shape[-2] // BLOCK, grey.shape[-1] // BLOCK
    grey = grey[..., : rows * BLOCK, : columns * BLOCK]
    fine = block_features(normalise(grey), BLOCK)
    coarse = block_features(normalise(imresize(grey / 255, scale=0.5) * 255), BLOCK // 2)
    features = torch.cat([fine, coarse], dim=-1)

    mean = features.nanmean(dim=1)
    textured = ~features.isnan().any(dim=-1, keepdim=True)
    count = textured.sum(dim=1, keepdim=True)
    kept = torch.where(textured, features, 0.0)
    centred = torch.where(textured, features - kept.sum(1, keepdim=True) / count, 0.0)
    covariance = centred.mT @ centred / (count - 1)

    pristine = {name: value.to(grey.device) for name, value in _pristine().items()}
    difference = (pristine['mu_pris_param'] - mean).unsqueeze(1)
    defined = (count > 1).flatten()
    # The decomposition refuses NaN, so undefined images take part with the pristine covariance alone.
    average = (pristine['cov_pris_param'] + torch.where(defined[:, None, None], covariance, 0.0)) / 2
    squared = difference @ torch.linalg.pinv(average, rtol=1e-15) @ difference.mT
    return torch.where(defined, squared.flatten().sqrt(), torch.nan)


def normalise(grey: Tensor) -> Tensor:
    """Local mean taken off and divided by the local deviation plus 1 (Eq. 1), (N, 1, H, W) in [0, 255]."""
    window = _pristine()['gaussian_window'].to(grey)[None, None]
    pad = window.shape[-1] // 2

    def smooth(x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (pad,) * 4, mode='replicate'), window)

    mean = smooth(grey)
    deviation = (smooth(grey.square()) - mean.square()).abs().sqrt()
    return (grey - mean) / (deviation + 1)


def block_features(normalised: Tensor, size: int) -> Tensor:
    """The 18 parameters of each block: of its values, and of its products with four neighbours (Eq. 4–8).

    Args:
        normalised: (N, 1, H, W), both sides multiples of ``size``.
        size: side of a block.

    Returns:
        (N, blocks, 18); NaN for blocks without values of both signs.
    """
    batch, _, height, width = normalised.shape
    blocks = normalised.view(batch, height // size, size, width // size, size).transpose(2, 3)
    blocks = blocks.reshape(batch, -1, size, size)
    shape, left, right = fit_asymmetric(blocks.flatten(2))
    features = [shape, (left + right) / 2]
    for shift in SHIFTS:
        product = blocks * blocks.roll(shift, dims=(-2, -1))
        shape, left, right = fit_asymmetric(product.flatten(2))
        mean = (right - left) * torch.exp(torch.lgamma(2 / shape) - torch.lgamma(1 / shape))
        features += [shape, mean, left, right]
    return torch.stack(features, dim=-1)


def fit_asymmetric(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Asymmetric generalised Gaussian fitted by moments (Lasmar et al. 2009, as NIQE uses it).

    Args:
        values: (…, M).

    Returns:
        Shape α and the scales β_left, β_right, each (…); NaN without values of both signs.
    """
    squares = values.square()
    left = ((squares * (values < 0)).sum(-1) / (values < 0).sum(-1)).sqrt()
    right = ((squares * (values > 0)).sum(-1) / (values > 0).sum(-1)).sqrt()
    skew = left / right
    ratio = values.abs().mean(-1).square() / squares.mean(-1)
    target = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2

    gamma, known = (table.to(values.device) for table in _shapes())
    after = torch.searchsorted(known, target.contiguous()).clamp(1, len(known) - 1)
    nearer = torch.where((target - known[after - 1]) <= (known[after] - target), after - 1, after)
    shape = torch.where(target.isnan(), torch.nan, gamma[nearer])
    spread = torch.exp(0.5 * (torch.lgamma(1 / shape) - torch.lgamma(3 / shape)))
    return shape, left * spread, right * spread
