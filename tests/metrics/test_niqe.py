"""NIQE against BasicSR's functions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from fsr_plugins.errors import UserError
from fsr_plugins.metrics import NIQE
from fsr_plugins.metrics.niqe import niqe

import basicsr.metrics.niqe as reference  # isort: skip
from basicsr.utils.matlab_functions import imresize  # isort: skip


def photographs(size: tuple[int, int], count: int = 2) -> np.ndarray:
    """uint8 RGB noise with a falling spectrum, like photographs."""
    rng = np.random.default_rng(3)
    images = np.zeros((count, *size, 3))
    for index in range(count):
        for level in (1, 2, 4, 8, 16):
            coarse = rng.normal(0, 4 * level**0.7, (size[0] // level + 1, size[1] // level + 1, 3))
            images[index] += cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(images + 127, 0, 255).round().astype(np.uint8)


def to_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize(('size', 'border'), [((192, 192), 0), ((200, 310), 4)])
def test_equals_basicsr(size: tuple[int, int], border: int) -> None:
    images = photographs(size)
    ours = NIQE(crop_border=border)
    ours.update(to_tensor(images), None, {})
    # BasicSR takes BGR, and computes in float32.
    expected = [reference.calculate_niqe(image[..., ::-1], crop_border=border) for image in images]
    np.testing.assert_allclose(ours.last['niqe'], expected, rtol=2e-3)


def test_equals_basicsr_in_float64() -> None:
    grey = photographs((288, 192))[..., 1].astype(np.float64)
    params = np.load(reference.__file__.replace('niqe.py', 'niqe_pris_params.npz'))
    expected = [
        reference.niqe(image, params['mu_pris_param'], params['cov_pris_param'], params['gaussian_window'])
        for image in grey
    ]
    np.testing.assert_allclose(niqe(torch.from_numpy(grey)[:, None]), expected, rtol=1e-4)


def test_small_faces_are_enlarged_three_times() -> None:
    image = photographs((64, 64), count=1)
    ours = NIQE()
    ours.update(to_tensor(image), None, {})
    assert '64 px: ×3' in ours.convention
    large = np.clip(imresize(image[0] / 255.0, 3), 0, 1) * 255
    expected = reference.calculate_niqe(large[..., ::-1], crop_border=0)
    assert ours.compute()['niqe'] == pytest.approx(expected, rel=5e-3)


def test_a_flat_image_has_no_value_and_leaves_the_others_alone() -> None:
    images = photographs((192, 192))
    alone, mixed = NIQE(), NIQE()
    alone.update(to_tensor(images[:1]), None, {})
    images[1] = 77
    mixed.update(to_tensor(images), None, {})
    assert mixed.last['niqe'][0] == pytest.approx(alone.last['niqe'].item(), rel=1e-9)
    assert mixed.last['niqe'][1].isnan()


def test_bad_border() -> None:
    with pytest.raises(UserError, match='crop_border'):
        NIQE(crop_border=-1)
    with pytest.raises(UserError, match='Nothing of 16×16'):
        NIQE(crop_border=8).update(torch.zeros(1, 3, 16, 16), None, {})


def test_grey_equals_basicsr_and_is_not_luma() -> None:
    images = photographs((200, 310))
    grey, luma = NIQE(crop_border=4, convert_to='gray'), NIQE(crop_border=4)
    for metric in (grey, luma):
        metric.update(to_tensor(images), None, {})
    expected = [reference.calculate_niqe(image[..., ::-1], 4, convert_to='gray') for image in images]
    np.testing.assert_allclose(grey.last['niqe'], expected, rtol=2e-3)
    assert (grey.last['niqe'] - luma.last['niqe']).abs().min() > 1e-2 and grey.convention.startswith('grey')
