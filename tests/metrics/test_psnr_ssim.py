"""PSNR and SSIM against BasicSR's functions on the same uint8 images."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from fsr_plugins.errors import UserError
from fsr_plugins.metrics import PSNR, SSIM
from fsr_plugins.metrics.psnr_ssim import matched
from fsr_plugins.registry import build

from basicsr.metrics import calculate_psnr, calculate_ssim  # isort: skip


def to_tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def pair(size: tuple[int, int], count: int = 3, noise: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth uint8 RGB images and noisy versions of them."""
    rng = np.random.default_rng(size[0] * 1000 + size[1])
    height, width = size
    y, x = np.mgrid[:height, :width] / 20
    phase = rng.uniform(0, 6, (count, 1, 1, 3))
    gt = 127 + 120 * np.sin(x[None, ..., None] + phase) * np.cos(y[None, ..., None] - phase)
    sr = gt + rng.normal(0, noise, gt.shape)
    return tuple(np.clip(images, 0, 255).round().astype(np.uint8) for images in (sr, gt))


@pytest.mark.parametrize('luma', [False, True])
@pytest.mark.parametrize('border', [0, 4, 8])
@pytest.mark.parametrize('size', [(64, 64), (37, 53), (128, 97)])
def test_equals_basicsr(size: tuple[int, int], border: int, luma: bool) -> None:
    sr, gt = pair(size)
    for metric, reference in ((PSNR, calculate_psnr), (SSIM, calculate_ssim)):
        ours = metric(crop_border=border, test_y_channel=luma)
        ours.update(to_tensor(sr), to_tensor(gt), {})
        # BasicSR takes images as BGR.
        expected = [
            reference(a[..., ::-1], b[..., ::-1], border, test_y_channel=luma) for a, b in zip(sr, gt, strict=True)
        ]
        np.testing.assert_allclose(ours.last[ours.name], expected, atol=1e-5)
        assert ours.compute()[ours.name] == pytest.approx(np.mean(expected), abs=1e-5)


@pytest.mark.parametrize(('bright', 'noise'), [(250, 1.0), (250, 0.0), (3, 1.0), (128, 60.0), (255, 0.4)])
def test_flat_images_do_not_lose_precision(bright: int, noise: float) -> None:
    """Variances are differences of large squares there; float32 must still give the figures of float64."""
    rng = np.random.default_rng(bright)
    sr, gt = (np.clip(rng.normal(bright, noise, (2, 40, 40, 3)), 0, 255).round().astype(np.uint8) for _ in range(2))
    ours = SSIM()
    ours.update(to_tensor(sr), to_tensor(gt), {})
    expected = [calculate_ssim(a, b, 0) for a, b in zip(sr, gt, strict=True)]
    np.testing.assert_allclose(ours.last['ssim'], expected, atol=1e-4)


@pytest.mark.parametrize('luma', [False, True])
def test_batches_larger_than_the_cache_chunk(luma: bool) -> None:
    """A batch gives the values of its images taken one by one."""
    sr, gt = pair((96, 96), count=37)
    together, single = SSIM(test_y_channel=luma), SSIM(test_y_channel=luma)
    together.update(to_tensor(sr), to_tensor(gt), {})
    values = together.last['ssim']
    for index in range(0, 37, 9):
        single.update(to_tensor(sr[index : index + 1]), to_tensor(gt[index : index + 1]), {})
        assert values[index] == pytest.approx(single.last['ssim'].item(), abs=1e-6)


def test_known_values() -> None:
    flat = torch.full((1, 3, 16, 16), 0.5)
    psnr, ssim = PSNR(), SSIM()
    psnr.update(flat + 0.1, flat, {})
    assert psnr.compute()['psnr'] == pytest.approx(20, abs=1e-4)
    ssim.update(flat, flat, {})
    assert ssim.compute()['ssim'] == pytest.approx(1, abs=1e-6)
    # Without variance only the luminance term is left.
    ssim.update(flat + 0.1, flat, {})
    assert ssim.compute()['ssim'] == pytest.approx((2 * 0.6 * 0.5 + 1e-4) / (0.36 + 0.25 + 1e-4), abs=1e-5)
    psnr.update(flat, flat, {})
    assert math.isinf(psnr.compute()['psnr'])


