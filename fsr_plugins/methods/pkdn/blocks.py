"""The blocks of PKDN's networks, and what stands for a parsing map in them.

Yang et al., "Prior Knowledge Distillation Network for Face Super-Resolution", Sec. 3.1 to 3.3; widths and gates as in
KDFSRNet and FishFSRNet, see the README of this method.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.attention import ChannelGate, SpatialGate, check_reduction

from basicsr.archs.arch_util import ResidualBlockNoBN  # isort: skip
from basicsr.archs.rcan_arch import RCAB  # isort: skip

#: Parts of a face in a parsing map, CelebAMask-HQ's ids 0 (background) to 18.
NUM_PARTS = 19


def part_codes(parsing_format: str) -> Tensor:
    """What stands for each part of the face in the input of the teacher.

    Args:
        parsing_format: ``rgb``, a colour for each part: the bits of its id, spread over red, green and blue from the
            highest bit down (the palette of PASCAL VOC); or ``onehot``, a channel for each part.

    Returns:
        (19, 3) in [0, 1], or (19, 19) in {0, 1}; float32.

    Raises:
        ValueError: another format.
    """
    if parsing_format == 'onehot':
        return torch.eye(NUM_PARTS)
    if parsing_format != 'rgb':
        raise ValueError(f"parsing_format must be 'rgb' or 'onehot', not '{parsing_format}'.")
    parts, channels = torch.arange(NUM_PARTS)[:, None], torch.arange(3)
    levels = [((parts >> (3 * bit + channels)) & 1) << (7 - bit) for bit in range(8)]
    return torch.stack(levels).sum(dim=0) / 255


class RCAG(nn.Sequential):
    """Residual channel attention group: RCABs (Zhang et al. 2018) in sequence, without a convolution or skip around.

    Args:
        num_feat: channels C.
        num_block: RCABs.
        squeeze_factor: of their channel attention.

    Shape: (N, C, H, W) to (N, C, H, W).

    Raises:
        ValueError: ``squeeze_factor`` leaves no channel.
    """

    def __init__(self, num_feat: int, num_block: int, squeeze_factor: int) -> None:
        check_reduction(num_feat, squeeze_factor)
        super().__init__(*(RCAB(num_feat, squeeze_factor) for _ in range(num_block)))


class PFB(nn.Module):
    """Parsing map fusion block (Sec. 3.3, Fig. 3): the feature refined by the face's parts.

    Feature and map, resized to its grid, are projected by a convolution each and fused by another; a channel gate and a
    spatial gate beside each other refine the fusion; a 1x1 convolution joins what they give, and the feature is added.

    Args:
        num_feat: channels C.
        num_prior_ch: channels of the map.
        reduction: of the channel gate.
    """

    def __init__(self, num_feat: int, num_prior_ch: int, reduction: int) -> None:
        super().__init__()
        self.project_feature = nn.Sequential(nn.Conv2d(num_feat, num_feat, 3, padding=1), nn.ReLU())
        self.project_prior = nn.Sequential(nn.Conv2d(num_prior_ch, num_feat, 3, padding=1), nn.ReLU())
        self.fuse = nn.Conv2d(2 * num_feat, num_feat, 3, padding=1)
        self.channel_gate = ChannelGate(num_feat, reduction)
        self.spatial_gate = SpatialGate(num_feat)
        self.join = nn.Conv2d(2 * num_feat, num_feat, 1)

    def forward(self, feature: Tensor, prior: Tensor) -> Tensor:
        """(N, C, H, W) and the map (N, num_prior_ch, H', W') of any size to (N, C, H, W)."""
        prior = F.interpolate(prior, size=feature.shape[2:], mode='nearest')
        fused = self.fuse(torch.cat([self.project_feature(feature), self.project_prior(prior)], dim=1))
        return feature + self.join(torch.cat([self.channel_gate(fused), self.spatial_gate(fused)], dim=1))


class PFBGroup(nn.ModuleList):
    """The PFBs of one stage, in sequence, each given the map: the teacher's counterpart of :class:`RCAG`."""

    def forward(self, feature: Tensor, prior: Tensor) -> Tensor:
        """As :meth:`PFB.forward`."""
        for block in self:
            feature = block(feature, prior)
        return feature


class FFB(nn.Module):
    """Feature fusion block (Sec. 3.1, Fig. 2): a decoder feature F takes up what the encoder's F_p of its size kept.

    ``CA(F + Proj(F - F_p))``, and F again where ``residual``; Proj is two residual blocks, CA the channel gate.

    Args:
        num_feat: channels C.
        reduction: of the channel gate.
        residual: add F at the end, as FishFSRNet does.
    """

    def __init__(self, num_feat: int, reduction: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.project = nn.Sequential(ResidualBlockNoBN(num_feat), ResidualBlockNoBN(num_feat))
        self.gate = ChannelGate(num_feat, reduction)

    def forward(self, feature: Tensor, kept: Tensor) -> Tensor:
        """F and F_p, (N, C, H, W) each, to (N, C, H, W)."""
        fused = self.gate(feature + self.project(feature - kept))
        return feature + fused if self.residual else fused
