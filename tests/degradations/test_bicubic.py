"""Bicubic resizing against BasicSR's port of MATLAB's ``imresize``."""

from __future__ import annotations

import pytest
import torch

from fsr_plugins.degradations.bicubic import BicubicDown, bicubic_up, imresize, resize_matrix
from fsr_plugins.errors import UserError
from fsr_plugins.registry import build

from basicsr.utils.matlab_functions import imresize as reference  # isort: skip  after the registry's mends


def image(n, h, w, seed=0):
    return torch.rand(n, 3, h, w, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ('h', 'w', 'scale'),
    [
        (128, 128, 1 / 8),
        (64, 64, 1 / 4),
        (64, 48, 1 / 2),
        (33, 47, 1 / 2),
        (37, 21, 1 / 3),
        (45, 32, 0.3),
        (16, 16, 4),
        (16, 16, 8),
        (13, 17, 3),
        (31, 29, 1.5),
    ],
)
def test_equals_basicsr_borders_included(h, w, scale):
    x = image(2, h, w)
    expected = torch.stack([reference(one, scale) for one in x])
    torch.testing.assert_close(imresize(x, scale=scale), expected, rtol=0, atol=1e-5)


def test_channels_last_and_strided_images_give_the_same():
    x = image(3, 64, 40)
    expected = torch.stack([reference(one, 0.25) for one in x])
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(imresize(last, scale=0.25), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(imresize(x.mT.contiguous().mT, scale=0.25), expected, rtol=0, atol=1e-5)


def test_size_instead_of_scale():
    x = image(1, 64, 64)
    torch.testing.assert_close(imresize(x, size=(16, 16)), imresize(x, scale=0.25))
    assert imresize(x, size=(20, 50)).shape == (1, 3, 20, 50)


def test_a_float_scale_does_not_add_a_pixel():
    assert imresize(image(1, 30, 30), scale=0.1).shape[2:] == (3, 3)


def test_rows_sum_to_one_and_reproduce_a_line():
    matrix = resize_matrix(16, 64, dtype=torch.float64)
    torch.testing.assert_close(matrix.sum(1), torch.ones(64, dtype=torch.float64))
    line = torch.arange(16, dtype=torch.float64)
    centres = (torch.arange(64, dtype=torch.float64) + 0.5) / 4 - 0.5
    torch.testing.assert_close((matrix @ line)[12:-12], centres[12:-12])


def test_gradient_matches_finite_differences():
    x = torch.rand(1, 2, 8, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: imresize(y, scale=0.5), x)
    assert torch.autograd.gradcheck(lambda y: imresize(y, scale=2), x)


def test_a_matrix_first_made_in_inference_mode_serves_training_later():
    with torch.inference_mode():
        imresize(torch.rand(1, 1, 22, 22), scale=0.5)
    x = torch.rand(1, 1, 22, 22, requires_grad=True)
    imresize(x, scale=0.5).sum().backward()
    assert x.grad is not None


def test_full_precision_under_autocast():
    x = image(1, 64, 64)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        result = BicubicDown(4, quantize=False)(x)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result[0], reference(x[0], 0.25), rtol=0, atol=1e-5)


def test_quantised_lr_is_an_8_bit_image_and_passes_gradients():
    x = image(2, 32, 32).round().requires_grad_()
    lq = build('degradations', {'type': 'BicubicDown', 'scale': 4})(x)
    assert lq.min() >= 0 and lq.max() <= 1
    torch.testing.assert_close(lq * 255, (lq * 255).round(), rtol=0, atol=1e-4)
    expected = torch.stack([reference(one, 0.25) for one in x.detach()]).clamp(0, 1)
    assert (lq - expected).abs().max() <= 0.5 / 255 + 1e-5
    lq.sum().backward()
    assert x.grad.abs().sum() > 0


def test_baseline_is_clamped():
    lq = image(1, 8, 8).round()
    up = bicubic_up(lq, 4)
    torch.testing.assert_close(up[0], reference(lq[0], 4).clamp(0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize('scale', [0, -2, 2.5, '4'])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(UserError, match='scale'):
        BicubicDown(scale)


def test_sides_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match='30×32'):
        BicubicDown(4)(image(1, 30, 32))


def test_wrong_seeds_are_refused():
    with pytest.raises(ValueError, match='2 images'):
        BicubicDown(4)(image(2, 32, 32), torch.zeros(3, dtype=torch.int64))