def test_grey_images() -> None:
    sr, gt = (images[..., :1] for images in pair((32, 32)))
    ours = SSIM(test_y_channel=True)
    ours.update(to_tensor(sr), to_tensor(gt), {})
    expected = [calculate_ssim(a, b, 0, test_y_channel=True) for a, b in zip(sr, gt, strict=True)]
    np.testing.assert_allclose(ours.last['ssim'], expected, atol=1e-5)


def test_bfloat16_autocast_does_not_enter() -> None:
    sr, gt = pair((32, 32))
    ours = SSIM()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        ours.update(to_tensor(sr), to_tensor(gt), {})
    expected = [calculate_ssim(a, b, 0) for a, b in zip(sr, gt, strict=True)]
    np.testing.assert_allclose(ours.last['ssim'], expected, atol=1e-5)


def test_from_an_option_block() -> None:
    metric = build('metrics', {'type': 'PSNR', 'test_y_channel': True, 'crop_border': 8})
    assert metric.convention == 'Y, border 8, uint8'
    assert (metric.better, metric.needs_gt) == ('higher', True)


def test_bad_input_is_explained() -> None:
    image = torch.zeros(1, 3, 16, 16)
    with pytest.raises(UserError, match='crop_border'):
        PSNR(crop_border=-1)
    with pytest.raises(UserError, match=r"'ssim' needs 11 px inside a border of 4 px.*16×16"):
        SSIM(crop_border=4).update(image, image, {})
    with pytest.raises(UserError, match=r"8×8 for a reference of 16×16 \(batch of 'a.png'\)"):
        PSNR().update(image[..., :8, :8], image, {'gt_path': ['a.png']})
    with pytest.raises(UserError, match='needs reference images'):
        PSNR().update(image, None, {})
    with pytest.raises(UserError, match='saw no image'):
        PSNR().compute()


@pytest.mark.parametrize(
    ('match', 'spoil'),
    [
        ('gain', lambda images: images * 0.7),
        (
            'affine',
            lambda images: (
                images * torch.tensor([0.6, 0.8, 0.5]).view(3, 1, 1) + torch.tensor([0.1, 0.0, 0.2]).view(3, 1, 1)
            ),
        ),
    ],
)
def test_a_match_takes_exposure_and_cast_out_of_the_figure(
    match: str, spoil: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    torch.manual_seed(0)
    gt = torch.rand(3, 3, 16, 16) * 0.8
    noisy = (gt + 0.02 * torch.randn_like(gt)).clamp(0, 1)
    plain, fitted = PSNR(), PSNR(match=match)
    assert 'matched' not in plain.convention and fitted.convention.endswith(f'matched by {match}')
    untouched, spoiled = plain.values(noisy, gt), plain.values(spoil(noisy), gt)
    assert bool((spoiled < untouched - 5).all())
    assert torch.allclose(fitted.values(spoil(noisy), gt), untouched, atol=0.3)
    # A fit can only help, and the truth needs none.
    assert bool((fitted.values(noisy, gt) >= untouched - 1e-6).all())
    assert bool((SSIM(match=match).values(spoil(noisy), gt) > SSIM().values(spoil(noisy), gt)).all())


@pytest.mark.parametrize('match', ['gain', 'affine'])
def test_the_match_is_the_least_squares_one(match: str) -> None:
    torch.manual_seed(1)
    sr, gt = torch.rand(2, 3, 12, 12) * 0.5, torch.rand(2, 3, 12, 12) * 0.5 + 0.2
    found = matched(sr, gt, match).double()
    for image in range(2):
        if match == 'gain':
            x, y = sr[image].double().flatten()[:, None].numpy(), gt[image].double().flatten().numpy()
            expected = (x @ np.linalg.lstsq(x, y, rcond=None)[0]).reshape(3, 12, 12)
        else:
            columns = []
            for channel in range(3):
                x = np.stack([sr[image, channel].double().flatten().numpy(), np.ones(144)], 1)
                fit = np.linalg.lstsq(x, gt[image, channel].double().flatten().numpy(), rcond=None)[0]
                columns.append((x @ fit).reshape(12, 12))
            expected = np.stack(columns)
        np.testing.assert_allclose(found[image].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize('match', ['gain', 'affine'])
def test_a_black_or_flat_image_has_a_figure(match: str) -> None:
    gt = torch.rand(1, 3, 16, 16)
    for sr in (torch.zeros_like(gt), torch.full_like(gt, 0.5)):
        assert bool(PSNR(match=match).values(sr, gt).isfinite().all())
