"""The Fréchet distance against scipy and a closed form; FID's bookkeeping with a small extractor."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.linalg
import torch
import torchvision
from torch import Tensor, nn

from fsr_plugins.errors import UserError
from fsr_plugins.metrics import FID
from fsr_plugins.metrics.fid import InceptionFeatures
from fsr_plugins.metrics.frechet import FeatureMoments, frechet_distance


class MeanColours(nn.Module):
    """Mean and mean square of each channel: six features."""

    dimension = 6

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images.mean((2, 3)), images.square().mean((2, 3))], dim=1)


def covariance(rng: np.random.Generator, dimension: int, rank: int) -> np.ndarray:
    factor = rng.normal(size=(dimension, rank))
    return factor @ factor.T / rank


def uint8_images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 9, 9, 3), dtype=np.uint8)


def to_tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def reference_fid(first: np.ndarray, second: np.ndarray) -> float:
    """From (N, D) features, by numpy's moments and scipy's matrix root."""
    c1, c2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    difference = first.mean(0) - second.mean(0)
    return float(difference @ difference + np.trace(c1 + c2) - 2 * np.trace(scipy.linalg.sqrtm(c1 @ c2).real))


@pytest.mark.parametrize('dimension', [1, 5, 40])
def test_frechet_distance_equals_scipy(dimension: int) -> None:
    rng = np.random.default_rng(dimension)
    m1, m2 = rng.normal(size=(2, dimension))
    c1, c2 = covariance(rng, dimension, dimension + 5), covariance(rng, dimension, dimension + 5)
    expected = np.sum((m1 - m2) ** 2) + np.trace(c1 + c2 - 2 * scipy.linalg.sqrtm(c1 @ c2).real)
    ours = frechet_distance(*(torch.from_numpy(array) for array in (m1, c1, m2, c2)))
    assert ours == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_of_diagonal_gaussians() -> None:
    """Closed form: |μ1 − μ2|² + Σ(σ1 − σ2)², singular directions included."""
    s1, s2 = torch.tensor([1.0, 2.0, 0.0, 3.0]).double(), torch.tensor([2.0, 0.5, 1.0, 0.0]).double()
    m1, m2 = torch.arange(4).double(), torch.ones(4).double()
    expected = float(((m1 - m2) ** 2).sum() + ((s1 - s2) ** 2).sum())
    assert frechet_distance(m1, torch.diag(s1**2), m2, torch.diag(s2**2)) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_of_a_set_to_itself() -> None:
    """Fewer vectors than dimensions, as in a small FID: the covariance is singular, the distance still zero."""
    rng = np.random.default_rng(0)
    mean, cov = torch.zeros(30).double(), torch.from_numpy(covariance(rng, 30, 10))
    assert frechet_distance(mean, cov, mean, cov) == pytest.approx(0, abs=1e-6)


def test_moments_equal_numpy() -> None:
    features = np.random.default_rng(1).normal(5, 2, (50, 7))
    moments = FeatureMoments()
    for part in torch.from_numpy(features).split(13):
        moments.add(part)
    count, mean, cov = moments.gather(7)
    assert count == 50
    np.testing.assert_allclose(mean, features.mean(0), rtol=1e-12)
    np.testing.assert_allclose(cov, np.cov(features, rowvar=False), atol=1e-11)


def test_against_hr() -> None:
    extractor = MeanColours()
    sr, gt = to_tensor(uint8_images(20, 0)), to_tensor(uint8_images(20, 1)) * 0.8
    fid = FID(extractor=extractor)
    assert fid.needs_gt
    for part in (slice(0, 7), slice(7, 20)):
        fid.update(sr[part], gt[part], {})
    expected = reference_fid(extractor(sr).numpy(), extractor(gt).numpy())
    assert fid.compute()['fid'] == pytest.approx(expected, rel=1e-4)
    with pytest.raises(UserError, match='saw 0 results'):
        fid.compute()


def test_against_a_folder(tmp_path: Path) -> None:
    extractor = MeanColours()
    reference = uint8_images(40, 2)
    for index, image in enumerate(reference):
        cv2.imwrite(str(tmp_path / f'{index:03}.png'), image[..., ::-1])
    fid = FID(reference=str(tmp_path), extractor=extractor)
    assert not fid.needs_gt
    sr = to_tensor(uint8_images(20, 0))
    expected = reference_fid(extractor(sr).numpy(), extractor(to_tensor(reference)).numpy())
    for _ in range(2):
        fid.update(sr, None, {})
        assert fid.compute()['fid'] == pytest.approx(expected, rel=1e-4)


def test_bad_reference(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='neither'):
        FID(reference=str(tmp_path / 'none'), extractor=MeanColours())
    with pytest.raises(UserError, match='no images'):
        FID(reference=str(tmp_path), extractor=MeanColours())
    (tmp_path / 'a.png').write_bytes(b'no image')
    fid = FID(reference=str(tmp_path), extractor=MeanColours())
    fid.update(to_tensor(uint8_images(3, 0)), None, {})
    with pytest.raises(UserError, match='a.png'):
        fid.compute()


def test_a_reference_of_sixteen_bits_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((9, 9, 3), 300, np.uint16))
    metric = FID(reference=str(tmp_path), extractor=MeanColours())
    metric.update(to_tensor(uint8_images(3, 0)), None, {})
    with pytest.raises(UserError, match=r"a\.png' has uint16 pixels"):
        metric.compute()


def test_a_name_that_is_no_utf8_is_read(tmp_path: Path) -> None:
    for number in range(2):
        encoded = cv2.imencode('.png', uint8_images(1, number)[0])[1].tobytes()
        (tmp_path / os.fsdecode(b'\xff%d.png' % number)).write_bytes(encoded)
    metric = FID(reference=str(tmp_path), extractor=MeanColours())
    metric.update(to_tensor(uint8_images(3, 0)), None, {})
    assert metric.compute()['fid'] > 0


def test_inception_features_equal_basicsr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights: pooled features of a 299-px image, [-1, 1] inside."""
    from basicsr.archs import inception

    monkeypatch.setattr(inception, 'LOCAL_FID_WEIGHTS', '')
    state = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False).state_dict()
    path = tmp_path / 'inception.pth'
    torch.save(state, path)
    ours = InceptionFeatures(path)
    assert str(path) == inception.LOCAL_FID_WEIGHTS
    image = torch.rand(1, 3, 299, 299)
    with torch.no_grad():
        expected = inception.InceptionV3([3], resize_input=False, normalize_input=False).eval()(image * 2 - 1)[0]
        torch.testing.assert_close(ours(image), expected.flatten(1))
    torch.save({'other': torch.zeros(1)}, path)
    with pytest.raises(UserError, match='does not hold'):
        InceptionFeatures(path)
