"""The feedback block of SRFBN (Li et al., "Feedback Network for Image Super-Resolution", CVPR 2019, Sec. 3.3).

No normalisation; every convolution is followed by a PReLU with one slope, as there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fsr_plugins.archs.prelu import PReLU

#: Up- and down-projection by a factor: kernel, stride, padding. With k = stride + 2 * padding sizes come out exact.
PROJECTION = {1: (3, 1, 1), 2: (6, 2, 2), 4: (8, 4, 2), 8: (12, 8, 2)}


def projection(factor: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of an up- or down-projection by ``factor``.

    Raises:
        ValueError: no projection is defined for the factor.
    """
    if factor not in PROJECTION:
        raise ValueError(f'The up-projection factor must be one of {sorted(PROJECTION)}, not {factor}.')
    return PROJECTION[factor]


def conv_prelu(num_in: int, num_out: int, kernel: int, stride: int = 1, padding: int | None = None) -> nn.Sequential:
    """A convolution and its PReLU; ``padding`` keeps the size at stride 1 by default."""
    padding = kernel // 2 if padding is None else padding
    return nn.Sequential(nn.Conv2d(num_in, num_out, kernel, stride, padding), PReLU(init=0.2))


def deconv_prelu(num_in: int, num_out: int, factor: int) -> nn.Sequential:
    """An up-projection (transposed convolution) by ``factor`` and its PReLU."""
    return nn.Sequential(nn.ConvTranspose2d(num_in, num_out, *projection(factor)), PReLU(init=0.2))


class FeedbackBlock(nn.Module):
    """Projection groups with dense 1x1 transitions, without the block's first 1x1 convolution ``compress_in``.

    Group g reduces all low-resolution features so far to C channels, up-projects them, reduces all high-resolution
    features so far to C channels and down-projects those (Eq. 6 and 7 of SRFBN). ``compress_out`` fuses the G
    down-projections (Eq. 8). The caller joins the hidden state to the input, as ``compress_in`` does there (Eq. 5).

    Args:
        num_feat: channels C of every feature.
        num_groups: projection groups G.
        factor: the projections' factor; see :data:`PROJECTION`.

    Shape: (N, C, H, W) float in, (N, C, H, W) out.
    """

    def __init__(self, num_feat: int, num_groups: int, factor: int) -> None:
        super().__init__()
        kernel, stride, padding = projection(factor)
        groups = range(num_groups)
        self.up_trans = nn.ModuleList(conv_prelu((g + 1) * num_feat, num_feat, 1) for g in groups if g)
        self.up = nn.ModuleList(deconv_prelu(num_feat, num_feat, factor) for _ in groups)
        self.down_trans = nn.ModuleList(conv_prelu((g + 1) * num_feat, num_feat, 1) for g in groups if g)
        self.down = nn.ModuleList(conv_prelu(num_feat, num_feat, kernel, stride, padding) for _ in groups)
        self.compress_out = conv_prelu(num_groups * num_feat, num_feat, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        low, high = [x], []
        for group, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            high.append(up(self.up_trans[group - 1](torch.cat(low, dim=1)) if group else x))
            low.append(down(self.down_trans[group - 1](torch.cat(high, dim=1)) if group else high[0]))
        return self.compress_out(torch.cat(low[1:], dim=1))
