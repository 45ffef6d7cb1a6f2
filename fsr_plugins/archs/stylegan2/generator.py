"""StyleGAN2's generator, the decoder of methods that look for a face among those it can make.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, with skips (configuration F).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fsr_plugins.archs.stylegan2.layers import EqualLinear, PixelNorm, channels_of
from fsr_plugins.archs.stylegan2.modulation import ModulatedConv2d, StyleConv, ToRGB
from fsr_plugins.registry import ARCH_REGISTRY

_MAPPING_LR = 0.01
_CHUNK = 4096


class LatentStatistics(NamedTuple):
    """Mean and standard deviation of w, each (num_style_feat,) float32 on the decoder's device."""

    mean: Tensor
    std: Tensor


class ConstantInput(nn.Module):
    """The learned feature map of 4x4 pixels with which every image begins."""

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, num_feat, 4, 4))

    def forward(self, num: int) -> Tensor:
        """(num, num_feat, 4, 4)."""
        return self.weight.expand(num, -1, -1, -1)


@ARCH_REGISTRY.register()
class StyleGAN2Decoder(nn.Module):
    """StyleGAN2's generator: z to w by a mapping network, w to an image, one w for each of ``num_latent`` layers.

    Images are in about [0, 1] as everywhere in this toolkit (nothing is clamped); the networks that BasicSR and others
    have trained make [-1, 1], which is what ``raw=True`` gives and what the weights here are for as well: the image is
    ``raw / 2 + 1 / 2``. The parameters have BasicSR's names and shapes (``StyleGAN2Generator``), and a state also holds
    BasicSR's fixed noise. Files of other layouts: :func:`~fsr_plugins.archs.stylegan2.checkpoints.convert`.

    Args:
        size: height and width of the images in pixels, a power of two from 4 to 1024.
        num_style_feat: channels of z and w.
        num_mlp: layers of the mapping network; they learn at a hundredth of the others' rate.
        channel_multiplier: 2 for StyleGAN2's configuration F, 1 for half the channels from 64 pixels on.
        resample_kernel: taps of the filter.
        narrow: factor on all channels but ``num_style_feat``.
        grouped: :class:`~fsr_plugins.archs.stylegan2.modulation.ModulatedConv2d` with weights for every image.

    Shape: see :meth:`forward`.

    Raises:
        ValueError: another ``size``, or no channel left.
    """

    def __init__(
        self,
        size: int = 128,
        num_style_feat: int = 512,
        num_mlp: int = 8,
        channel_multiplier: int = 2,
        resample_kernel: Sequence[float] = (1, 3, 3, 1),
        narrow: float = 1.0,
        grouped: bool = False,
    ) -> None:
        super().__init__()
        channels = channels_of(size, channel_multiplier, narrow)
        self.size, self.num_style_feat = size, num_style_feat
        layers = (
            EqualLinear(num_style_feat, num_style_feat, lr_mul=_MAPPING_LR, activate=True) for _ in range(num_mlp)
        )
        self.style_mlp = nn.Sequential(PixelNorm(), *layers)

        self.constant_input = ConstantInput(channels[4])
        self.style_conv1 = StyleConv(channels[4], channels[4], num_style_feat, grouped=grouped)
        self.to_rgb1 = ToRGB(channels[4], num_style_feat, upsample=False, grouped=grouped)
        self.style_convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for side in list(channels)[1:]:
            num_in, num_out = channels[side // 2], channels[side]
            self.style_convs.append(StyleConv(num_in, num_out, num_style_feat, 'upsample', resample_kernel, grouped))
            self.style_convs.append(StyleConv(num_out, num_out, num_style_feat, None, resample_kernel, grouped))
            self.to_rgbs.append(ToRGB(num_out, num_style_feat, True, resample_kernel, grouped))
        self.noises = nn.Module()
        for place, noise in enumerate(self.make_noise()):
            self.noises.register_buffer(f'noise{place}', noise)

    @property
    def num_latent(self) -> int:
        """How many w an image has: 2 log2(size) - 2."""
        return 2 + 2 * len(self.to_rgbs)

    @property
    def num_layers(self) -> int:
        """How many convolutions get noise: num_latent - 1."""
        return 1 + len(self.style_convs)

    def make_noise(self, num: int = 1, generator: torch.Generator | None = None) -> list[Tensor]:
        """Noise for :meth:`forward`, drawn on the CPU and moved: one (num, 1, h, h) a layer, from 4x4 to the full size.

        Args:
            num: images; 1 serves a batch of any size with the same noise.
            generator: of the CPU; None: torch's own.
        """
        sides = [2 ** ((layer + 5) // 2) for layer in range(self.num_layers)]
        device = self.constant_input.weight.device
        return [torch.randn(num, 1, side, side, generator=generator).to(device) for side in sides]

    def no_noise(self) -> list[Tensor]:
        """What to give :meth:`forward` as ``noise`` for images without any: zeros that spread to every layer's size."""
        return [self.constant_input.weight.new_zeros(1, 1, 1, 1)] * self.num_layers

    def style(self, z: Tensor) -> Tensor:
        """The mapping network alone: z (..., num_style_feat), standard normal, to w of the same shape."""
        return self.style_mlp(z)

    @torch.no_grad()
    def latent_statistics(self, num: int = 100_000, generator: torch.Generator | None = None) -> LatentStatistics:
        """Mean and standard deviation (divided by num - 1) of w in each of its dimensions, over ``num`` drawn z.

        Args:
            num: at least 2.
            generator: of the CPU, so that every device draws the same; None: torch's own.

        Raises:
            ValueError: fewer than 2.
        """
        if num < 2:
            raise ValueError(f'The deviation of w needs at least 2 samples, not {num}.')
        device = self.constant_input.weight.device
        total = torch.zeros(2, self.num_style_feat, dtype=torch.float64, device=device)
        for begin in range(0, num, _CHUNK):
            z = torch.randn(min(_CHUNK, num - begin), self.num_style_feat, generator=generator)
            w = self.style(z.to(device)).double()
            total += torch.stack([w.sum(dim=0), w.square().sum(dim=0)])
        mean = total[0] / num
        variance = (total[1] - num * mean.square()).clamp(min=0) / (num - 1)
        return LatentStatistics(mean.float(), variance.sqrt().float())

    def style_affine_parameters(self) -> list[str]:
        """Names of the parameters that turn w into the convolutions' scales, weight and bias of each, in order."""
        return [
            f'{name}.modulation.{kind}'
            for name, module in self.named_modules()
            if isinstance(module, ModulatedConv2d)
            for kind in ('weight', 'bias')
        ]

    def latents(
        self,
        styles: Tensor | Sequence[Tensor],
        input_is_latent: bool = False,
        truncation: float = 1,
        truncation_latent: Tensor | None = None,
        inject_index: int | None = None,
    ) -> Tensor:
        """The w of every layer (N, num_latent, num_style_feat), of arguments as in :meth:`forward`.

        Raises:
            ValueError: no or more than two styles, shapes that do not fit, an ``inject_index`` outside
                [1, num_latent - 1], a truncation towards nothing.
        """
        both = [styles] if isinstance(styles, Tensor) else list(styles)
        if len(both) not in (1, 2):
            raise ValueError(f'StyleGAN2Decoder takes one style, or two to mix, not {len(both)}.')
        both = [self._every_layer(style, input_is_latent) for style in both]
        if truncation != 1:
            if truncation_latent is None:
                raise ValueError(f'truncation={truncation} needs truncation_latent, the mean of w.')
            both = [torch.lerp(truncation_latent.expand_as(style), style, truncation) for style in both]
        if len(both) == 1:
            return both[0]
        if inject_index is None:
            inject_index = int(torch.randint(1, self.num_latent, ()))
        if not 1 <= inject_index < self.num_latent:
            raise ValueError(f'inject_index={inject_index} is outside [1, {self.num_latent - 1}].')
        return torch.cat([both[0][:, :inject_index], both[1][:, inject_index:]], dim=1)

    def _every_layer(self, style: Tensor, is_latent: bool) -> Tensor:
        """z or w, one for an image or one for each of its layers, to w (N, num_latent, num_style_feat)."""
        one = style.ndim == 2
        # No set: a network that is traced has tensors for sizes, whose hashes are not those of the numbers.
        if tuple(style.shape[1:]) not in ((self.num_style_feat,), (self.num_latent, self.num_style_feat)):
            raise ValueError(
                f'StyleGAN2Decoder of {self.size} pixels takes styles of (N, {self.num_style_feat}) or '
                f'(N, {self.num_latent}, {self.num_style_feat}), not {tuple(style.shape)}.'
            )
        latent = style if is_latent else self.style(style)
        return latent.unsqueeze(1).expand(-1, self.num_latent, -1) if one else latent

    def synthesis(self, latent: Tensor, noise: Sequence[Tensor | None]) -> Tensor:
        """w (N, num_latent, num_style_feat) and the noise of every layer to images (N, 3, size, size) in [-1, 1].

        The third layer of a size and the first of the next share a w, as published.

        Raises:
            ValueError: noise for another number of layers.
        """
        if len(noise) != self.num_layers:
            raise ValueError(f'StyleGAN2Decoder has {self.num_layers} layers with noise and got it for {len(noise)}.')
        out = self.style_conv1(self.constant_input(latent.shape[0]), latent[:, 0], noise[0])
        image = self.to_rgb1(out, latent[:, 1])
        for step, to_rgb in enumerate(self.to_rgbs):
            for place in (2 * step, 2 * step + 1):
                out = self.style_convs[place](out, latent[:, 1 + place], noise[1 + place])
            image = to_rgb(out, latent[:, 2 * step + 3], image)
        return image

    def forward(
        self,
        styles: Tensor | Sequence[Tensor],
        input_is_latent: bool = False,
        noise: Sequence[Tensor | None] | None = None,
        randomize_noise: bool = True,
        truncation: float = 1,
        truncation_latent: Tensor | None = None,
        inject_index: int | None = None,
        return_latents: bool = False,
        raw: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Images of styles.

        Args:
            styles: z (N, num_style_feat), or one for each layer (N, num_latent, num_style_feat); two of them to mix.
            input_is_latent: they are w instead.
            noise: (N or 1, 1, h, h) a layer as of :meth:`make_noise`; a layer of None draws its own.
            randomize_noise: without ``noise`` all layers draw theirs; False: they use the fixed noise of the state.
            truncation: w becomes ``truncation_latent + truncation * (w - truncation_latent)``.
            truncation_latent: (num_style_feat,) or whatever spreads to (N, num_latent, num_style_feat).
            inject_index: the first of two styles serves so many layers, the second the rest; None: drawn from 1 to
                num_latent - 1.
            return_latents: w (N, num_latent, num_style_feat) as well.
            raw: images in [-1, 1].

        Returns:
            (N, 3, size, size) RGB float in [0, 1], or that and w.

        Raises:
            ValueError: as :meth:`latents` and :meth:`synthesis`.
        """
        latent = self.latents(styles, input_is_latent, truncation, truncation_latent, inject_index)
        if noise is None:
            fixed = [self.noises.get_buffer(f'noise{layer}') for layer in range(self.num_layers)]
            noise = [None] * self.num_layers if randomize_noise else fixed
        image = self.synthesis(latent, noise)
        image = image if raw else image * 0.5 + 0.5
        return (image, latent) if return_latents else image
