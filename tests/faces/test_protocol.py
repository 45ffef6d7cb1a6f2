"""What the protocols' helpers do with photographs and detections."""

from __future__ import annotations

import numpy as np
import pytest

from fsr_plugins.faces import Detection, nearest_centre
from fsr_plugins.faces.batching import batches
from fsr_plugins.faces.protocol import check_images
from fsr_plugins.faces.scaling import scale_back, scale_to


def face(x: float, y: float, score: float = 0.9) -> Detection:
    """A face of 20×20 round a place."""
    box = np.array([x - 10, y - 10, x + 10, y + 10], np.float32)
    return Detection(box, score, np.full((5, 2), [x, y], np.float32))


def test_nearest_centre_goes_by_place_not_by_score() -> None:
    faces = [face(10, 10, 0.99), face(60, 45, 0.6), face(90, 50, 0.8)]
    assert nearest_centre(faces, 100, 120) is faces[1]
    assert nearest_centre([], 100, 120) is None


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_photograph_is_named(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match='Image 1'):
        check_images([np.zeros((4, 4, 3), np.uint8), image])


def test_batches_hold_every_image_once_and_keep_to_their_bounds() -> None:
    rng = np.random.default_rng(0)
    sizes = [(8, 8), (8, 6), (8, 8), (8, 8), (40, 40), (8, 8), (8, 6)]
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    seen = []
    for places, batch in batches(images, most=3, pixels=5 * 64):
        assert len(places) <= 3 and (len(places) * batch[0].size // 3 <= 5 * 64 or len(places) == 1)
        for place, image in zip(places, batch, strict=True):
            np.testing.assert_array_equal(image, images[place])
        seen += places
    assert sorted(seen) == list(range(len(images)))


@pytest.mark.parametrize(('height', 'width', 'longest'), [(300, 200, 100), (123, 457, 128), (50, 30, 100)])
def test_a_place_survives_scaling(height: int, width: int, longest: int) -> None:
    # A bright blob; its centre of mass is found in the scaled image and brought back.
    y, x = np.mgrid[:height, :width]
    at = np.array([0.62 * width, 0.41 * height])
    blob = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * (0.06 * min(height, width)) ** 2))
    image = np.repeat((255 * blob).astype(np.uint8)[:, :, None], 3, axis=2)
    scaled = scale_to(image, longest, enlarge=True)
    assert max(scaled.shape[:2]) == longest
    weight = scaled[:, :, 0].astype(np.float64)
    rows, columns = np.mgrid[: scaled.shape[0], : scaled.shape[1]]
    found = np.array([(columns * weight).sum(), (rows * weight).sum()], np.float32) / np.float32(weight.sum())
    back = scale_back(found, scaled.shape[:2], (height, width))
    np.testing.assert_allclose(back, at, atol=0.35)


def test_small_images_are_left_alone_unless_asked() -> None:
    image = np.zeros((20, 10, 3), np.uint8)
    assert scale_to(image, 100) is image
    assert scale_to(image, 100, enlarge=True).shape == (100, 50, 3)
