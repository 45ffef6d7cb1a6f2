"""ESPCN with a residual body: everything is computed at the size of the LR, several times as cheaply as by SRResNet.

Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", CVPR 2016, eq. 3 and 4 (the enlargement); Ledig et al., CVPR 2017, Fig. 4 (the residual blocks).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.prelu import PReLU
from fsr_plugins.archs.srgan import SLOPE, SRResNetBlock, initialise
from fsr_plugins.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class ResidualESPCN(nn.Module):
    """SRResNet's residual blocks at LR size, and ESPCN's one sub-pixel convolution to HR.

    A convolution, residual blocks without BN, a 3x3 convolution and a skip around all of them, a 3x3 convolution to
    scale² values for each colour, a pixel shuffle, the bicubic enlargement of the LR added. SRResNet spends four fifths
    of its products at ×8 behind the first doubling; here they go into the body, where a face is understood.

    It begins close to the bicubic enlargement: He's weights for PReLU, no bias, a tenth of them where a block ends and
    in the last convolution. The scale² kernels of a colour begin alike, so it begins without a checkerboard.

    Args:
        scale: enlargement, 2 or more.
        num_feat: channels of the body.
        num_block: residual blocks.
        num_in_ch: channels of the LR and of the result.
        kernel_size: of the first convolution, odd.
        mirror: in evaluation the result is the mean of what is made of the LR and of its mirror image, at twice the
            products: of the eight of Timofte et al. ("Seven ways to improve example-based single image super
            resolution", CVPR 2016, Sec. 3.6) the two under which a face stays a face.

    Shape: (N, num_in_ch, h, w) RGB in [0, 1] to (N, num_in_ch, scale * h, scale * w); values may leave [0, 1].

    Raises:
        ValueError: ``scale`` below 2, or an even ``kernel_size``.
    """

    def __init__(
        self,
        scale: int = 4,
        num_feat: int = 64,
        num_block: int = 16,
        num_in_ch: int = 3,
        kernel_size: int = 9,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        if scale < 2:
            raise ValueError(f'ResidualESPCN enlarges by 2 or more, not by scale={scale}.')
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'kernel_size={kernel_size}: ResidualESPCN takes an odd number, so that sizes stay.')
        self.scale, self.mirror = scale, mirror
        self.head = nn.Sequential(
            nn.Conv2d(num_in_ch, num_feat, kernel_size, padding=kernel_size // 2), PReLU(num_feat, init=SLOPE)
        )
        self.body = nn.Sequential(
            *(SRResNetBlock(num_feat, use_bn=False) for _ in range(num_block)),
            nn.Conv2d(num_feat, num_feat, 3, padding=1),
        )
        self.up = nn.Conv2d(num_feat, num_in_ch * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)
        initialise(self, SLOPE)
        with torch.no_grad():
            for module in self.body:
                if isinstance(module, SRResNetBlock):
                    module.conv2.weight.mul_(0.1)
            alike = self.up.weight[:: scale**2].repeat_interleave(scale**2, dim=0)
            self.up.weight.copy_(0.1 * alike)

    def forward(self, lq: Tensor) -> Tensor:
        """(N, num_in_ch, h, w) to (N, num_in_ch, scale * h, scale * w)."""
        if not self.mirror or self.training:
            return self._enlarged(lq)
        return (self._enlarged(lq) + self._enlarged(lq.flip(3)).flip(3)) / 2

    def _enlarged(self, lq: Tensor) -> Tensor:
        feature = self.head(lq)
        detail = self.shuffle(self.up(feature + self.body(feature)))
        return detail + F.interpolate(lq, scale_factor=self.scale, mode='bicubic', align_corners=False)
