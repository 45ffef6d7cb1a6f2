"""The feedback block against a slow re-computation in NumPy and SciPy from the equations of SRFBN."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from torch import nn

from fsr_plugins.archs.feedback import PROJECTION, FeedbackBlock, deconv_prelu


def prelu(x: np.ndarray, layer: nn.Sequential) -> np.ndarray:
    return np.where(x > 0, x, layer[1].weight.item() * x)


def weights(layer: nn.Sequential) -> tuple[np.ndarray, np.ndarray]:
    return layer[0].weight.detach().numpy(), layer[0].bias.detach().numpy()


def slow_conv(x: np.ndarray, layer: nn.Sequential) -> np.ndarray:
    """(C, H, W): one cross-correlation for each pair of channels."""
    weight, bias = weights(layer)
    pad, stride = layer[0].padding[0], layer[0].stride[0]
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    rows = [sum(correlate(x[i], kernel[i], mode='valid') for i in range(len(x))) for kernel in weight]
    return prelu(np.stack(rows)[:, ::stride, ::stride] + bias[:, None, None], layer)


def slow_deconv(x: np.ndarray, layer: nn.Sequential) -> np.ndarray:
    """(C, h, w): every input pixel stamps its kernel into the output; the padding is cut off at the end."""
    weight, bias = weights(layer)
    pad, stride, size = layer[0].padding[0], layer[0].stride[0], weight.shape[-1]
    height, width = x.shape[1:]
    out = np.zeros((weight.shape[1], (height - 1) * stride + size, (width - 1) * stride + size))
    for row in range(height):
        for column in range(width):
            stamp = np.einsum('i,iokl->okl', x[:, row, column], weight)
            out[:, row * stride : row * stride + size, column * stride : column * stride + size] += stamp
    return prelu(out[:, pad:-pad, pad:-pad] + bias[:, None, None], layer)


@pytest.mark.parametrize('factor', [2, 4])
def test_feedback_block_is_srfbn_without_compress_in(factor: int) -> None:
    torch.manual_seed(0)
    block = FeedbackBlock(num_feat=3, num_groups=3, factor=factor).double()
    x = np.random.default_rng(0).normal(size=(3, 5, 4))

    low, high = [x], []
    for group in range(3):
        reduced = slow_conv(np.concatenate(low), block.up_trans[group - 1]) if group else x
        high.append(slow_deconv(reduced, block.up[group]))
        reduced = slow_conv(np.concatenate(high), block.down_trans[group - 1]) if group else high[0]
        low.append(slow_conv(reduced, block.down[group]))
    expected = slow_conv(np.concatenate(low[1:]), block.compress_out)

    result = block(torch.from_numpy(x)[None])[0].detach().numpy()
    np.testing.assert_allclose(result, expected, atol=1e-12)


@pytest.mark.parametrize('factor', sorted(PROJECTION))
def test_projections_restore_the_size_exactly(factor: int) -> None:
    kernel, stride, padding = PROJECTION[factor]
    up = deconv_prelu(2, 2, factor)(torch.rand(1, 2, 5, 7))
    assert up.shape == (1, 2, 5 * factor, 7 * factor)
    assert nn.Conv2d(2, 2, kernel, stride, padding)(up).shape == (1, 2, 5, 7)


def test_unknown_factor_is_named() -> None:
    with pytest.raises(ValueError, match='not 3'):
        FeedbackBlock(4, 2, 3)
