"""Squares around boxes, against padding and slicing of the whole picture."""

from __future__ import annotations

import numpy as np
import pytest
from basicsr.utils.matlab_functions import imresize

from fsr_plugins.prepare.boxes import box_of_points, crop_box, crop_points, crop_square, square
from fsr_plugins.prepare.plan import Item

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ('box', 'margin', 'expected'),
    [
        ((10, 20, 30, 40), 0.0, (10, 20, 20)),
        ((10, 20, 30, 40), 0.25, (5, 15, 30)),
        ((10, 20, 30, 60), 0.0, (0, 20, 40)),
        ((10, 20, 30, 40), -0.25, (15, 25, 10)),
        ((0, 0, 10, 10), 0.5, (-5, -5, 20)),
    ],
)
def test_square(box: tuple[int, ...], margin: float, expected: tuple[int, int, int]) -> None:
    assert square(box, margin) == expected


@pytest.mark.parametrize('box', [(1, 1, 1, 5), (5, 1, 1, 5), (0, 0, float('nan'), 1), (0, 0, float('inf'), 1)])
def test_what_is_no_box(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match='no area'):
        square(box, 0)
    with pytest.raises(ValueError, match='leaves nothing'):
        square((0, 0, 4, 4), -0.5)


@pytest.mark.parametrize(('left', 'top'), [(20, 10), (-9, -30), (50, 35), (-20, 5), (-100, 0)])
@pytest.mark.parametrize('size', [40, 120, 24])
def test_cut_beyond_the_border(left: int, top: int, size: int) -> None:
    side = max(40, size)
    if left == -100 and side < 101:
        with pytest.raises(ValueError, match='outside'):
            crop_square(PICTURE, left, top, side, size)
        return
    whole = np.pad(PICTURE, ((200, 200), (200, 200), (0, 0)), mode='edge')
    expected = whole[top + 200 : top + 200 + side, left + 200 : left + 200 + side]
    if size < side:
        small = np.clip(imresize(expected.astype(np.float32) / 255, size / side), 0, 1) * 255
        assert np.abs(crop_square(PICTURE, left, top, side, size) - small).max() <= 0.51
    else:
        assert np.array_equal(crop_square(PICTURE, left, top, side, size), expected)


def test_a_box_goes_through_the_outermost_points() -> None:
    assert box_of_points(np.array([[3.0, 9.0], [7.0, 4.5]])) == (3.5, 5, 7.5, 9.5)


def test_what_a_box_claims_is_not_believed() -> None:
    with pytest.raises(ValueError, match='is no part of 80x60'):
        crop_square(PICTURE, -(10**9), -(10**9), 2 * 10**9, 64)
    item = Item('key', 'name')
    assert crop_box(item, PICTURE, (0, 0, 2e9, 2e9), margin=0, size=16).reason == 'bad box'  # type: ignore[union-attr]
    small = crop_box(item, PICTURE, (0, 0, 9, 9), margin=0, size=16)
    assert small == ('name', 'too small', 'the square around the face has 9 pixels, 16 are needed')


def test_nothing_is_enlarged() -> None:
    with pytest.raises(ValueError, match='nothing is enlarged'):
        crop_square(PICTURE, 0, 0, 30, 31)


def test_points_follow_the_picture() -> None:
    """A bright pixel is found where its point has gone."""
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[30:32, 44:46] = 255
    small = crop_square(picture, -4, 10, 64, 32)
    ((x, y),) = crop_points(np.array([[44.5, 30.5]], np.float32), -4, 10, 64, 32)
    assert np.unravel_index(small[..., 0].argmax(), (32, 32)) == (y, x) == (10, 24)
