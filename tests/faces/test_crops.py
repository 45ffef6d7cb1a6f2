"""Crops against Pillow's resampling by FFHQ's published formula, and against the alignment of tensors."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from fsr_plugins.faces import align, align_ffhq, align_to, ffhq_square, ffhq_template, template_for
from fsr_plugins.faces.crops import TEMPLATE_512x512, warp

# A face turned by some twenty degrees.
POINTS = np.array([[190, 150], [262, 176], [214, 212], [168, 236], [224, 258]], np.float32)


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A colourful image without fine detail."""
    noise = np.random.default_rng(seed).random((height, width, 3))
    blurred = cv2.GaussianBlur(noise, (0, 0), 6)
    return (255 * (blurred - blurred.min()) / np.ptp(blurred)).astype(np.uint8)


def published_quad(points: np.ndarray) -> np.ndarray:
    """FFHQ's recipe in complex numbers: top left, bottom left, bottom right, top right."""
    left, right, _, mouth_left, mouth_right = points[:, 0].astype(np.float64) + 1j * points[:, 1]
    eyes, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    # Turned back by a quarter, the way from eyes to mouth points across the face.
    across = (right - left) + (mouth - eyes) / 1j
    x = across / abs(across) * max(2.0 * abs(right - left), 1.8 * abs(mouth - eyes))
    centre, y = eyes + 0.1 * (mouth - eyes), 1j * x
    corners = np.array([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    return np.stack([corners.real, corners.imag], axis=1)


def test_ffhqs_square_is_the_published_one() -> None:
    quad = published_quad(POINTS)
    np.testing.assert_allclose(ffhq_square(POINTS), quad[[0, 3, 1]], atol=1e-4)


def test_ffhqs_crop_is_pillows() -> None:
    image, points = smooth(480, 500), POINTS + 50
    quad = published_quad(points) + 0.5
    # As FFHQ's script: sampled four times as fine, then reduced by Lanczos.
    fine = PILImage.fromarray(image).transform(
        (512, 512), PILImage.Transform.QUAD, quad.ravel(), PILImage.Resampling.BILINEAR
    )
    wanted = np.asarray(fine.resize((128, 128), PILImage.Resampling.LANCZOS)).astype(int)
    found = align_ffhq(image, points, 128).astype(int)
    assert np.abs(found - wanted).max() <= 3
    assert np.abs(found - wanted).mean() < 0.6


def test_template_and_square_agree_about_ffhq() -> None:
    square = ffhq_square(TEMPLATE_512x512.numpy())
    np.testing.assert_allclose(square, [[0, 0], [511, 0], [0, 511]], atol=8)


@pytest.mark.parametrize('size', [64, 256, 1024])
def test_a_template_of_another_size_is_the_same_picture(size: int) -> None:
    # In shares of the side, from the corner of the first pixel.
    np.testing.assert_allclose((ffhq_template(size) + 0.5) / size, (TEMPLATE_512x512 + 0.5) / 512, atol=1e-5)


def test_alignment_is_that_of_tensors_where_nothing_is_reduced() -> None:
    image = smooth(300, 300)
    points = (POINTS - POINTS.mean(axis=0)) * 0.35 + 150
    template = template_for((160, 160))
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    wanted = align(tensor, torch.from_numpy(points)[None], template, (160, 160))[0].permute(1, 2, 0)
    found = align_to(image, points, template, (160, 160))
    # OpenCV's bilinear weights have five bits.
    assert np.abs(found - wanted.numpy()).max() < 3


def test_a_whole_reduction_is_the_blocks_means() -> None:
    image = np.random.default_rng(1).integers(0, 256, (120, 96, 3), dtype=np.uint8)
    matrix = np.array([[1 / 4, 0, -3 / 8], [0, 1 / 4, -3 / 8]])
    wanted = image.reshape(30, 4, 24, 4, 3).mean(axis=(1, 3))
    assert np.abs(warp(image, matrix, (30, 24)) - wanted).max() <= 1


def test_reduction_of_a_turned_image_passes_no_pixel_over() -> None:
    # A chessboard of single pixels is grey from afar; sampled point by point it would be black and white.
    board = np.repeat((255 * (np.indices((900, 900)).sum(axis=0) % 2)).astype(np.uint8)[:, :, None], 3, axis=2)
    points = (POINTS - POINTS.mean(axis=0)) * 1.5 + 450
    face = align_to(board, points, ffhq_template(48), (48, 48))
    assert np.abs(face.astype(int) - 127).max() < 25


def test_beyond_the_image_it_is_black_or_mirrored() -> None:
    image = np.full((60, 60, 3), 200, np.uint8)
    shift = np.array([[1.0, 0, 20], [0, 1, 0]])
    assert (warp(image, shift, (60, 60), 'black')[:, :19] == 0).all()
    assert (warp(image, shift, (60, 60), 'reflect') == 200).all()


@pytest.mark.parametrize('points', [np.full((5, 2), np.nan), np.full((5, 2), 7.0)])
def test_points_that_are_none_are_refused(points: np.ndarray) -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    with pytest.raises(ValueError, match='points'):
        align_ffhq(image, points)
    with pytest.raises(ValueError, match='landmarks'):
        align_to(image, points, ffhq_template(64), (64, 64))


@pytest.mark.parametrize(
    ('kernel', 'kept'),
    [
        ('linear', np.cos(np.pi / 4)),  # the mean of two neighbours
        ('cubic', 2 * (19 / 32 * np.cos(np.pi / 4) - 3 / 32 * np.cos(3 * np.pi / 4))),  # Keys' kernel, a = -3/4, at 1/2
    ],
)
def test_what_a_shift_by_half_a_pixel_leaves_of_a_fine_pattern(kernel: Literal['linear', 'cubic'], kept: float) -> None:
    x = np.arange(64)
    image = np.repeat(np.sin(np.pi / 2 * x + np.pi / 4)[None, :, None], 8, axis=0).repeat(3, axis=2).astype(np.float32)
    shifted = warp(image, np.array([[1, 0, 0.5], [0, 1, 0]], np.float64), (8, 64), 'reflect', kernel)
    expected = kept * np.sin(np.pi / 2 * (x - 0.5) + np.pi / 4)
    np.testing.assert_allclose(shifted[:, 4:-4, 0], np.broadcast_to(expected, (8, 64))[:, 4:-4], atol=1e-3)
