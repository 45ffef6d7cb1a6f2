"""Mean and covariance of features taken batch by batch, and the Fréchet distance of two Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr_plugins.metrics.base import all_reduce_sum


class FeatureMoments:
    """Running mean and covariance of feature vectors, summed in float64 on the features' device."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Tensor | None = None
        self._products: Tensor | None = None

    def add(self, features: Tensor) -> None:
        """Takes in (N, D) features."""
        features = features.double()
        if self._sum is None or self._products is None:
            dimension = features.shape[1]
            self._sum = features.new_zeros(dimension)
            self._products = features.new_zeros(dimension, dimension)
        self.count += len(features)
        self._sum += features.sum(0)
        self._products.addmm_(features.T, features)

    def gather(self, dimension: int) -> tuple[int, Tensor, Tensor]:
        """Count, mean (D,) and unbiased covariance (D, D) over all processes, on the CPU.

        Every process must call it. Mean and covariance are NaN for fewer than two vectors.

        Args:
            dimension: D, which a process without features could not know.
        """
        if self._sum is None or self._products is None:
            packed = torch.zeros(1 + dimension + dimension**2, dtype=torch.float64)
        else:
            count = self._sum.new_tensor([float(self.count)])
            packed = torch.cat([count, self._sum, self._products.flatten()])
        packed = all_reduce_sum(packed)
        total, products = packed[1 : 1 + dimension], packed[1 + dimension :].view(dimension, dimension)
        count = packed[0]
        mean = total / count
        covariance = (products - count * torch.outer(mean, mean)) / (count - 1)
        return int(count), mean, covariance


def frechet_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """Squared Fréchet (Wasserstein-2) distance of two Gaussians (Dowson and Landau 1982; Heusel et al. 2017, Eq. 6).

    ``|μ1 − μ2|² + tr(C1 + C2 − 2 (C1 C2)^½)``. The trace of the root is the sum of the roots of the eigenvalues of
    the symmetric ``C1^½ C2 C1^½``: they are those of ``C1 C2``, and come out real for singular covariances too.

    Args:
        mean1, mean2: (D,) float64.
        covariance1, covariance2: (D, D) float64, symmetric and positive semidefinite but for rounding.
    """
    values, vectors = torch.linalg.eigh(covariance1)
    root = vectors * values.clamp(min=0).sqrt()
    product = torch.linalg.eigvalsh(root.T @ covariance2 @ root).clamp(min=0)
    trace = covariance1.trace() + covariance2.trace() - 2 * product.sqrt().sum()
    return float((mean1 - mean2).square().sum() + trace)
