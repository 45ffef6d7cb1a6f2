"""The networks of PKDN: two auto-encoders of one layout, a teacher that sees the parsing map and a student without.

Yang et al., "Prior Knowledge Distillation Network for Face Super-Resolution", Sec. 3.1 to 3.3.

Layers on which the paper is silent follow KDFSRNet, on which it builds, and FishFSRNet, from which it takes its blocks;
the README of this method lists them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.degradations.bicubic import imresize
from fsr_plugins.methods.pkdn.blocks import FFB, PFB, RCAG, PFBGroup, part_codes
from fsr_plugins.registry import ARCH_REGISTRY


class AutoEncoder(nn.Module):
    """What teacher and student share: LR enlarged to SR's size, halved ``num_down`` times, doubled as often.

    ::

        head    conv 3x3 to C
        stage   pixel unshuffle by 2, conv 3x3 4C to C; body               num_down times
        bottleneck                                      body
        stage   conv 3x3 C to 4C, pixel shuffle by 2; FFB or nothing; body      num_down times
        tail    conv 3x3 to RGB

    An FFB is given the encoder's feature of its size: what left the stage above, or the head.

    Args:
        make_body: builds the blocks of one stage.
        num_head_ch: channels that the head takes.
        num_feat: channels C of every feature.
        num_down: halvings.
        scale: of SR against LR.
        pre_upsample: how LR is enlarged.
        global_skip: the network adds to the enlarged LR, instead of making the image anew.
        make_ffb: builds the FFB of one stage; None for none.

    Raises:
        ValueError: ``pre_upsample`` is unknown.
    """

    def __init__(
        self,
        make_body: Callable[[], nn.Module],
        *,
        num_head_ch: int,
        num_feat: int,
        num_down: int,
        scale: int,
        pre_upsample: str,
        global_skip: bool,
        make_ffb: Callable[[], nn.Module] | None,
    ) -> None:
        super().__init__()
        if pre_upsample not in ('bicubic', 'bilinear', 'nearest'):
            raise ValueError(f"pre_upsample must be 'bicubic', 'bilinear' or 'nearest', not '{pre_upsample}'.")
        self.scale = scale
        self.num_down = num_down
        self.pre_upsample = pre_upsample
        self.global_skip = global_skip
        stages = range(num_down)
        self.head = nn.Conv2d(num_head_ch, num_feat, 3, padding=1)
        self.down = nn.ModuleList(
            nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * num_feat, num_feat, 3, padding=1)) for _ in stages
        )
        self.encoder = nn.ModuleList(make_body() for _ in stages)
        self.bottleneck = make_body()
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(num_feat, 4 * num_feat, 3, padding=1), nn.PixelShuffle(2)) for _ in stages
        )
        self.fusion = nn.ModuleList(make_ffb() for _ in stages) if make_ffb else None
        self.decoder = nn.ModuleList(make_body() for _ in stages)
        self.tail = nn.Conv2d(num_feat, 3, 3, padding=1)

    def enlarge(self, lq: Tensor) -> Tensor:
        """LR at SR's size, (N, 3, h, w) to (N, 3, scale * h, scale * w); bicubic is MATLAB's and overshoots at edges.

        Raises:
            ValueError: SR's sides are no multiples of ``2 ** num_down``.
        """
        size = (lq.shape[2] * self.scale, lq.shape[3] * self.scale)
        if size[0] % 2**self.num_down or size[1] % 2**self.num_down:
            raise ValueError(
                f'{type(self).__name__} halves its input {self.num_down} times: height and width of the SR image must '
                f'be multiples of {2**self.num_down}, not {size[0]}x{size[1]}.'
            )
        if self.pre_upsample == 'bicubic':
            return imresize(lq, scale=self.scale)
        aligned = {'align_corners': False} if self.pre_upsample == 'bilinear' else {}
        return F.interpolate(lq, size=size, mode=self.pre_upsample, **aligned)

    def run(self, image: Tensor, prior: Tensor | None, *given: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The image and the feature that leaves each stage, in order: down, bottleneck, up.

        Args:
            image: (N, 3, H, W) RGB, enlarged.
            prior: what the head sees beside it, (N, c, H, W), or None.
            given: what every body takes beside the feature.
        """
        feature = self.head(image if prior is None else torch.cat([image, prior], dim=1))
        kept, features = [], []
        for down, body in zip(self.down, self.encoder, strict=True):
            kept.append(feature)
            feature = body(down(feature), *given)
            features.append(feature)
        feature = self.bottleneck(feature, *given)
        features.append(feature)
        for stage, (up, body) in enumerate(zip(self.up, self.decoder, strict=True)):
            feature = up(feature)
            if self.fusion is not None:
                feature = self.fusion[stage](feature, kept[-1 - stage])
            feature = body(feature, *given)
            features.append(feature)
        sr = self.tail(feature)
        return (image + sr if self.global_skip else sr), features


