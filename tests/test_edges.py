"""Edges against OpenCV, TensorFlow's rule for padding, and what they mean."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from fsr_plugins.edges import AvgPoolEdge, canny, canny_cv2, canny_edges, canny_image, dog, grey
from fsr_plugins.errors import UserError


def pictures(n: int, h: int, w: int, seed: int = 0) -> torch.Tensor:
    """Blobs of all sizes with long and short edges, on the grid of 8 bits."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(n):
        blurred = cv2.GaussianBlur(rng.random((h, w, 3), dtype=np.float32), (0, 0), float(rng.uniform(0.3, 5)))
        images.append(np.clip((blurred - blurred.mean()) / blurred.std() * 0.2 + 0.5, 0, 1))
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return (x * 255).round() / 255


def stored(image: torch.Tensor) -> np.ndarray:
    """A picture as it lies on disk: uint8 HWC RGB."""
    return (image * 255).round().byte().permute(1, 2, 0).numpy()


def cv2_grey(image: torch.Tensor) -> np.ndarray:
    return cv2.cvtColor(stored(image), cv2.COLOR_RGB2GRAY)


@pytest.mark.parametrize(('h', 'w'), [(64, 64), (16, 16), (33, 65), (50, 130), (128, 128)])
@pytest.mark.parametrize(('low', 'high'), [(100, 200), (50, 255), (20.7, 60.2), (0, 0), (300, 300)])
def test_both_cannys_equal_opencv_pixel_by_pixel(h, w, low, high):
    x = pictures(8, h, w)
    expected = np.stack([cv2.Canny(cv2_grey(image), low, high) for image in x]) / 255
    assert np.array_equal(canny_cv2(x, low, high)[:, 0].numpy(), expected)
    assert np.array_equal(canny(x, low, high)[:, 0].numpy(), expected)


