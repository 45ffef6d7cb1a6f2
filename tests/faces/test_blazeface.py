"""BlazeFace's anchors and the blending of its guesses, without its networks."""

from __future__ import annotations

import numpy as np
import pytest

from fsr_plugins.faces.blazeface import anchors, merge


@pytest.mark.parametrize(('side', 'count'), [(128, 896), (192, 2304)])
def test_anchors_are_as_many_as_the_networks_guesses(side: int, count: int) -> None:
    places = anchors(side)
    assert places.shape == (count, 2) and places.dtype == np.float32
    np.testing.assert_allclose(places.mean(axis=0), 0.5, atol=1e-6)
    assert places.min() > 0 and places.max() < 1


def test_anchors_go_by_level_row_and_column() -> None:
    places = anchors(128) * 128
    np.testing.assert_allclose(places[[0, 1, 2, 32, 511]], [[4, 4], [4, 4], [12, 4], [4, 12], [124, 124]])
    np.testing.assert_allclose(places[[512, 517, 518, -1]], [[8, 8], [8, 8], [24, 8], [120, 120]])


def guess(x: float, y: float, side: float = 10) -> list[list[float]]:
    """A box and one point at its centre."""
    return [[x, y], [x + side, y + side], [x + side / 2, y + side / 2]]


def test_guesses_at_a_face_become_their_mean_by_score() -> None:
    places = np.array([guess(0, 0), guess(2, 0), guess(40, 40), guess(1, 0)], np.float32)
    scores = np.array([0.6, 0.9, 0.8, 0.5], np.float32)
    merged, best = merge(places, scores, 0.3)
    np.testing.assert_allclose(best, [0.9, 0.8])
    x = (0.6 * 0 + 0.9 * 2 + 0.5 * 1) / 2.0
    np.testing.assert_allclose(merged, [guess(x, 0), guess(40, 40)], rtol=1e-5)


def test_a_guess_counts_for_one_face_only() -> None:
    # The middle guess overlaps both others by a third, they do not overlap enough; the better one takes it.
    places = np.array([guess(0, 0), guess(5, 0), guess(9, 0)], np.float32)
    scores = np.array([0.9, 0.6, 0.8], np.float32)
    merged, best = merge(places, scores, 0.3)
    np.testing.assert_allclose(best, [0.9, 0.8])
    np.testing.assert_allclose(merged[:, 0, 0], [(0.6 * 5) / 1.5, 9], rtol=1e-5)
