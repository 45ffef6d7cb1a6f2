"""Cascaded halving against OpenCV, misalignment against scipy, sequences against their parts by hand."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from fsr_plugins.degradations import AffineMisalign, BicubicDown, CascadedBilinearDown, Compose, RealWorldCamera
from fsr_plugins.degradations.random import mix
from fsr_plugins.errors import UserError
from fsr_plugins.registry import build


def smooth_images(n: int, h: int, w: int) -> torch.Tensor:
    noise = np.random.default_rng(0).random((n, h, w, 3), dtype=np.float32)
    blurred = np.stack([cv2.GaussianBlur(one, (0, 0), 2.0) for one in noise])
    spread = (blurred - blurred.min()) / (blurred.max() - blurred.min())
    return torch.from_numpy(spread).permute(0, 3, 1, 2)


def test_cascade_equals_opencv_halving():
    x = smooth_images(2, 128, 64)
    result = CascadedBilinearDown(8, quantize=False)(x)
    for one, ours in zip(x, result, strict=True):
        step = one.permute(1, 2, 0).numpy()
        for size in ((32, 64), (16, 32), (8, 16)):
            step = cv2.resize(step, size, interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(ours.permute(1, 2, 0).numpy(), step, atol=1e-5)
    levels = CascadedBilinearDown(8)(x) * 255
    torch.testing.assert_close(levels, (result * 255).round(), rtol=0, atol=1e-4)


@pytest.mark.parametrize('scale', [3, 12, 0])
def test_cascade_wants_a_power_of_two(scale):
    with pytest.raises(UserError, match='scale'):
        CascadedBilinearDown(scale)


@pytest.mark.parametrize(
    ('border', 'mode'), [('reflection', 'reflect'), ('zeros', 'grid-constant'), ('edge', 'nearest')]
)
@pytest.mark.parametrize(('h', 'w'), [(64, 64), (48, 80)])
def test_misalignment_equals_scipy(border, mode, h, w):
    x = smooth_images(4, h, w)
    seeds = torch.arange(4)
    block = AffineMisalign(border=border)
    result = block(x, seeds)
    half = np.array([h / 2, w / 2])
    for one, moved, matrix in zip(x, result, block.matrices(seeds).double().numpy(), strict=True):
        turn_xy, shift_xy = matrix[:, :2], matrix[:, 2]
        back = np.linalg.inv(turn_xy[::-1, ::-1])
        centre = half - 0.5
        offset = centre - back @ (centre + shift_xy[::-1] * half)
        for channel, ours in zip(one.numpy(), moved.numpy(), strict=True):
            expected = ndimage.affine_transform(channel.astype(float), back, offset, order=1, mode=mode)
            np.testing.assert_allclose(ours, expected, atol=2e-4)


def test_misalignment_stays_within_its_limits_and_fills_them():
    matrices = AffineMisalign(30, 8, (0.85, 1.15)).matrices(torch.arange(5000)).double()
    angle = torch.rad2deg(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    zoom = matrices[:, :, 0].norm(dim=1)
    shift = matrices[:, :, 2] * 64
    for value, low, high in ((angle, -30, 30), (zoom, 0.85, 1.15), (shift, -8, 8)):
        margin = 0.01 * (high - low)
        assert low - 1e-4 <= value.min() < low + margin and high - margin < value.max() <= high + 1e-4


def test_no_movement_changes_nothing():
    x = smooth_images(2, 32, 48)
    torch.testing.assert_close(AffineMisalign(0, 0, (1, 1))(x), x, rtol=0, atol=1e-5)


def test_a_quarter_turn_is_clockwise_as_seen():
    block = AffineMisalign(rotation=180, translation=0, zoom=(1, 1))
    seeds = torch.arange(4000)
    matrices = block.matrices(seeds)
    near = (matrices[:, 0, 0].abs() + (matrices[:, 1, 0] - 1).abs()).argmin()
    x = torch.zeros(1, 3, 33, 33)
    x[..., 16, 28] = 1  # at the right, which goes to below
    result = block(x, seeds[near : near + 1])
    assert divmod(int(result[0, 0].argmax()), 33) == (28, 16)


@pytest.mark.parametrize(
    'options', [{'border': 'wrap'}, {'rotation': -1}, {'zoom': (1.2, 0.8)}, {'zoom': (0, 1)}, {'translation': 500}]
)
def test_impossible_movements_are_refused(options):
    with pytest.raises(UserError, match='AffineMisalign'):
        AffineMisalign(**options)


def test_sequence_is_its_stages_each_with_seeds_of_its_own():
    x, seeds = smooth_images(3, 64, 64), torch.tensor([5, -8, 2**50])
    blocks = [{'type': 'AffineMisalign', 'rotation': 20}, {'type': 'RealWorldCamera', 'scale': 2}, BicubicDown(2)]
    sequence = build('degradations', {'type': 'Compose', 'stages': blocks})
    assert sequence.scale == 4
    by_hand = AffineMisalign(rotation=20)(x, mix(seeds, 0))
    by_hand = BicubicDown(2)(RealWorldCamera(2)(by_hand, mix(seeds, 1)))
    torch.testing.assert_close(sequence(x, seeds), by_hand, rtol=0, atol=1e-6)


def test_an_empty_sequence_is_refused():
    with pytest.raises(UserError, match='stages'):
        Compose([])


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'rotation': -5}, "'rotation' is -5; give a number from 0 to 180"),
        ({'rotation': 'a'}, "'rotation' is 'a'; give a number from 0 to 180"),
        ({'translation': [1, 2]}, r"'translation' is \[1, 2\]; give a number from 0 to 128"),
    ],
)
def test_one_number_is_asked_for_where_one_is_meant(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        AffineMisalign(**options)