def test_long_weak_edges_are_followed_to_their_end():
    spiral = np.full((100, 100), 120, np.uint8)
    for k in range(0, 45, 5):
        cv2.rectangle(spiral, (k, k), (99 - k, 99 - k), 120 + 18 * (k // 5 % 2), -1)
    for k in range(5, 45, 5):
        spiral[k - 5 : k + 3, 50] = 255
    spiral[0, 0] = 255
    x = torch.from_numpy(spiral)[None, None].float() / 255
    expected = cv2.Canny(spiral, 20, 300) / 255
    assert expected.sum() > 500
    assert np.array_equal(canny(x, 20, 300)[0, 0].numpy(), expected)


@pytest.mark.parametrize(('h', 'w'), [(64, 64), (33, 65), (50, 130), (1, 1)])
def test_hysteresis_of_bits_and_of_pixels_is_propagation(h, w):
    """Pixels are a GPU's way; here on the CPU."""
    rng = np.random.default_rng(2)
    weak = rng.random((5, h, w)) < 0.45
    strong = weak & (rng.random((5, h, w)) < 0.01)
    structure = np.ones((3, 3))
    expected = np.stack([ndimage.binary_propagation(a, structure, b) for a, b in zip(strong, weak, strict=True)])
    strong, weak = torch.from_numpy(strong), torch.from_numpy(weak)
    assert np.array_equal(canny_edges._connect(strong, weak).numpy(), expected)
    settled = canny_edges._until_settled(strong.float(), weak.float(), canny_edges._grow_pixels)
    assert np.array_equal(settled.numpy(), expected)


@pytest.mark.parametrize('find', [canny, canny_cv2])
def test_thresholds_from_mean_and_deviation(find):
    x = pictures(6, 48, 64)
    for image in x:
        plain = cv2_grey(image)
        dx, dy = (cv2.Sobel(plain, cv2.CV_64F, *d, borderType=cv2.BORDER_REPLICATE) for d in ((1, 0), (0, 1)))
        size = np.abs(dx) + np.abs(dy)
        high = size.mean() + 1.2 * size.std()
        expected = cv2.Canny(plain, high / 2, high) / 255
        assert np.array_equal(find(image[None], adaptive='mean_std')[0, 0].numpy(), expected)


@pytest.mark.parametrize('find', [canny, canny_cv2])
def test_thresholds_from_otsu(find):
    x = pictures(6, 64, 48, seed=1)
    for image in x:
        plain = cv2_grey(image)
        dx, dy = (cv2.Sobel(plain, cv2.CV_64F, *d, borderType=cv2.BORDER_REPLICATE) for d in ((1, 0), (0, 1)))
        classes = ((np.abs(dx) + np.abs(dy)) // 8).astype(np.uint8)
        chosen, _ = cv2.threshold(classes, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        high = 8 * chosen + 7
        expected = cv2.Canny(plain, high // 2, high) / 255
        assert np.array_equal(find(image[None], adaptive='otsu')[0, 0].numpy(), expected)


@pytest.mark.parametrize(('h', 'w'), [(64, 64), (33, 65), (128, 128), (2, 3), (1, 1)])
@pytest.mark.parametrize('adaptive', [None, 'mean_std', 'otsu'])
def test_a_stored_image_has_the_same_edges(h, w, adaptive):
    x = pictures(8, h, w, seed=2) if h > 1 else torch.rand(8, 3, 1, 1)
    expected = [canny_image(stored(image), 60, 120, adaptive) for image in x]
    assert all(edges.dtype == np.uint8 and edges.shape == (h, w) for edges in expected)
    assert h < 33 or 0 < np.mean(expected) < 255 and set(np.unique(expected)) == {0, 255}
    for find in (canny, canny_cv2):
        assert np.array_equal(find(x, 60, 120, adaptive)[:, 0].numpy() * 255, expected)
    assert np.array_equal(canny_image(cv2_grey(x[0]), 60, 120, adaptive), expected[0])


def test_what_is_no_stored_image_is_refused():
    for image in (np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8), np.zeros((2, 8, 8, 3), np.uint8)):
        with pytest.raises(ValueError, match='HWC'):
            canny_image(image)
    with pytest.raises(UserError, match='low <= high'):
        canny_image(np.zeros((8, 8), np.uint8), 2, 1)


@pytest.mark.parametrize('adaptive', [None, 'mean_std', 'otsu'])
@pytest.mark.parametrize('find', [canny, canny_cv2])
def test_flat_images_have_no_edges(find, adaptive):
    assert find(torch.full((2, 3, 16, 16), 0.4), adaptive=adaptive).sum() == 0


@pytest.mark.parametrize('find', [canny, canny_cv2])
def test_canny_has_no_gradient_and_stays_on_its_range(find):
    edges = find(pictures(2, 16, 16).requires_grad_() * 1.5 - 0.2)
    assert edges.dtype == torch.float32 and edges.shape == (2, 1, 16, 16)
    assert not edges.requires_grad and set(edges.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize('find', [canny, canny_cv2])
def test_thresholds_that_are_none_are_refused(find):
    x = pictures(1, 16, 16)
    with pytest.raises(UserError, match='low <= high'):
        find(x, 200, 100)
    with pytest.raises(UserError, match='mean'):
        find(x, adaptive='mean')
    with pytest.raises(ValueError, match='shape'):
        find(torch.rand(1, 2, 16, 16))


def test_grey_equals_opencv():
    x = torch.rand(2, 3, 20, 30)
    expected = np.stack([cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY) for image in x])
    np.testing.assert_allclose(grey(x)[:, 0].numpy(), expected, atol=1e-6)
    assert torch.equal(grey(x[:, :1]), x[:, :1])


@pytest.mark.parametrize('sigmas', [(1.0, 1.6), (0.8, 2.3)])
def test_dog_equals_opencv(sigmas):
    x = torch.rand(3, 3, 40, 32)
    for image, ours in zip(x, dog(x, *sigmas), strict=True):
        plain = cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
        near, far = (cv2.GaussianBlur(plain, (0, 0), s, borderType=cv2.BORDER_REFLECT_101) for s in sigmas)
        np.testing.assert_allclose(ours[0].numpy(), near - far, atol=1e-6)
        assert ours.min() < 0 < ours.max()


def test_dog_passes_gradients_and_ignores_autocast():
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        edges = dog(x)
    assert edges.dtype == torch.float32
    torch.testing.assert_close(edges, dog(x))
    edges.square().sum().backward()
    step = torch.zeros_like(x)
    step[0, 1, 7, 3] = 1e-2
    with torch.no_grad():
        slope = (dog(x + step).square().sum() - dog(x - step).square().sum()) / 2e-2
    torch.testing.assert_close(x.grad[0, 1, 7, 3], slope, rtol=1e-2, atol=1e-5)


def test_dog_of_a_tiny_image_is_refused():
    with pytest.raises(ValueError, match='larger images'):
        dog(torch.rand(1, 3, 6, 6))


def same_mean(channel: np.ndarray, k: int) -> np.ndarray:
    """TensorFlow's ``avg_pool``, stride 1, padding SAME, by its definition: (k - 1) // 2 before, k // 2 after."""
    h, w = channel.shape
    before, after = (k - 1) // 2, k // 2
    result = np.empty_like(channel)
    for i in range(h):
        for j in range(w):
            result[i, j] = channel[max(i - before, 0) : i + after + 1, max(j - before, 0) : j + after + 1].mean()
    return result


@pytest.mark.parametrize('kernel', [2, 3, 5, 7, 10])
def test_average_pooling_edge_by_definition(kernel):
    x = torch.rand(1, 2, 14, 11)
    edge = AvgPoolEdge(kernel)(x)
    for channel, ours in zip(x[0].double().numpy(), edge[0].numpy(), strict=True):
        np.testing.assert_allclose(ours, channel - same_mean(channel, kernel), atol=1e-6)
    assert torch.equal(AvgPoolEdge(kernel, relu=True)(x), edge.relu())


@pytest.mark.parametrize('kernel', [5, 7, 10])
@pytest.mark.parametrize('value', [0.3, 1.0])
def test_a_constant_image_has_no_edge_borders_included(kernel, value):
    assert AvgPoolEdge(kernel)(torch.full((1, 3, 32, 32), value)).abs().max() <= 1e-6


def test_a_neighbourhood_of_one_pixel_is_refused():
    with pytest.raises(UserError, match='kernel'):
        AvgPoolEdge(1)