@ARCH_REGISTRY.register()
class PKDNStudent(AutoEncoder):
    """The student (Sec. 3.2): LR alone to SR, an RCAG in each stage.

    Args:
        num_feat: channels of every feature; the teacher's, so that features can be compared.
        num_block: RCABs of an RCAG.
        squeeze_factor: of their channel attention.
        num_down: halvings; the teacher's.
        scale: of SR against LR.
        pre_upsample: ``bicubic``, ``bilinear`` or ``nearest``: how LR is enlarged before the network.
        student_ffb: FFBs in the decoder, as the teacher's.
        reduction: of the FFBs' channel gates.
        ffb_residual: see :class:`FFB`.
        global_skip: the network adds to the enlarged LR.

    Shape: (N, 3, h, w) RGB in [0, 1] to (N, 3, scale * h, scale * w), not clamped.

    Raises:
        ValueError: an argument that is not one of those above.
    """

    def __init__(
        self,
        num_feat: int = 64,
        num_block: int = 6,
        squeeze_factor: int = 16,
        num_down: int = 4,
        scale: int = 8,
        pre_upsample: Literal['bicubic', 'bilinear', 'nearest'] = 'bicubic',
        student_ffb: bool = False,
        reduction: int = 4,
        ffb_residual: bool = True,
        global_skip: bool = False,
    ) -> None:
        super().__init__(
            lambda: RCAG(num_feat, num_block, squeeze_factor),
            num_head_ch=3,
            num_feat=num_feat,
            num_down=num_down,
            scale=scale,
            pre_upsample=pre_upsample,
            global_skip=global_skip,
            make_ffb=(lambda: FFB(num_feat, reduction, ffb_residual)) if student_ffb else None,
        )

    def forward(self, lq: Tensor, with_features: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """SR, or with ``with_features`` SR and the feature of each stage: down, bottleneck, up."""
        sr, features = self.run(self.enlarge(lq), None)
        return (sr, features) if with_features else sr


@ARCH_REGISTRY.register()
class PKDNTeacher(AutoEncoder):
    """The teacher (Sec. 3.1): LR and the parsing map of HR to SR, PFBs in each stage, FFBs in the decoder.

    Args:
        num_feat, squeeze_factor, num_down, scale, pre_upsample, reduction, ffb_residual, global_skip: see
            :class:`PKDNStudent`; ``squeeze_factor`` is for RCAGs, ``reduction`` for PFBs and FFBs.
        num_block: PFBs, or RCABs of an RCAG, in each stage.
        teacher_block: ``pfb``, or ``rcag`` for the student's blocks (Table 2, without PFB).
        use_ffb: FFBs in the decoder (Table 2).
        parsing_format: ``rgb`` or ``onehot``, see :func:`part_codes`.
        concat_parsing_head: the head sees the map beside the image, as in KDFSRNet. The only way for the map into a
            teacher of RCAGs: without it such a teacher takes no notice of the map.

    Raises:
        ValueError: an argument that is not one of those above.
    """

    codes: Tensor

    def __init__(
        self,
        num_feat: int = 64,
        num_block: int = 2,
        squeeze_factor: int = 16,
        num_down: int = 4,
        scale: int = 8,
        pre_upsample: Literal['bicubic', 'bilinear', 'nearest'] = 'bicubic',
        teacher_block: Literal['pfb', 'rcag'] = 'pfb',
        use_ffb: bool = True,
        reduction: int = 4,
        ffb_residual: bool = True,
        parsing_format: Literal['rgb', 'onehot'] = 'rgb',
        concat_parsing_head: bool = False,
        global_skip: bool = False,
    ) -> None:
        if teacher_block not in ('pfb', 'rcag'):
            raise ValueError(f"teacher_block must be 'pfb' or 'rcag', not '{teacher_block}'.")
        codes = part_codes(parsing_format)
        prior_ch = codes.shape[1]

        def make_body() -> nn.Module:
            if teacher_block == 'rcag':
                return RCAG(num_feat, num_block, squeeze_factor)
            return PFBGroup(PFB(num_feat, prior_ch, reduction) for _ in range(num_block))

        super().__init__(
            make_body,
            num_head_ch=3 + (prior_ch if concat_parsing_head else 0),
            num_feat=num_feat,
            num_down=num_down,
            scale=scale,
            pre_upsample=pre_upsample,
            global_skip=global_skip,
            make_ffb=(lambda: FFB(num_feat, reduction, ffb_residual)) if use_ffb else None,
        )
        self.teacher_block = teacher_block
        self.concat_parsing_head = concat_parsing_head
        self.register_buffer('codes', codes, persistent=False)

    def forward(self, lq: Tensor, parsing: Tensor, with_features: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """SR, or with ``with_features`` SR and the feature of each stage: down, bottleneck, up.

        Args:
            lq: (N, 3, h, w) RGB in [0, 1].
            parsing: (N, scale * h, scale * w) integer CelebAMask-HQ ids, 0 to 18.

        Raises:
            ValueError: the maps are not of SR's size.
        """
        image = self.enlarge(lq)
        if parsing.shape != (image.shape[0], *image.shape[2:]):
            raise ValueError(
                f'PKDNTeacher got parsing maps of the shape {tuple(parsing.shape)} for SR images of '
                f'{tuple(image.shape)}: (N, H, W) of the same N, H and W is needed.'
            )
        prior = F.embedding(parsing.long(), self.codes).permute(0, 3, 1, 2)
        given = (prior,) if self.teacher_block == 'pfb' else ()
        sr, features = self.run(image, prior if self.concat_parsing_head else None, *given)
        return (sr, features) if with_features else sr
