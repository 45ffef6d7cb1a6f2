"""The networks of TSNet: one SR network for TNet and SNet, one down-sampling network for DeNet and DSNet.

Liu & Zhang, "Teacher-Student Network for Real-World Face Super-Resolution with Progressive Embedding of Edge
Information", Sec. 2.2.

Widths and kernels on which the paper is silent follow the works it builds on; the README of this method lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.feedback import FeedbackBlock, conv_prelu, deconv_prelu
from fsr_plugins.edges import canny, canny_cv2, dog
from fsr_plugins.registry import ARCH_REGISTRY

#: What an iteration may be given of the image before: nothing, its Canny edges, its difference of Gaussians.
PRIORS = ('none', 'canny', 'dog')


class SFE(nn.Sequential):
    """Shallow feature extractor: a 3x3 convolution to 4C channels and a pixel shuffle by 2.

    Shape: (N, num_in_ch, h, w) to (N, C, 2h, 2w).
    """

    def __init__(self, num_in_ch: int, num_feat: int) -> None:
        super().__init__(conv_prelu(num_in_ch, 4 * num_feat, 3), nn.PixelShuffle(2))


class PERB(nn.Module):
    """Prior-embedded recurrent block: shallow feature, feedback feature and prior to the next feedback feature.

    A 1x1 convolution fuses what an iteration is given; the first iteration (the shallow feature alone) and each kind of
    prior have their own. The 3x3 convolution and the feedback block after it are the same in every iteration.

    Args:
        num_feat: channels C of the features.
        num_groups, feedback_factor: see :class:`FeedbackBlock`.
        priors: the kind of prior of each iteration.
        prior_channels: channels of a prior on the grid of the features.
    """

    def __init__(
        self, num_feat: int, num_groups: int, feedback_factor: int, priors: Sequence[str], prior_channels: int
    ) -> None:
        super().__init__()
        self.fuse_first = conv_prelu(num_feat, num_feat, 1)
        self.fuse_prior = nn.ModuleDict(
            {
                prior: conv_prelu(2 * num_feat + (0 if prior == 'none' else prior_channels), num_feat, 1)
                for prior in dict.fromkeys(priors[1:])
            }
        )
        self.fuse = conv_prelu(num_feat, num_feat, 3)
        self.feedback = FeedbackBlock(num_feat, num_groups, feedback_factor)

    def first(self, shallow: Tensor) -> Tensor:
        """Iteration 1, without prior and hidden state: (N, C, H, W) to (N, C, H, W)."""
        return self.feedback(self.fuse(self.fuse_first(shallow)))

    def forward(self, shallow: Tensor, feedback: Tensor, prior: str, edges: list[Tensor]) -> Tensor:
        """A later iteration; ``edges`` holds the map of the ``prior``, or nothing for ``none``. (N, C, H, W) each."""
        fused = self.fuse_prior[prior](torch.cat([shallow, feedback, *edges], dim=1))
        return self.feedback(self.fuse(fused))


class RECB(nn.Sequential):
    """Reconstruction block: a deconvolution by the rest of the scale and a 3x3 convolution to the residual image.

    Shape: (N, C, H, W) to (N, num_out_ch, factor * H, factor * W).
    """

    def __init__(self, num_feat: int, num_out_ch: int, factor: int) -> None:
        super().__init__(deconv_prelu(num_feat, num_feat, factor), nn.Conv2d(num_feat, num_out_ch, 3, padding=1))


@ARCH_REGISTRY.register()
class TSNetSR(nn.Module):
    """TNet and SNet: a recurrent SR network that sees the edges of its own last image (Sec. 2.2, Fig. 2).

    Iteration t makes ``I_t = RECB(F_t) + bilinear(I_LR)`` (Eq. 1) of the feedback feature
    ``F_t = PERB(F_sf, F_(t-1), prior)``, where the prior is read from ``I_(t-1)``, detached and clamped to [0, 1], and
    folded to the features' grid. All weights but the priors' 1x1 fusions are shared between iterations.

    Args:
        num_in_ch: image channels, 3 (RGB).
        num_feat: channels C of every feature.
        num_groups: projection groups G of the feedback block.
        feedback_factor: up- and down-projection inside the feedback block, 4 or 2.
        scale: 2, 4 or 8; the pixel shuffle takes 2 of it, the deconvolution the rest.
        priors: one of ``none``, ``canny``, ``dog`` for each iteration; the first must be ``none``. Its length is the
            number of iterations. Table 3 compares ``[none, none, none]`` (baseline) and ``[none, canny, none]``.
        canny: ``cv2`` (OpenCV, as the paper, on the CPU) or ``device`` (batched where the image is).
        canny_thresholds: low and high, on the 0..255 scale.
        dog_sigmas: standard deviations of the two Gaussians in pixels.

    Shape: (N, 3, h, w) RGB in [0, 1] to (N, 3, scale * h, scale * w), not clamped.

    Raises:
        ValueError: a scale, prior, factor or edge detector that is not one of those above, thresholds or deviations
            that are none.
    """

    def __init__(
        self,
        num_in_ch: int = 3,
        num_feat: int = 48,
        num_groups: int = 6,
        feedback_factor: int = 4,
        scale: int = 4,
        priors: Sequence[str] = ('none', 'canny', 'dog'),
        canny: Literal['cv2', 'device'] = 'cv2',
        canny_thresholds: Sequence[float] = (100, 200),
        dog_sigmas: Sequence[float] = (1.0, 1.6),
    ) -> None:
        super().__init__()
        if scale not in (2, 4, 8):
            raise ValueError(f'TSNetSR enlarges 2, 4 or 8 times, not {scale}.')
        if not priors or priors[0] != 'none' or not set(priors) <= set(PRIORS):
            raise ValueError(
                f"priors must be among {PRIORS} for each iteration, 'none' for the first; got {list(priors)}."
            )
        if canny not in ('cv2', 'device'):
            raise ValueError(f"canny must be 'cv2' or 'device', not '{canny}'.")
        self.scale = scale
        self.priors = tuple(priors)
        self.canny = canny
        if len(canny_thresholds) != 2 or not 0 <= canny_thresholds[0] <= canny_thresholds[1]:
            raise ValueError(
                f'canny_thresholds must be [low, high] with 0 <= low <= high, not {list(canny_thresholds)}.'
            )
        if len(dog_sigmas) != 2 or not min(dog_sigmas) > 0:
            raise ValueError(f'dog_sigmas must be two numbers above 0, not {list(dog_sigmas)}.')
        self.canny_thresholds = (canny_thresholds[0], canny_thresholds[1])
        self.dog_sigmas = tuple(dog_sigmas)
        self.sfe = SFE(num_in_ch, num_feat)
        self.perb = PERB(num_feat, num_groups, feedback_factor, self.priors, prior_channels=(scale // 2) ** 2)
        self.recb = RECB(num_feat, num_in_ch, scale // 2)

    def forward(self, lq: Tensor, all_iterations: bool = False) -> Tensor | list[Tensor]:
        """The last image, or with ``all_iterations`` the list of the images of every iteration."""
        base = F.interpolate(lq, scale_factor=float(self.scale), mode='bilinear', align_corners=False)
        shallow = self.sfe(lq)
        feedback = self.perb.first(shallow)
        images = [base + self.recb(feedback)]
        for prior in self.priors[1:]:
            feedback = self.perb(shallow, feedback, prior, self.edges(prior, images[-1]))
            images.append(base + self.recb(feedback))
        return images if all_iterations else images[-1]

    @torch.no_grad()
    def edges(self, prior: str, image: Tensor) -> list[Tensor]:
        """The ``prior`` of an image on the grid of the features; an empty list for ``none``.

        Canny is not differentiable, so no gradient passes through any prior.

        Args:
            prior: one of :data:`PRIORS`.
            image: (N, C, H, W), clamped here to [0, 1].

        Returns:
            [(N, (scale / 2)^2, 2 H / scale, 2 W / scale)], Canny in {0, 1}, DoG signed.
        """
        if prior == 'none':
            return []
        image = image.detach().clamp(0, 1)
        if prior == 'dog':
            edges = dog(image, *self.dog_sigmas)
        else:
            low, high = self.canny_thresholds
            edges = canny_cv2(image, low, high) if self.canny == 'cv2' else canny(image, low, high)
        return [F.pixel_unshuffle(edges, self.scale // 2)]


class ResidualBlock(nn.Module):
    """Convolution, PReLU, convolution and the skip (He et al. 2016, without normalisation), at one size."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_prelu(num_feat, num_feat, 3), nn.Conv2d(num_feat, num_feat, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return x + self.body(x)


