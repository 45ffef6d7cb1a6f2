"""What a checkpoint says of the faces that its network was trained on: their size, and where the points lie."""

from __future__ import annotations

from typing import Any

import pytest

from fsr_plugins.checkpoints import saw_crops_of_anything, trained_on

POINTS = [[20.0, 30.0], [50.0, 30.0], [35.0, 45.0], [25.0, 60.0], [45.0, 60.0]]


def meta(crop: int | None, size: tuple[int, int] | None, points: list[list[float]] | None = POINTS) -> Any:
    store = {key: value for key, value in {'size': size, 'points': points}.items() if value is not None}
    return {'sizes': {'train': crop}, 'manifests': {'train': [store]}}


@pytest.mark.parametrize('crop', [None, 72])
def test_whole_images_have_the_points_of_the_store(crop: int | None) -> None:
    assert trained_on(meta(crop, (72, 72))) == {'size': (72, 72), 'points': POINTS}


def test_a_crop_moved_by_little_has_those_of_its_middle_place() -> None:
    found = trained_on(meta(64, (72, 68)))  # rows and columns: moved by up to 8 and up to 4
    assert found == {'size': (64, 64), 'points': [(x - 2, y - 4) for x, y in POINTS]}


@pytest.mark.parametrize('size', [(73, 64), (64, 73), (60, 64), None])
def test_a_crop_moved_by_much_has_none(size: tuple[int, int] | None) -> None:
    assert trained_on(meta(64, size)) == {'size': (64, 64), 'points': None}


def test_no_points_stay_none() -> None:
    assert trained_on(meta(64, (72, 72), None)) == {'size': (64, 64), 'points': None}
    assert trained_on({}) == {'size': None, 'points': None}  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ('crop', 'size', 'points', 'is_so'),
    [
        (16, (32, 32), None, True),
        (16, None, None, True),
        (16, (32, 32), POINTS, True),  # which the crops do not show, or anywhere
        (64, (72, 68), POINTS, False),
        (64, (64, 64), None, False),
        (None, (64, 64), None, False),
        (None, None, None, False),
    ],
)
def test_crops_that_need_not_show_a_face(
    crop: int | None, size: tuple[int, int] | None, points: list[list[float]] | None, is_so: bool
) -> None:
    assert saw_crops_of_anything(meta(crop, size, points)) == is_so
