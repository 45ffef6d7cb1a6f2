"""The nearest of one person against brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fsr_plugins.data import neighbours
from fsr_plugins.data.neighbours import nearest_of_same_identity


def brute_force(embeddings: np.ndarray, identities: np.ndarray, k: int) -> np.ndarray:
    """By the definition, in float64."""
    cosines = embeddings.astype(np.float64) @ embeddings.astype(np.float64).T
    found = np.full((len(identities), k), -1)
    for row, person in enumerate(identities):
        others = [place for place in np.flatnonzero(identities == person) if place != row]
        others.sort(key=lambda place: (-cosines[row, place], place))
        found[row, : len(others)] = others[:k]
    return found


def unit(seed: int, number: int, size: int = 16) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((number, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize('tile', [4, 1024])
@pytest.mark.parametrize('rows', [8, 1 << 13])
@pytest.mark.parametrize('k', [1, 3, 30])
def test_nearest_are_those_of_brute_force(tile: int, rows: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Persons of 1 to about 40 images, in any order, with any numbers."""
    monkeypatch.setattr(neighbours, '_TILE', tile)
    monkeypatch.setattr(neighbours, '_ROWS', rows)
    rng = np.random.default_rng(0)
    identities = (rng.geometric(0.07, 250) - 9) ** 3
    assert {1, 2} < set(np.unique(identities, return_counts=True)[1].tolist())
    embeddings = unit(1, 250)
    found = nearest_of_same_identity(embeddings, identities, k)
    assert found.dtype == np.int64 and np.array_equal(found, brute_force(embeddings, identities, k))


@pytest.mark.parametrize('tile', [4, 1024])
def test_equal_cosines_go_to_the_lower_position(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of halves: every product is exact, and only -1, -0.5, 0, 0.5 and 1 occur."""
    monkeypatch.setattr(neighbours, '_TILE', tile)
    rng = np.random.default_rng(2)
    embeddings = rng.choice(np.array([-0.5, 0.5], np.float32), (120, 4))
    identities = rng.integers(0, 6, 120)
    assert np.array_equal(nearest_of_same_identity(embeddings, identities, 9), brute_force(embeddings, identities, 9))


def test_one_large_person_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / 'e.npy', unit(3, 2500, 8))
    embeddings = np.load(tmp_path / 'e.npy', mmap_mode='r')
    identities = np.full(2500, 7)
    cosines = embeddings.astype(np.float64) @ embeddings.T
    np.fill_diagonal(cosines, -2)
    found = nearest_of_same_identity(embeddings, identities, 3)
    expected = -np.sort(-cosines, axis=1)[:, :3]
    np.testing.assert_allclose(np.take_along_axis(cosines, found, axis=1), expected, atol=1e-6)
    assert all(len(set(row)) == 3 for row in found.tolist())


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match=r'\(4, 8\).*\(5,\)'):
        nearest_of_same_identity(unit(0, 4, 8), np.zeros(5, np.int64), 2)
    with pytest.raises(ValueError, match='k 0'):
        nearest_of_same_identity(unit(0, 4, 8), np.zeros(4, np.int64), 0)
