"""Suppression of overlapping boxes, against areas counted pixel by pixel."""

from __future__ import annotations

import numpy as np

from fsr_plugins.faces.overlap import best_of_each, shared, within


def drawn(box: np.ndarray) -> np.ndarray:
    canvas = np.zeros((40, 40), bool)
    x0, y0, x1, y1 = box.astype(int)
    canvas[y0:y1, x0:x1] = True
    return canvas


def random_boxes(seed: int, count: int = 30) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 20, (count, 2))
    return np.concatenate([corners, corners + rng.integers(1, 20, (count, 2))], 1).astype('f4')


def counted(one: np.ndarray, other: np.ndarray) -> float:
    return (drawn(one) & drawn(other)).sum() / (drawn(one) | drawn(other)).sum()


def test_shares_are_those_of_drawn_boxes() -> None:
    boxes = random_boxes(0)
    for box in boxes[:5]:
        np.testing.assert_allclose(shared(box, boxes), [counted(box, other) for other in boxes], rtol=1e-6)
    assert shared(np.zeros(4, 'f4'), np.zeros((1, 4), 'f4')).tolist() == [0]


def test_parts_inside_are_those_of_drawn_boxes() -> None:
    boxes = random_boxes(1)
    for box in boxes[:5]:
        inside = [(drawn(other) & drawn(box)).sum() / drawn(other).sum() for other in boxes]
        np.testing.assert_allclose(within(boxes, box), inside, rtol=1e-6)
    assert within(np.zeros((1, 4), 'f4'), boxes[0]).tolist() == [0]


def test_what_is_kept_overlaps_nothing_better_and_what_is_not_does() -> None:
    boxes, scores = random_boxes(2), np.random.default_rng(3).permutation(30).astype('f4')
    kept = best_of_each(boxes, scores, 0.3).tolist()
    assert scores[kept].tolist() == sorted(scores[kept].tolist(), reverse=True) and 1 < len(kept) < 30
    for place, box in enumerate(boxes):
        better = [other for other in kept if scores[other] > scores[place]]
        assert (place in kept) == all(counted(box, boxes[other]) <= 0.3 for other in better)
    assert best_of_each(np.zeros((0, 4), 'f4'), np.zeros(0, 'f4'), 0.3).tolist() == []