@ARCH_REGISTRY.register()
class TSNetDown(nn.Module):
    """DeNet and DSNet: a high-resolution image to a low-resolution one as the camera would see it (Sec. 2.2).

    A convolution and residual blocks at high resolution, one stride-2 convolution for each halving, a convolution to
    the image and a sigmoid.

    Args:
        num_in_ch: image channels, 3 (RGB).
        num_feat: channels of every feature.
        num_block: residual blocks.
        scale: reduction, a power of two.

    Shape: (N, 3, H, W) RGB in [0, 1], H and W multiples of ``scale``, to (N, 3, H / scale, W / scale) in (0, 1).

    Raises:
        ValueError: ``scale`` is not a power of two.
    """

    def __init__(self, num_in_ch: int = 3, num_feat: int = 64, num_block: int = 16, scale: int = 4) -> None:
        super().__init__()
        if scale < 2 or scale & (scale - 1):
            raise ValueError(f'TSNetDown reduces by a power of two (2, 4, 8 ...), not by {scale}.')
        self.head = conv_prelu(num_in_ch, num_feat, 3)
        self.body = nn.Sequential(*(ResidualBlock(num_feat) for _ in range(num_block)))
        halvings = scale.bit_length() - 1
        self.down = nn.Sequential(*(conv_prelu(num_feat, num_feat, 3, stride=2) for _ in range(halvings)))
        self.tail = nn.Conv2d(num_feat, num_in_ch, 3, padding=1)

    def forward(self, hr: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 3, H / scale, W / scale)."""
        return torch.sigmoid(self.tail(self.down(self.body(self.head(hr)))))
