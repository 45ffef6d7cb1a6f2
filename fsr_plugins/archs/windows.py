"""Networks that look through windows (SwinIR and its kind) take sides that are multiples of the window alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


def window_of(net: object) -> int:
    """What the sides of LR must be multiples of: the least common multiple of all ``window_size`` in it; 1 without.

    A network that says by ``pads`` that it takes images of any size does the same by itself: 1.
    """
    if getattr(net, 'pads', False):
        return 1
    found = (getattr(module, 'window_size', None) for module in net.modules()) if isinstance(net, nn.Module) else ()
    return math.lcm(*(size for size in found if type(size) is int and size > 0))


def enlarge(net: Callable[[Tensor], Tensor], lq: Tensor) -> Tensor:
    """The network's enlargement of images of any size.

    As BasicSR's ``SwinIRModel`` tests: LR is continued at the right and below by reflection to whole windows, and what
    was made of that is cut away. Where an image is too small to be reflected so far, its last row and column are
    repeated.

    Args:
        net: from LR to SR.
        lq: (N, C, H, W).

    Returns:
        (N, C, sH, sW), s being how many times the network enlarges.
    """
    height, width = lq.shape[-2:]
    window = window_of(net)
    below, right = -height % window, -width % window
    if not (below or right):
        return net(lq)
    mode = 'reflect' if below < height and right < width else 'replicate'
    sr = net(F.pad(lq, (0, right, 0, below), mode))
    scale = sr.shape[-1] // (width + right)
    return sr[..., : scale * height, : scale * width]
