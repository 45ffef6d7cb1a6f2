"""Alignment against least squares, and OpenCV's and scipy's resampling."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from fsr_plugins.faces import TEMPLATE_112x96, TEMPLATE_112x112, align, alignable, similarity, template_for

RNG = np.random.default_rng(0)
TEMPLATE = TEMPLATE_112x96.double()


def turned(template: np.ndarray, angle: float, zoom: float, shift: tuple[float, float]) -> np.ndarray:
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    return template @ np.array([[cos, sin], [-sin, cos]]) + shift


def faces(noise: float = 2.0) -> np.ndarray:
    """Landmarks (6, 5, 2) in any position, one of them upside down."""
    angles, zooms = (-0.4, 0.0, 0.3, 1.4, 3.0, -2.0), (1.3, 1.0, 0.5, 2.0, 0.9, 0.7)
    moved = [turned(TEMPLATE.numpy(), a, z, (20 + 9 * a, 7 * z)) for a, z in zip(angles, zooms, strict=True)]
    return np.stack(moved) + noise * RNG.standard_normal((6, 5, 2))


def smooth(height: int, width: int) -> np.ndarray:
    return cv2.GaussianBlur(RNG.random((height, width, 3)), (0, 0), 4).astype(np.float32)


def warped(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """OpenCV's result; it rounds source positions to 1/32 pixel."""
    return torch.from_numpy(cv2.warpAffine(image, matrix, size[::-1], flags=cv2.INTER_LINEAR)).permute(2, 0, 1)


def test_transform_is_the_least_squares_one() -> None:
    """The four unknowns of u = a x - b y + c, v = b x + a y + d, solved by numpy."""
    points = faces()
    for face, found in zip(points, similarity(torch.from_numpy(points), TEMPLATE).numpy(), strict=True):
        (x, y), one, zero = face.T, np.ones(5), np.zeros(5)
        rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
        (a, b, c, d), *_ = np.linalg.lstsq(rows, TEMPLATE.numpy().T.reshape(-1), rcond=None)
        np.testing.assert_allclose(found, [[a, -b, c], [b, a, d]], atol=1e-9)


def test_transform_is_opencvs() -> None:
    points = faces()
    for face, found in zip(points, similarity(torch.from_numpy(points), TEMPLATE).numpy(), strict=True):
        expected, _ = cv2.estimateAffinePartial2D(face, TEMPLATE.numpy(), ransacReprojThreshold=1e6, refineIters=1000)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    """A reflection would fit exactly; a turn cannot."""
    mirrored = TEMPLATE * torch.tensor([-1.0, 1.0]) + torch.tensor([96.0, 0.0])
    matrix = similarity(mirrored[None], TEMPLATE)[0]
    assert torch.linalg.det(matrix[:, :2]) > 0
    assert (mirrored @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE).abs().max() > 1


@pytest.mark.parametrize('size', [(112, 96), (112, 112), (60, 40)])
def test_pixels_are_those_of_opencv_and_scipy(size: tuple[int, int]) -> None:
    """With image borders inside the result: scipy's ``grid-constant`` fades to black between the last centre and it."""
    height, width = 90, 120
    image, points = smooth(height, width), torch.from_numpy(faces())
    template = template_for(size)
    images = torch.from_numpy(image).permute(2, 0, 1).double().expand(len(points), 3, height, width)
    found = align(images, points, template, size)
    for result, matrix in zip(found, similarity(points, template.double()).numpy(), strict=True):
        assert (result - warped(image, matrix, size)).abs().max() < 0.02
        back = np.linalg.inv(np.concatenate([matrix, [[0.0, 0.0, 1.0]]]))
        rows, columns = np.mgrid[: size[0], : size[1]]
        x, y, _ = np.einsum('ij,jkl->ikl', back, np.stack([columns, rows, np.ones_like(rows)]))
        expected = map_coordinates(image[:, :, 1].astype(float), [y, x], order=1, mode='grid-constant')
        np.testing.assert_allclose(result[1].numpy(), expected, atol=1e-9)


def test_a_face_in_position_stays_as_it_is() -> None:
    images = torch.from_numpy(RNG.random((2, 3, 112, 96), np.float32))
    points = TEMPLATE_112x96.expand(2, 5, 2)
    torch.testing.assert_close(align(images, points, TEMPLATE_112x96, (112, 96)), images, atol=1e-4, rtol=0)


def test_templates() -> None:
    torch.testing.assert_close(template_for((112, 96)), TEMPLATE_112x96)
    torch.testing.assert_close(template_for((112, 112)), TEMPLATE_112x112)
    # Twice the pixels: a centre k lies between the centres 2 k and 2 k + 1.
    torch.testing.assert_close(template_for((224, 192)), 2 * TEMPLATE_112x96 + 0.5)
    torch.testing.assert_close(template_for((132, 96)), TEMPLATE_112x96 + torch.tensor([0.0, 10.0]))


def test_gradients() -> None:
    images = torch.from_numpy(RNG.random((2, 1, 9, 11))).requires_grad_()
    template = template_for((8, 7)).double()
    # Off whole pixels, where bilinear sampling has a kink.
    points = (template + torch.from_numpy(RNG.normal(0.83, 0.3, (2, 5, 2)))).requires_grad_()
    assert torch.autograd.gradcheck(lambda i, p: align(i, p, template, (8, 7)), (images, points))


def test_faces_that_cannot_be_aligned() -> None:
    points = torch.from_numpy(faces()).float()
    points[1, 2, 0] = torch.nan
    points[2, 4, 1] = torch.inf
    points[3] = points[3, :1]
    points[5] = 0
    assert alignable(points).tolist() == [True, False, False, False, True, False]
    with pytest.raises(ValueError, match='face 1 of the batch'):
        align(torch.zeros(6, 3, 8, 8), points, TEMPLATE_112x96, (112, 96))
    with pytest.raises(ValueError, match=r'\(6, 4, 2\)'):
        similarity(points[:, :4], TEMPLATE_112x96)
