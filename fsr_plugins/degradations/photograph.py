"""Small pictures of stored ones: a degradation applied to uint8 images in batches, each by its own seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from fsr_plugins.degradations.base import Degradation

Image = npt.NDArray[np.uint8]

#: Images degraded in one go: more is no faster on a core, and larger images still fit the memory.
BATCH = 64


@torch.inference_mode()
def photograph(degradation: Degradation, images: Image, seeds: npt.NDArray[np.int64]) -> Image:
    """Degrades images of one size; image i depends on its pixels and ``seeds[i]`` alone, whatever else is given.

    Args:
        degradation: What makes them small; on the CPU.
        images: uint8 (N, H, W, 3), RGB; ``degradation.scale`` divides the sides.
        seeds: (N,).

    Returns:
        uint8 (N, H / scale, W / scale, 3), RGB.

    Raises:
        UserError: the scale does not divide the sides.
    """
    parts = []
    for start in range(0, len(images), BATCH):
        chosen = slice(start, start + BATCH)
        gt = torch.from_numpy(np.ascontiguousarray(images[chosen].transpose(0, 3, 1, 2))).float().div_(255)
        lq = degradation(gt, torch.from_numpy(seeds[chosen].astype(np.int64)))
        parts.append(lq.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).contiguous().numpy())
    return np.concatenate(parts)


def scaled_points(points: npt.NDArray[np.float32], scale: int) -> npt.NDArray[np.float32]:
    """Landmarks of an image in the pixels of one ``scale`` times smaller; pixel centres are whole numbers."""
    return ((points + 0.5) / scale - 0.5).astype(np.float32)
