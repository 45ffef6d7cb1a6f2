"""Sending photographs of many sizes through a network: those of one size together, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fsr_plugins.faces.protocol import Image, Images


def batches(images: Images, most: int, pixels: int) -> Iterator[tuple[list[int], Image]]:
    """Batches of equal images: (their places in the sequence, uint8 (n, H, W, 3)).

    A batch has at most ``most`` images and ``pixels`` pixels; an image of more pixels comes alone. Every image comes
    once, those of one size in their order.
    """
    places: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        places.setdefault(image.shape, []).append(place)
    for (height, width, _), group in places.items():
        step = max(1, min(most, pixels // (height * width)))
        for start in range(0, len(group), step):
            chosen = group[start : start + step]
            yield chosen, np.stack([images[place] for place in chosen])


def to_tensor(images: Image, device: torch.device) -> Tensor:
    """uint8 (N, H, W, 3) as float32 NCHW in [0, 255] on ``device``."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()
