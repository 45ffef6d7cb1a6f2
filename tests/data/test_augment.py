"""Flips and corners: BasicSR's flips, labels and landmarks along with them, uniform draws."""

from __future__ import annotations

import numpy as np
import pytest
from basicsr.data.transforms import augment

from fsr_plugins.data.augment import MIRRORED_IDS, Flip, draw_corner, draw_flip


def coordinates(height: int, width: int, number: int = 0) -> np.ndarray:
    """An image whose pixels say where they are: (row, column, number)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, number)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize('hflip', [False, True])
@pytest.mark.parametrize('vflip', [False, True])
@pytest.mark.parametrize('transpose', [False, True])
def test_turns_are_basicsrs(hflip: bool, vflip: bool, transpose: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    flip = Flip(hflip, vflip, transpose)
    image = coordinates(12, 12, 3)
    draws = iter([0.0 if flag else 1.0 for flag in flip])
    monkeypatch.setattr('random.random', lambda: next(draws))
    expected = augment(image.copy())
    out = np.empty_like(image)
    flip.write(image, out)
    assert np.array_equal(out, expected)
    # Landmarks and labels follow the pixels: a marked pixel is found where its turned landmark is.
    points = np.array([[1, 2], [8, 3], [5, 6], [2, 9], [7, 10]], np.float32)
    labels = np.zeros((12, 12), np.uint8)
    names = np.array([4, 5, 10, 7, 8], np.uint8)
    for label, (x, y) in zip(names, points.astype(int), strict=True):
        labels[y, x] = label
    turned = np.empty_like(labels)
    flip.write_labels(labels, turned)
    for label, (x, y) in zip(names, flip.points(points, 12, 12).astype(int), strict=True):
        assert turned[y, x] == label


def test_mirroring_twice_is_nothing() -> None:
    assert np.array_equal(MIRRORED_IDS[MIRRORED_IDS], np.arange(256))
    assert [int(MIRRORED_IDS[label]) for label in (1, 2, 3, 4, 5, 7, 8, 12)] == [1, 3, 2, 5, 4, 8, 7, 12]


def test_draws_are_uniform() -> None:
    turns = np.array([draw_flip(seed, True, True) for seed in range(4000)])
    counts = np.bincount(turns @ [1, 2, 4], minlength=8)
    assert ((counts - 500) ** 2 / 500).sum() < 24.3  # 7 degrees of freedom, p = 0.001
    assert not any(draw_flip(seed, True, False)[1:] != (False, False) for seed in range(50))
    corners = np.array([draw_corner(seed, (24, 20), (12, 12), 4) for seed in range(4000)])
    assert set(corners[:, 0]) == {0, 4, 8, 12} and set(corners[:, 1]) == {0, 4, 8}
    counts = np.bincount(corners[:, 0] // 4 * 3 + corners[:, 1] // 4, minlength=12)
    assert ((counts - 4000 / 12) ** 2 / (4000 / 12)).sum() < 31.3  # 11 degrees of freedom
