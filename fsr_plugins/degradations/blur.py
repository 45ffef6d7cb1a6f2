"""Gaussian blur with its own covariance for each image of a batch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def covariance(sigma_along: Tensor, sigma_across: Tensor, angle: Tensor) -> Tensor:
    """Covariance of a Gaussian turned by ``angle``.

    Args:
        sigma_along: (N,), standard deviation in pixels along the turned x axis.
        sigma_across: (N,), standard deviation in pixels across it.
        angle: (N,), radians, from the x axis (right) towards the y axis (down).

    Returns:
        (N, 3): variance of x, covariance of x and y, variance of y, in pixels².
    """
    cos, sin = angle.cos(), angle.sin()
    along, across = sigma_along.square(), sigma_across.square()
    xx = along * cos * cos + across * sin * sin
    yy = along * sin * sin + across * cos * cos
    return torch.stack((xx, (along - across) * cos * sin, yy), dim=1)


def gaussian_blur(x: Tensor, cov: Tensor, sigma_max: float) -> Tensor:
    """Blurs each image with its own Gaussian, the edge pixel repeated beyond the border.

    The product with the Gaussian's transfer function exp(-2π² fᵀΣf) in the Fourier domain. It is two to three times as
    fast as a grouped convolution with a kernel an image (64 px, σ up to 2.4, CPU). It is exact for small σ too, where
    a sampled kernel is not a Gaussian any more.

    Args:
        x: NCHW, float32.
        cov: (N, 3) as from :func:`covariance`.
        sigma_max: a bound of all standard deviations, in pixels; it decides how far the border is continued.

    Returns:
        NCHW, float32.
    """
    h, w = x.shape[2:]
    margin = math.ceil(4 * sigma_max)
    # Multiples of 16 have fast transforms. What is added beyond the margin is never seen.
    full = [size + 2 * margin + -(size + 2 * margin) % 16 for size in (h, w)]
    padded = F.pad(x, (margin, full[1] - w - margin, margin, full[0] - h - margin), mode='replicate')
    fy = torch.fft.fftfreq(full[0], device=x.device)[:, None]
    fx = torch.fft.rfftfreq(full[1], device=x.device)
    xx, xy, yy = cov[:, :, None, None].unbind(1)
    transfer = torch.exp(-2 * math.pi**2 * (xx * fx * fx + 2 * xy * fx * fy + yy * fy * fy))
    spectrum = torch.fft.rfft2(padded) * transfer[:, None]
    blurred = torch.fft.irfft2(spectrum, s=(full[0], full[1]))
    return blurred[:, :, margin : margin + h, margin : margin + w]
