"""What BasicSR does by extensions in CUDA or on CUDA only, by PyTorch and on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

#: A number, or one for each of height and width.
Two = int | tuple[int, int]


def fused_leaky_relu(input: Tensor, bias: Tensor, negative_slope: float, scale: float) -> Tensor:
    """``leaky_relu(input + bias) · scale``; gradients of gradients included.

    Args:
        input: (N, C) or (N, C, H, W).
        bias: (C,).
    """
    shifted = input + bias.view(1, -1, *[1] * (input.ndim - 2))
    return functional.leaky_relu(shifted, negative_slope) * scale


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Two = 1,
    padding: Two = 0,
    dilation: Two = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """As ``torchvision.ops.deform_conv2d``, for a torchvision whose extension does not load beside this torch.

    Args:
        input: (N, C, H, W).
        offset: (N, 2·G·K, H', W'), in pixels, of K taps of the kernel in G groups of channels; y before x.
        weight: (O, C / groups, kernel height, kernel width).
        bias: (O,).
        mask: (N, G·K, H', W'), what a tap counts.

    Returns:
        (N, O, H', W').
    """
    (step_y, step_x), (pad_y, pad_x), (wide_y, wide_x) = map(_pair, (stride, padding, dilation))
    batch, channels, height, width = input.shape
    tall, broad = weight.shape[-2:]
    taps, (rows, columns) = tall * broad, offset.shape[-2:]
    parts, groups = offset.shape[1] // (2 * taps), channels // weight.shape[1]
    moved = offset.view(batch, parts, tall, broad, 2, rows, columns)
    first_y, first_x = (torch.arange(number, device=input.device, dtype=input.dtype) for number in (rows, columns))
    tap_y, tap_x = (torch.arange(number, device=input.device, dtype=input.dtype) for number in (tall, broad))
    y = moved[:, :, :, :, 0] + (first_y * step_y - pad_y)[:, None] + (tap_y * wide_y)[:, None, None, None]
    x = moved[:, :, :, :, 1] + (first_x * step_x - pad_x) + (tap_x * wide_x)[:, None, None]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    sampled = functional.grid_sample(
        input.reshape(batch * parts, channels // parts, height, width),
        grid.view(batch * parts, taps * rows, columns, 2),
        align_corners=False,
    ).view(batch, parts, channels // parts, taps, rows, columns)
    if mask is not None:
        sampled = sampled * mask.view(batch, parts, 1, taps, rows, columns)
    found = torch.einsum(
        'bgcthw,goct->bgohw',
        sampled.reshape(batch, groups, channels // groups, taps, rows, columns),
        weight.view(groups, -1, channels // groups, taps),
    )
    found = found.reshape(batch, -1, rows, columns).contiguous()
    return found if bias is None else found + bias.view(1, -1, 1, 1)


def roi_align(
    input: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: Two,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """As ``torchvision.ops.roi_align``, for a torchvision whose extension does not load beside this torch.

    What torchvision does then keeps every sample of every box at once, tens of gigabytes for a few eyes. The samples of
    a box lie on a grid, so that their means are a product of three matrices.

    Args:
        input: (N, C, H, W).
        boxes: (K, 5), the image's number and x1, y1, x2, y2; or (L, 4) for each image.
        output_size: of a box, height and width.
        spatial_scale: of the boxes' coordinates.
        sampling_ratio: samples along a side of a bin; not above 0: as many as it has pixels.
        aligned: whether half a pixel is taken from the coordinates, and boxes of less than a pixel stay so small.

    Returns:
        (K, C, height, width).
    """
    if not isinstance(boxes, Tensor):
        numbers = [torch.full_like(each[:, :1], number) for number, each in enumerate(boxes)]
        boxes = torch.cat([torch.cat(pair, dim=1) for pair in zip(numbers, boxes, strict=True)])
    tall, broad = _pair(output_size)
    height, width = input.shape[-2:]
    ends = (boxes[:, 1:] * spatial_scale - (0.5 if aligned else 0)).view(-1, 2, 2)
    starts, sides = ends[:, 0], ends[:, 1] - ends[:, 0]
    if not aligned:
        sides = sides.clamp(min=1)
    found = [
        _means(start[1], side[1], tall, height, sampling_ratio)
        @ input[int(number)]
        @ _means(start[0], side[0], broad, width, sampling_ratio).T
        for number, start, side in zip(boxes[:, 0], starts, sides, strict=True)
    ]
    return torch.stack(found) if found else input.new_zeros(0, input.shape[1], tall, broad)


def _means(start: Tensor, side: Tensor, bins: int, pixels: int, samples: int) -> Tensor:
    """What each pixel of a line counts in the mean of each bin of a box: (bins, pixels)."""
    samples = samples if samples > 0 else max(0, int((side / bins).ceil()))
    at = start + (torch.arange(bins * samples, device=side.device) + 0.5) * (side / max(1, bins * samples))
    # A sample up to a pixel beyond the border is the border's, one further away is 0.
    inside = (at >= -1) & (at <= pixels)
    apart = at.clamp(0, pixels - 1)[:, None] - torch.arange(pixels, device=side.device)
    counts = (1 - apart.abs()).clamp(min=0) * inside[:, None]
    return counts.view(bins, samples, pixels).sum(dim=1) / max(1, samples)


def complete_torchvision() -> None:
    """Gives torchvision ``deform_conv2d`` and ``roi_align`` where its extension does not load beside this torch."""
    import torchvision
    from torchvision.extension import _has_ops

    if not _has_ops():
        torchvision.ops.deform_conv2d = deform_conv2d
        torchvision.ops.roi_align = roi_align


def torchvisions_deform_conv2d(*args: Any, **kwargs: Any) -> Tensor:
    """``torchvision.ops.deform_conv2d``, of a torchvision that is imported when it is called."""
    import torchvision

    found: Tensor = torchvision.ops.deform_conv2d(*args, **kwargs)
    return found


def either(module: ModuleType, extension: str, function: Any, instead: Callable[..., Tensor]) -> SimpleNamespace:
    """What is called in the place of an autograd function of ``module``: itself where its extension can do it."""

    def apply(input: Tensor, *arguments: Any) -> Any:
        return (function.apply if input.is_cuda and hasattr(module, extension) else instead)(input, *arguments)

    return SimpleNamespace(apply=apply)


class _Staying(TorchFunctionMode):
    """Takes what is to go to CUDA to another device."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See the base."""
        name, kwargs = getattr(func, '__name__', ''), dict(kwargs or {})
        if name == 'cuda':
            return args[0].to(self.device)
        if _is_cuda(kwargs.get('device')):
            kwargs['device'] = self.device
        if name == 'to':
            args = tuple(self.device if _is_cuda(each) else each for each in args)
        return func(*args, **kwargs)


def _is_cuda(device: object) -> bool:
    return isinstance(device, str | torch.device) and str(device).startswith('cuda')


def cuda_stays_on(device: torch.device) -> AbstractContextManager[Any]:
    """Inside, ``.cuda()`` and ``device='cuda'`` mean the device that a model is on.

    BasicSR's own models say so everywhere: with ``num_gpu: 0``, or on a machine without a GPU, they fail.
    """
    return nullcontext() if device.type == 'cuda' else _Staying(device)
