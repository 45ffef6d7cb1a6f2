"""Faces over time: without jitter and lag, each one person's, and looked for where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tiny_clips import POINTS, SIDE, RedSquares, frame, place

from fsr_plugins.faces import Detection, TiledDetector
from fsr_plugins.restore.video.looking import Looked, Looker
from fsr_plugins.restore.video.smoothing import smoothed
from fsr_plugins.restore.video.tracks import linked, row


def test_motion_at_constant_speed_has_no_lag() -> None:
    speed = np.array([1.7, -0.4])
    true = 100 + np.arange(60)[:, None] * speed
    noisy = true + np.random.default_rng(0).normal(0, 0.5, true.shape)
    # The mean shift along the motion, in frames, with noise; and without any, at both ends too.
    lag = ((true - smoothed(noisy)) @ speed / (speed @ speed))[6:-6].mean()
    assert abs(lag) < 0.1
    exact = np.abs((true - smoothed(true)) @ speed / (speed @ speed))
    assert exact.max() < 1e-6


def test_jitter_falls_to_less_than_half() -> None:
    noise = np.random.default_rng(1).normal(0, 1, (2000, 2))
    left = smoothed(noise)
    assert left.std() < 0.45 * noise.std()
    assert np.diff(left, axis=0).std() < 0.2 * np.diff(noise, axis=0).std()


def test_a_nod_is_followed() -> None:
    """Ten pixels up and down once a second at 25 frames a second."""
    true = 10 * np.sin(2 * np.pi * np.arange(100) / 25)[:, None]
    assert np.abs(smoothed(true) - true).max() < 0.15 * 10


@pytest.mark.parametrize('count', [1, 2, 3])
def test_short_series_are_smoothed_too(count: int) -> None:
    true = 5.0 + 2 * np.arange(count)[:, None]
    assert np.abs(smoothed(true) - true).max() < 1e-9


def face(x: float, y: float, side: float = 20) -> Detection:
    box = np.array([x, y, x + side, y + side], np.float32)
    return Detection(box, 0.9, (np.array([x, y]) + POINTS * side).astype(np.float32))


def test_faces_that_pass_each_other_stay_themselves() -> None:
    rows = []
    for number in range(60):
        both = [face(3 * number, 40), face(177 - 3 * number, 52)]
        rows += [row(number, one) for one in both[:: 1 if number % 2 else -1]]
    tracks = linked(np.stack(rows), 60)
    assert len(tracks) == 2 and all(len(track.boxes) == 60 for track in tracks)
    for track in tracks:
        speed = np.diff(track.boxes[:, 0])
        assert np.abs(speed - np.sign(speed[0]) * 3).max() < 0.01


def test_gaps_are_filled_flashes_are_dropped_and_cuts_end_faces() -> None:
    seen = [number for number in range(40) if number not in (10, 11, 12, 13)]
    rows = [row(number, face(2 * number, 30)) for number in seen]
    rows += [row(20, face(150, 150)), row(21, face(150, 150))]
    (whole,) = linked(np.stack(rows), 40)
    assert len(whole.boxes) == 40 and whole.seen == 36
    assert np.abs(whole.boxes[:, 0] - 2 * np.arange(40)).max() < 1e-3
    before, after = linked(np.stack(rows), 40, [25])
    assert (before.first, len(before.boxes), after.first, len(after.boxes)) == (0, 25, 25, 15)
    assert before.fade.min() == after.fade.min() == 1


def test_a_face_that_comes_and_goes_fades() -> None:
    (track,) = linked(np.stack([row(number, face(30, 30)) for number in range(10, 30)]), 50)
    assert track.at(9) is None and track.at(30) is None
    shares = [track.at(number)[1] for number in range(10, 30)]  # type: ignore[index]
    assert shares[:4] == [0.25, 0.5, 0.75, 1] and shares[-4:] == [1, 0.75, 0.5, 0.25]


def test_known_faces_are_looked_for_where_they_are() -> None:
    detector = RedSquares()
    looker, looked = Looker(TiledDetector(detector)), Looked()
    pixels = []
    for number in range(20):
        before = detector.pixels
        looker.look(number, frame(number, 2), number == 0, looked)
        pixels.append(detector.pixels - before)
    assert max(pixels[1:]) == 2 * 192 * 192 < pixels[0]
    tracks = linked(looked.table(), 20)
    assert len(tracks) == 2
    for which, track in enumerate(sorted(tracks, key=lambda one: one.boxes[0, 1])):
        true = np.array([place(number, which) for number in range(20)])
        assert np.abs(track.boxes[:, :2] - true).max() < 1 and np.abs(track.boxes[:, 2:] - true - SIDE).max() < 1.5


def test_a_face_that_came_in_between_is_followed_back() -> None:
    looker, looked = Looker(TiledDetector(RedSquares())), Looked()
    for number in range(24):
        looker.look(number, frame(number, 2 if number >= 9 else 1), number in (0, 20), looked)
    tracks = linked(looked.table(), 24)
    assert sorted(track.first for track in tracks) == [0, 9]
    assert all(len(track.boxes) + track.first == 24 for track in tracks)


class Missing(RedSquares):
    """Misses all in the next views when ``misses`` is set."""

    misses = False

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        if self.misses and images[0].shape[:2] == (192, 192):
            self.misses = False
            return [[] for _ in images]
        return super().detect(images)


@pytest.mark.parametrize('first', [16, 15, 12])
def test_a_known_face_that_was_missed_is_followed_back_to_where_it_was_seen(first: int) -> None:
    detector = Missing()
    looker, looked = Looker(TiledDetector(detector)), Looked()
    for number in range(30):
        detector.misses = first <= number <= 16
        looker.look(number, frame(number, 2), number in (0, 16), looked)
    rows = looked.table()
    assert np.bincount(rows[:, 0].astype(int)).tolist() == [2] * 30
    tracks = linked(rows, 30)
    assert [(track.first, track.seen) for track in tracks] == [(0, 30), (0, 30)]


def test_two_faces_that_are_followed_back_to_one_place_are_one_there() -> None:
    looker, looked = Looker(TiledDetector(RedSquares())), Looked()
    for number in range(24):
        image = frame(number, 0)
        corners = [] if number < 10 else [50] if number < 16 else [43, 54]
        for x in corners:
            image[60:70, x : x + SIDE] = (220, 20, 30)
        looker.look(number, image, number in (0, 16), looked)
    assert np.bincount(looked.table()[:, 0].astype(int)).tolist() == [0] * 10 + [1] * 6 + [2] * 8
    assert sorted(track.first for track in linked(looked.table(), 24)) == [10, 16]


def test_another_scene_is_looked_at_as_a_whole() -> None:
    looker, looked = Looker(TiledDetector(RedSquares())), Looked()
    for number in range(12):
        image = frame(number) if number < 5 else 255 - frame(number, 0)
        if number >= 5:
            image[70:80, 100:110] = (220, 20, 30)
        looker.look(number, image, number == 0, looked)
    assert looked.cuts == [5]
    first, second = linked(looked.table(), 12, looked.cuts)
    assert (first.first, len(first.boxes), second.first, len(second.boxes)) == (0, 5, 5, 7)


def test_one_who_goes_on_sees_what_one_who_was_not_stopped_sees() -> None:
    looker, whole = Looker(TiledDetector(RedSquares())), Looked()
    states = {}
    for number in range(30):
        if number == 16:
            states = {'carried': looker.carried, 'held': looker.held, 'rows': whole.table()}
        looker.look(number, frame(number, 2 if number >= 12 else 1), number in (0, 16), whole)
    again, rest = Looker(TiledDetector(RedSquares())), Looked()
    for number in range(16 - states['held'], 16):
        again.hold(number, frame(number, 2 if number >= 12 else 1), states['rows'][states['rows'][:, 0] == number])
    again.go_on(states['carried'])
    for number in range(16, 30):
        again.look(number, frame(number, 2), number == 16, rest)
    assert np.array_equal(rest.table(), np.stack(whole.rows)[-len(rest.rows) :])
    assert (rest.table()[:, 0] < 16).any()
