"""Linear regression as a network: the least that a method has to beat on faces that lie alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.errors import UserError
from fsr_plugins.registry import ARCH_REGISTRY

#: Numbers of the larger factor beyond which it is kept in half precision.
_LARGE = 1 << 22


@ARCH_REGISTRY.register()
class LinearFace(nn.Module):
    """Every value of SR is the mean face's plus a weighted sum of all values of LR, by a matrix of low rank.

    SR = m + U D (LR − l), with D (rank, LR values) and U (SR values, rank). With rank 0 it is the mean face. It learns
    by :class:`~fsr_plugins.models.LinearModel`, not by gradients, so it has buffers and no parameters.

    Args:
        size: height and width of LR, or one number for both.
        scale: how many times it enlarges.
        rank: of the matrix; 0: the mean face whatever LR is.
        num_ch: channels of LR and SR.

    Raises:
        UserError: a size, scale or rank that is none.
    """

    mean_lq: Tensor
    mean_gt: Tensor
    down: Tensor
    up: Tensor

    def __init__(self, size: int | list[int] = 16, scale: int = 8, rank: int = 512, num_ch: int = 3) -> None:
        super().__init__()
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width, scale, num_ch) < 1 or rank < 0:
            raise UserError(f'LinearFace: size {size}, scale {scale}, rank {rank}, num_ch {num_ch}: too small.')
        self.lq_shape = num_ch, height, width
        self.gt_shape = num_ch, height * scale, width * scale
        inputs, outputs = num_ch * height * width, num_ch * height * width * scale**2
        self.rank = min(rank, inputs)
        kept = torch.float16 if outputs * self.rank > _LARGE else torch.float32
        self.register_buffer('mean_lq', torch.zeros(inputs))
        self.register_buffer('mean_gt', torch.full((outputs,), 0.5))
        self.register_buffer('down', torch.zeros(self.rank, inputs))
        self.register_buffer('up', torch.zeros(outputs, self.rank, dtype=kept))

    def forward(self, lq: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C, scale h, scale w), float32.

        Raises:
            UserError: LR of another size.
        """
        if lq.shape[1:] != self.lq_shape:
            raise UserError(f'LinearFace is for LR of {self.lq_shape}, not of {tuple(lq.shape[1:])}.')
        with torch.autocast(lq.device.type, enabled=False):
            known = F.linear(lq.float().flatten(1) - self.mean_lq, self.down)
            sr = F.linear(known.to(self.up.dtype), self.up) if lq.is_cuda else F.linear(known, self.up.float())
            return (sr.float() + self.mean_gt).view(-1, *self.gt_shape)
