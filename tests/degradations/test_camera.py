"""JPEG against OpenCV's codec, blur against OpenCV's, and the camera against what its options promise."""

import math

import cv2
import numpy as np
import pytest
import torch

from fsr_plugins.degradations import BicubicDown, JpegCompression, NeutralCamera, RealWorldCamera, jpeg
from fsr_plugins.degradations.blur import covariance, gaussian_blur
from fsr_plugins.degradations.jpeg import quantisation_tables
from fsr_plugins.errors import UserError

NO_CAMERA = {
    'blur': (0, 0),
    'gain': (1, 1),
    'cast': (0, 0),
    'gamma': (1, 1),
    'read_noise': (0, 0),
    'shot_noise': (0, 0),
    'jpeg_quality': None,
}


def picture(h: int, w: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (h, w, 3)).astype(np.float32)
    contrast = (cv2.GaussianBlur(noise, (0, 0), 1.5) - 128) * 4 + 128
    return np.clip(contrast, 0, 255).round().astype(np.uint8)


def tensor(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def cv2_jpeg(image: np.ndarray, quality: int, subsample: bool) -> np.ndarray:
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if subsample else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return cv2.imdecode(cv2.imencode('.jpg', image[..., ::-1], options)[1], cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize('subsample', [True, False])
@pytest.mark.parametrize(('h', 'w'), [(64, 64), (16, 16), (24, 40), (37, 50), (9, 5)])
def test_jpeg_equals_libjpeg_nearly(h, w, subsample):
    qualities = [quality for quality in (5, 25, 50, 75, 90, 100) for _ in range(12)]
    images = [picture(h, w, seed) for seed in range(len(qualities))]
    result = jpeg(tensor(images), torch.tensor(qualities), subsample).permute(0, 2, 3, 1).numpy() * 255
    np.testing.assert_allclose(result, result.round(), atol=1e-3)
    theirs = [cv2_jpeg(image, quality, subsample) for image, quality in zip(images, qualities, strict=True)]
    error = np.abs(result - np.stack(theirs)).mean(axis=(1, 2, 3)).reshape(6, 12)
    # In single images a coefficient that lies between two steps is rounded to the other, hence the median; what the
    # compression itself does to these images is 9 to 35.
    assert (np.median(error, axis=1) < 1.0).all()


def test_quantisation_tables_by_libjpegs_rule():
    luma, chroma = quantisation_tables(torch.tensor([50]))[0]
    assert luma[:4].tolist() == [16, 11, 10, 16] and chroma[:4].tolist() == [17, 18, 24, 47]
    tables = quantisation_tables(torch.tensor([1, 10, 75, 100]))
    # (16·s + 50) // 100 with s = 5000 // q below 50 and 200 - 2q from there on; at most 255, at least 1.
    assert tables[:, 0, 0].tolist() == [255, 80, 8, 1]
    assert tables[:, 1, 63].tolist() == [255, 255, 50, 1]


def test_each_image_is_compressed_with_its_own_quality():
    x = tensor([picture(32, 32)] * 3)
    qualities = torch.tensor([10, 95, 40])
    whole = jpeg(x, qualities)
    for i in range(3):
        torch.testing.assert_close(whole[i : i + 1], jpeg(x[i : i + 1], qualities[i : i + 1]), rtol=0, atol=1.1 / 255)
    error = (whole - x).abs().mean(dim=(1, 2, 3))
    assert error[1] < error[2] < error[0]


@pytest.mark.parametrize('subsample', [True, False])
@pytest.mark.parametrize(('h', 'w', 'number'), [(8, 8, 1024), (16, 16, 128), (24, 40, 64), (37, 50, 32)])
def test_jpeg_of_an_image_is_the_same_in_any_batch(h, w, number, subsample):
    # With float32 products of one order for one row and another for eight, a few of the 1024 differ.
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(number, 3, h, w, generator=generator)
    qualities = torch.randint(97, 101, (number,), generator=generator)
    whole = torch.cat([jpeg(x[i : i + 8], qualities[i : i + 8], subsample) for i in range(0, number, 8)])
    alone = torch.cat([jpeg(x[i : i + 1], qualities[i : i + 1], subsample) for i in range(number)])
    assert torch.equal(whole, alone) and torch.equal(whole, jpeg(x, qualities, subsample))


@pytest.mark.parametrize('quality', [(0, 50), (50, 101), (80, 60), (40.5, 60), (50,)])
def test_impossible_qualities_are_refused(quality):
    with pytest.raises(UserError, match='quality'):
        JpegCompression(quality)
    with pytest.raises(UserError, match='quality'):
        RealWorldCamera(4, jpeg_quality=quality)


def test_blur_equals_opencv_where_the_axes_are_not_turned():
    images = [picture(40, 56, seed) for seed in range(3)]
    x = tensor(images)
    along, across = torch.tensor([1.5, 2.0, 1.2]), torch.tensor([1.5, 1.1, 2.4])
    result = gaussian_blur(x, covariance(along, across, torch.zeros(3)), 2.5)
    for one, ours, sx, sy in zip(x, result, along.tolist(), across.tolist(), strict=True):
        theirs = cv2.GaussianBlur(
            one.permute(1, 2, 0).numpy(), (25, 25), sigmaX=sx, sigmaY=sy, borderType=cv2.BORDER_REPLICATE
        )
        np.testing.assert_allclose(ours.permute(1, 2, 0).numpy(), theirs, atol=2e-3)


def test_turned_blur_has_the_covariance_asked_for():
    x = torch.zeros(1, 1, 65, 65)
    x[..., 32, 32] = 1
    angle = torch.tensor([0.6])
    spot = gaussian_blur(x, covariance(torch.tensor([4.0]), torch.tensor([1.5]), angle), 4.0)[0, 0].double()
    down, right = torch.meshgrid(torch.arange(65.0) - 32, torch.arange(65.0) - 32, indexing='ij')
    cos, sin = angle.cos(), angle.sin()
    along, across = right * cos + down * sin, down * cos - right * sin
    assert spot.sum() == pytest.approx(1, abs=1e-4)
    assert float((spot * along**2).sum()) == pytest.approx(16, rel=0.01)
    assert float((spot * across**2).sum()) == pytest.approx(2.25, rel=0.01)
    assert float((spot * across * along).sum()) == pytest.approx(0, abs=0.05)


def test_without_effects_the_camera_reduces_in_one_of_three_ways():
    image = picture(64, 48)
    x = tensor([image] * 60)
    result = RealWorldCamera(4, **NO_CAMERA)(x, torch.arange(60))
    plain = x[0].permute(1, 2, 0).numpy()
    ways = [
        torch.from_numpy(cv2.resize(plain, (12, 16), interpolation=how)).permute(2, 0, 1)
        for how in (cv2.INTER_AREA, cv2.INTER_LINEAR)
    ]
    ways.append(BicubicDown(4)(x[:1])[0])
    distance = torch.stack([(result - way).abs().amax(dim=(1, 2, 3)) for way in ways])
    assert (distance.amin(dim=0) <= 0.5 / 255 + 1e-4).all()
    assert torch.bincount(distance.argmin(dim=0), minlength=3).min() > 5


def test_noise_has_the_variance_of_its_law():
    options = {**NO_CAMERA, 'read_noise': (0.05, 0.05), 'shot_noise': (0.01, 0.01)}
    for value in (0.3, 0.6):
        x = torch.full((64, 3, 64, 64), value)
        noise = RealWorldCamera(2, **options)(x, torch.arange(64)).double() - value
        assert noise.var().item() == pytest.approx(0.05**2 + 0.01 * value, rel=0.02)
        assert abs(noise.mean().item()) < 2e-3


def test_colour_stays_within_its_ranges():
    options = {**NO_CAMERA, 'gain': (0.8, 1.0), 'cast': (-0.1, 0.1), 'gamma': (0.9, 1.2)}
    result = RealWorldCamera(4, **options)(torch.full((500, 3, 8, 8), 0.5), torch.arange(500))[:, :, 0, 0]
    assert result.min() >= (0.5 * 0.8 * 0.9) ** 1.2 - 0.5 / 255 and result.max() <= (0.5 * 1.1) ** 0.9 + 0.5 / 255
    assert result.std() > 0.02 and (result[:, 0] - result[:, 1]).abs().mean() > 0.01


def test_the_neutral_camera_is_right_on_average():
    grey, seeds = torch.full((2000, 3, 8, 8), 0.5), torch.arange(2000)
    quiet = {'read_noise': (0.0, 0.0), 'shot_noise': (0.0, 0.0), 'jpeg_quality': None}
    values = NeutralCamera(4, **quiet)(grey, seeds).mean((2, 3)) / 0.5
    assert values.mean(0).sub(1).abs().max() < 2e-3  # exposure and each channel's cast
    gamma = NeutralCamera(4, **quiet, gain=(1, 1), cast=(0, 0))(grey, seeds).mean((1, 2, 3)).log() / math.log(0.5)
    assert abs(gamma.mean().item() - 1) < 4e-3 and 0.96 < gamma.min() < 0.99 and 1.01 < gamma.max() < 1.04
    assert RealWorldCamera(4, **quiet)(grey, seeds).mean().item() < 0.45


def test_the_same_seed_gives_the_same_image_in_any_batch():
    x, seeds = tensor([picture(64, 64, seed) for seed in range(6)]), torch.arange(6) * 977
    camera = RealWorldCamera(4)
    whole = camera(x, seeds)
    assert whole.shape == (6, 3, 16, 16) and whole.min() >= 0 and whole.max() <= 1
    torch.testing.assert_close(whole * 255, (whole * 255).round(), rtol=0, atol=1e-3)
    # A product over another batch may round the last bit differently, and so one value to the next of 255.
    alone = torch.cat([camera(x[i : i + 1], seeds[i : i + 1]) for i in range(6)])
    assert ((whole - alone).abs() > 1e-4).float().mean() < 0.01
    assert torch.equal(whole, camera(x, seeds)) and not torch.equal(whole, camera(x, seeds + 1))


def test_without_seeds_torch_decides():
    x = tensor([picture(32, 32)] * 2)
    torch.manual_seed(3)
    first = RealWorldCamera(2)(x)
    torch.manual_seed(3)
    assert torch.equal(first, RealWorldCamera(2)(x)) and not torch.equal(first[0], first[1])


@pytest.mark.parametrize('options', [{'blur': (0.5, 0.1)}, {'gamma': (0, 1)}, {'read_noise': (-0.1, 0.1)}])
def test_impossible_ranges_are_refused(options):
    with pytest.raises(UserError, match=next(iter(options))):
        RealWorldCamera(4, **options)


def test_a_share_of_the_images_is_blurred_and_reduced_alone():
    gt = tensor([picture(32, 32, seed) for seed in range(40)])
    seeds = torch.arange(40)
    worn = RealWorldCamera(4)(gt, seeds)
    mixed = RealWorldCamera(4, clean=0.4)(gt, seeds)
    # Without colours, noise and compression the camera gives the same blur and reduction.
    without = RealWorldCamera(4, **{key: value for key, value in NO_CAMERA.items() if key != 'blur'})(gt, seeds)
    is_clean = (mixed == without).flatten(1).all(dim=1)
    assert 8 <= int(is_clean.sum()) <= 24
    assert torch.equal(mixed[~is_clean], worn[~is_clean]) and not (worn == without).flatten(1).all(dim=1).any()
    assert torch.equal(RealWorldCamera(4, clean=1)(gt, seeds), without)


def test_a_share_that_is_none_is_refused():
    with pytest.raises(UserError, match="'clean'"):
        NeutralCamera(4, clean=1.5)
