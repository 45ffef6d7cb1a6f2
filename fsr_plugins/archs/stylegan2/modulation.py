"""Convolutions whose weights a style scales, and the two blocks of a StyleGAN2 decoder that they make up.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, section 2 and Fig. 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsr_plugins.archs.stylegan2.fir import enlarge, smooth_after_up, smooth_before_down
from fsr_plugins.archs.stylegan2.layers import BiasedLeakyReLU, EqualLinear

SampleMode = Literal['upsample', 'downsample'] | None
_EPS = 1e-8
_TAPS = (1, 3, 3, 1)


class ModulatedConv2d(nn.Module):
    """A convolution with weights of its own for every image: ``w'_oik = s_i w_oik``, s an affine of the style (Eq. 1).

    Demodulation divides the weights of each output channel by their norm (Eq. 3). ``s_i`` may as well scale the
    input's channels and the norm divide the output's, and then one convolution with shared weights serves the batch;
    ``grouped`` builds every image's weights instead and convolves in N groups. The two are equal but for rounding.
    Shared weights cost less memory (no N copies of them), and far less where a gradient is differentiated again.

    Args:
        num_in, num_out: channels.
        kernel_size: odd, in pixels.
        num_style_feat: channels of the style.
        demodulate: whether to demodulate.
        sample_mode: 'upsample': a transposed convolution of stride 2, then the filter, to twice the size; 'downsample':
            the filter, then stride 2, to half of it.
        resample_kernel: the filter's taps.
        grouped: see above.

    Shape: (N, num_in, H, W) and (N, num_style_feat) to (N, num_out, H', W').
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        kernel_size: int,
        num_style_feat: int,
        demodulate: bool = True,
        sample_mode: SampleMode = None,
        resample_kernel: Sequence[float] = _TAPS,
        grouped: bool = False,
    ) -> None:
        super().__init__()
        self.modulation = EqualLinear(num_style_feat, num_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(1, num_out, num_in, kernel_size, kernel_size))
        self.scale = 1 / math.sqrt(num_in * kernel_size**2)
        self.demodulate = demodulate
        self.sample_mode = sample_mode
        self.grouped = grouped
        self.smooth: nn.Module = nn.Identity()
        if sample_mode is not None:
            smooth = smooth_after_up if sample_mode == 'upsample' else smooth_before_down
            self.smooth = smooth(resample_kernel, kernel_size)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(N, num_in, H, W) and (N, num_style_feat) to (N, num_out, H', W')."""
        scales = self.modulation(style)
        weight = self.weight[0] * self.scale
        if self.sample_mode == 'downsample':
            x = self.smooth(x)
        out = self._grouped(x, weight, scales) if self.grouped else self._shared(x, weight, scales)
        return self.smooth(out) if self.sample_mode == 'upsample' else out

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> ModulatedConv2d:
        # `to(memory_format=torch.channels_last)` fails on five axes; the first is there for the layout of files alone.
        return super()._apply(lambda t: fn(t[0]).unsqueeze(0) if t.ndim == 5 else fn(t), recurse)

    def _shared(self, x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
        out = self._convolve(x * scales.to(x.dtype)[:, :, None, None], weight, 1)
        if not self.demodulate:
            return out
        with torch.autocast(x.device.type, enabled=False):  # a sum of thousands of squares
            squares = scales.to(weight.dtype).square() @ weight.square().sum(dim=(2, 3)).t()
            norm = torch.rsqrt(squares + _EPS)
        return out * norm.to(out.dtype)[:, :, None, None]

    def _grouped(self, x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
        num, num_in, height, width = x.shape
        weights = weight * scales.to(weight.dtype).view(num, 1, num_in, 1, 1)
        if self.demodulate:
            weights = weights * torch.rsqrt(weights.square().sum(dim=(2, 3, 4), keepdim=True) + _EPS)
        out = self._convolve(x.reshape(1, num * num_in, height, width), weights.flatten(0, 1), num)
        return out.reshape(num, -1, *out.shape[2:])

    def _convolve(self, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        """With (groups * num_out, num_in, K, K) in the direction and with the stride of the sample mode."""
        if self.sample_mode == 'upsample':
            # A transposed convolution has the input's channels first, within each group.
            weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
            return F.conv_transpose2d(x, weight, stride=2, groups=groups)
        if self.sample_mode == 'downsample':
            return F.conv2d(x, weight, stride=2, groups=groups)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)


class StyleConv(nn.Module):
    """A demodulated 3x3 convolution, noise with one learned strength (``weight``, beginning at 0), bias, LeakyReLU."""

    def __init__(
        self,
        num_in: int,
        num_out: int,
        num_style_feat: int,
        sample_mode: SampleMode = None,
        resample_kernel: Sequence[float] = _TAPS,
        grouped: bool = False,
    ) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv2d(
            num_in, num_out, 3, num_style_feat, True, sample_mode, resample_kernel, grouped
        )
        self.weight = nn.Parameter(torch.zeros(1))
        self.activate = BiasedLeakyReLU(num_out)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None = None) -> Tensor:
        """(N, num_in, H, W), (N, num_style_feat) and noise (N or 1, 1, H', W') to (N, num_out, H', W').

        Without noise it is drawn: standard normal, from the device's own generator.
        """
        x = self.modulated_conv(x, style)
        if noise is None:
            noise = x.new_empty(x.shape[0], 1, *x.shape[2:]).normal_()
        return self.activate(x + (self.weight * noise).to(x.dtype))


class ToRGB(nn.Module):
    """What a feature map adds to the image: a modulated 1x1 convolution and a bias, on the enlarged image before."""

    def __init__(
        self,
        num_in: int,
        num_style_feat: int,
        upsample: bool = True,
        resample_kernel: Sequence[float] = _TAPS,
        grouped: bool = False,
    ) -> None:
        super().__init__()
        self.upsample = enlarge(resample_kernel) if upsample else nn.Identity()
        self.modulated_conv = ModulatedConv2d(num_in, 3, 1, num_style_feat, demodulate=False, grouped=grouped)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, style: Tensor, skip: Tensor | None = None) -> Tensor:
        """(N, num_in, H, W), (N, num_style_feat), the image before (N, 3, H/2, W/2) to (N, 3, H, W)."""
        out = self.modulated_conv(x, style) + self.bias
        return out if skip is None else out + self.upsample(skip)
