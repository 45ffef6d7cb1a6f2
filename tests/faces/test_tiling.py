"""Faces of every size by tiles and levels. The detector is a stand-in that sees white squares of some sizes only."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsr_plugins.faces import Detection, TiledDetector, open_detector, tiled
from fsr_plugins.faces.tiling import enlargement, merged, tile_starts
from fsr_plugins.portraits import render

SIDE, OVERLAP = 256, 64


class Squares:
    """Sees white rectangles whose longer side is 20 to 80 pixels; those cut off, too, and is surer of them."""

    def __init__(self, smallest: int = 20, largest: int = 80) -> None:
        self.smallest, self.largest = smallest, largest
        self.calls: list[list[tuple[int, ...]]] = []

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        self.calls.append([image.shape[:2] for image in images])
        return [self._see(image) for image in images]

    def _see(self, image: np.ndarray) -> list[Detection]:
        _, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 127).astype(np.uint8))
        found = []
        for x, y, width, height, _ in stats[1:]:
            if not self.smallest <= max(width, height) <= self.largest:
                continue
            box = np.array([x, y, x + width, y + height], np.float32) - 0.5
            corners = box[[0, 1, 2, 1, 0, 3, 2, 3]].reshape(4, 2)
            points = np.concatenate([corners, corners.mean(axis=0, keepdims=True)])
            found.append(Detection(box, 0.9 if abs(width - height) <= 2 else 0.99, points))
        return found


def scene(height: int, width: int, squares: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Black, with white squares of (x, y, side)."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, y, side in squares:
        image[y : y + side, x : x + side] = 255
    return image


def looking(finest: int = 4) -> tuple[TiledDetector, Squares]:
    stand_in = Squares()
    return TiledDetector(stand_in, SIDE, OVERLAP, finest), stand_in


def test_squares_of_every_size_are_found_once_and_in_their_place() -> None:
    rng = np.random.default_rng(0)
    # One square in each cell of a grid of 200 pixels, somewhere in it: borders of tiles cross many.
    sides = rng.choice([12, 15, 20, 28, 40, 57, 80, 110, 160], 48)
    squares = [
        (200 * (place % 8) + int(rng.integers(2, 195 - side)), 200 * (place // 8) + int(rng.integers(2, 195 - side)),
         int(side))
        for place, side in enumerate(sides)
    ]  # fmt: skip
    detector, _ = looking()
    found = detector.detect([scene(1200, 1600, squares)])[0]
    assert len(found) == len(squares)
    wanted = np.array([(x, y, x + side, y + side) for x, y, side in squares]) - 0.5
    boxes = np.array([face.box for face in found])
    off = np.abs(wanted[:, None] - boxes[None]).max(axis=2)
    # A level's pixel is a twentieth of what is found on it at least.
    assert (off.min(axis=1) < 1 + 0.05 * sides).all() and len(set(off.argmin(axis=1))) == len(squares)
    for face in found:
        np.testing.assert_allclose(face.points[4], (face.box[:2] + face.box[2:]) / 2, atol=0.01)
        assert (face.box.dtype, face.points.dtype) == (np.float32, np.float32)


def test_a_square_larger_than_a_tile_is_found_on_a_coarser_level() -> None:
    detector, _ = looking()
    found = detector.detect([scene(1501, 2003, [(321, 207, 600)])])[0]
    assert len(found) == 1
    np.testing.assert_allclose(found[0].box, [320.5, 206.5, 920.5, 806.5], atol=12)


@pytest.mark.parametrize(('side', 'count'), [(15, 1), (35, 0)])
def test_a_fine_level_is_believed_for_small_faces_only(side: int, count: int) -> None:
    # Sides of 60 at fourfold size; of 140 and 70 at fourfold and double, and unseen on coarser levels.
    detector = TiledDetector(Squares(50, 200), SIDE, OVERLAP, 4)
    assert len(detector.detect([scene(600, 600, [(270, 270, side)])])[0]) == count


@pytest.mark.parametrize('shape', [(1, 1), (1, 700), (300, 255), (2000, 3001)])
def test_tiles_are_small_and_few_at_a_time(shape: tuple[int, int]) -> None:
    detector, stand_in = looking()
    assert detector.detect([scene(*shape, [])]) == [[]]
    assert all(max(size) <= SIDE for call in stand_in.calls for size in call)
    assert all(1 <= len(call) <= detector.together for call in stand_in.calls)


def test_the_enlarged_photograph_never_exists_whole() -> None:
    photograph = scene(2000, 3000, [])
    detector, _ = looking()
    detector.detect([scene(100, 100, [])])
    tracemalloc.start()
    detector.detect([photograph])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Coarser levels are a quarter and a sixteenth of the photograph; enlarged twice it has four times its bytes.
    assert peak < 0.6 * photograph.nbytes


@pytest.mark.parametrize(('length', 'side', 'overlap'), [(257, 256, 64), (449, 256, 64), (5000, 256, 96), (300, 64, 0)])
def test_what_is_shorter_than_the_overlap_lies_whole_in_a_tile(length: int, side: int, overlap: int) -> None:
    starts = np.array(tile_starts(length, side, overlap))
    begin = np.arange(length - overlap + 1)[:, None]
    assert ((starts <= begin) & (begin + overlap <= starts + side)).any(axis=1).all()
    assert starts[0] == 0 and starts[-1] + side == length
    assert len(starts) == -(-(length - overlap) // (side - overlap))


def test_a_length_of_one_tile_has_one() -> None:
    assert tile_starts(256, 256, 64) == tile_starts(10, 256, 64) == [0]


def test_small_photographs_are_enlarged_more_and_large_ones_twice() -> None:
    shapes = [(100, 100, 3), (1000, 1500, 3), (2000, 3000, 3), (9000, 12000, 3)]
    assert [enlargement(shape, 8) for shape in shapes] == [8, 4, 2, 2]
    assert [enlargement(shape, 4) for shape in shapes] == [4, 4, 2, 2]
    assert [enlargement(shape, 1) for shape in shapes] == [2, 2, 2, 2]


def face(box: Sequence[float], score: float) -> Detection:
    return Detection(np.array(box, np.float32), score, np.zeros((5, 2), np.float32))


@pytest.mark.parametrize(
    ('faces', 'cut_off', 'kept'),
    [
        # A piece at a border gives way to the whole face, however sure.
        ([([0, 0, 100, 100], 0.6), ([0, 0, 60, 100], 0.99)], [False, True], [0]),
        ([([0, 0, 100, 100], 0.6), ([0, 0, 40, 100], 0.99)], [False, True], [0]),
        # Where there is no whole one the piece stays.
        ([([0, 0, 40, 100], 0.99)], [True], [0]),
        # A part of a face that no border cut gives way as well.
        ([([0, 0, 100, 100], 0.8), ([20, 20, 50, 50], 0.9)], [False, False], [0]),
        # A small sure face is not swallowed by a large unsure box, nor by a piece.
        ([([0, 0, 100, 100], 0.5), ([20, 20, 50, 50], 0.9)], [False, False], [1, 0]),
        ([([0, 0, 100, 100], 0.9), ([20, 20, 50, 50], 0.8)], [True, False], [0, 1]),
        # One face on two levels is one; neighbours are two.
        ([([0, 0, 100, 100], 0.8), ([4, 2, 104, 98], 0.9)], [False, False], [1]),
        ([([0, 0, 100, 100], 0.8), ([90, 0, 130, 40], 0.9)], [False, False], [1, 0]),
        ([], [], []),
    ],
)  # fmt: skip
def test_what_is_kept_of_boxes_that_overlap(
    faces: list[tuple[list[float], float]], cut_off: list[bool], kept: list[int]
) -> None:
    assert merged([face(*one) for one in faces], np.array(cut_off, bool), 0.4) == kept


def test_trained_it_finds_small_faces_in_a_large_photograph() -> None:
    """Needs ``retinaface_mobilenet0.25.pth``, facexlib's weights, in the folder ``$FSR_TEST_WEIGHTS``."""
    file = Path(os.environ.get('FSR_TEST_WEIGHTS', '')) / 'retinaface_mobilenet0.25.pth'
    if not file.is_file():
        pytest.skip(f'no {file.name} in $FSR_TEST_WEIGHTS')
    photograph = np.full((2000, 3000, 3), 128, np.uint8)
    places = [(x, y) for y in range(37, 1900, 450) for x in range(51, 2900, 470)]
    for (x, y), drawn in zip(places, render('studio', 'train', range(len(places)), size=64, seed=0), strict=True):
        photograph[y : y + 64, x : x + 64] = drawn.image
    detector = open_detector('retinaface_mobilenet0.25', file)
    found = tiled('retinaface_mobilenet0.25', detector, 4).detect([photograph])[0]
    boxes = np.array([one.box for one in found])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    near = np.abs(middles[None] - (np.array(places) + 32)[:, None]).max(axis=2) < 16
    assert (near.sum(axis=1) == 1).mean() >= 0.95
    assert len(detector.detect([photograph])[0]) < len(places) / 2
