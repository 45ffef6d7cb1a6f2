"""Edges that pass gradients: the difference of Gaussians, and the difference from a local mean."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.errors import UserError

# Grey as OpenCV's RGB2GRAY: ITU-R BT.601.
_GREY = (0.299, 0.587, 0.114)


def grey(x: Tensor) -> Tensor:
    """Luma by ITU-R BT.601, as OpenCV's RGB2GRAY on floats; differentiable.

    Args:
        x: N3HW, RGB, or N1HW, already grey; any range.

    Returns:
        N1HW in the range and type of ``x``.

    Raises:
        ValueError: neither one nor three channels.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f'Edges are found in N3HW or N1HW; this tensor has the shape {tuple(x.shape)}.')
    if x.shape[1] == 1:
        return x
    return _GREY[0] * x[:, :1] + _GREY[1] * x[:, 1:2] + _GREY[2] * x[:, 2:]


def _blur(x: Tensor, sigma: float) -> Tensor:
    """By a sampled Gaussian of the length OpenCV chooses for float images, normalised to sum 1."""
    radius = (round(sigma * 8 + 1) | 1) // 2
    position = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (position / sigma).square())
    kernel = kernel / kernel.sum()
    padded = F.pad(x, (radius,) * 4, mode='reflect')
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))


def dog(x: Tensor, sigma1: float = 1.0, sigma2: float = 1.6) -> Tensor:
    """Difference of Gaussians of the grey image, signed; differentiable.

    With the ratio of 1.6 it is nearest to the Laplacian of a Gaussian (Marr and Hildreth, 1980).

    Args:
        x: N3HW, RGB, or N1HW; float, sides above 4 ``sigma2``. Computed in float32 also under autocast.
        sigma1: standard deviation of the Gaussian that counts positively, in pixels.
        sigma2: standard deviation of the one that is subtracted.

    Returns:
        N1HW, float32, in [-1, 1] for ``x`` in [0, 1]; borders as OpenCV's BORDER_REFLECT_101.

    Raises:
        ValueError: neither one nor three channels, or sides too small for the Gaussian.
    """
    if min(x.shape[2:]) <= 4 * max(sigma1, sigma2) + 1:
        most = max(sigma1, sigma2)
        raise ValueError(f'A difference of Gaussians up to {most} px needs larger images than {tuple(x.shape[2:])}.')
    with torch.autocast(x.device.type, enabled=False):
        image = grey(x.float())
        return _blur(image, sigma1) - _blur(image, sigma2)


class AvgPoolEdge(nn.Module):
    """What a pixel has beyond the mean of its neighbourhood: ``x - avgpool(x)``, stride 1, same size.

    As TensorFlow's padding ``SAME``: an even kernel reaches one pixel further to the right and below (k = 10: 4 before,
    5 after), and the mean leaves out what lies beyond the border. So a constant image has no edges, borders included.

    Args:
        kernel: side of the neighbourhood.
        relu: keep positive differences only.
    """

    def __init__(self, kernel: int, relu: bool = False) -> None:
        super().__init__()
        if kernel < 2:
            raise UserError(f"AvgPoolEdge: 'kernel' is {kernel}; a neighbourhood has at least 2 pixels.")
        self.kernel = kernel
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """NCHW to NCHW, any channels and range."""
        k, half = self.kernel, self.kernel // 2
        # The mean over a rectangle of valid pixels separates into rows and columns. Even kernels give a line too many.
        mean = F.avg_pool2d(x, (k, 1), 1, (half, 0), count_include_pad=False)[:, :, 1 - k % 2 :]
        mean = F.avg_pool2d(mean, (1, k), 1, (0, half), count_include_pad=False)[:, :, :, 1 - k % 2 :]
        edge = x - mean
        return edge.relu() if self.relu else edge

    def extra_repr(self) -> str:
        return f'kernel={self.kernel}, relu={self.relu}'
