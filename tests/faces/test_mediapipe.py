"""MediaPipe's engines on drawn faces, whose points are known exactly. Skipped without the extra or its files."""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np
import pytest

from fsr_plugins.errors import UserError
from fsr_plugins.faces import Detector, align_ffhq, open_detector, open_landmarker, open_parser, tflite
from fsr_plugins.portraits import render
from fsr_plugins.portraits.domains import Portrait

pytest.importorskip('ai_edge_litert')

SIZE = 192


@pytest.fixture(scope='module', autouse=True)
def _files() -> None:
    """Skips where the networks' files are not on disk: no test downloads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('FSR_OFFLINE', '1')
        try:
            open_detector('mediapipe')
        except UserError as error:
            pytest.skip(str(error))


@pytest.fixture(scope='module')
def faces() -> list[Portrait]:
    return render('studio', 'train', range(12), size=SIZE, seed=0)


@pytest.fixture(scope='module')
def detector() -> Detector:
    return open_detector('mediapipe')


def off(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(5,) distances as shares of the distance between the eyes."""
    return np.linalg.norm(points - truth, axis=1) / np.linalg.norm(truth[0] - truth[1])


def test_drawn_faces_are_found_and_their_points_lie_right(faces: list[Portrait], detector: Detector) -> None:
    found = detector.detect([face.image for face in faces])
    for one in found:
        assert len(one) == 1 and 0.5 < one[0].score <= 1
        box, points = one[0].box, one[0].points
        assert ((points > box[:2]) & (points < box[2:])).all()
        assert (box.dtype, points.dtype) == (np.float32, np.float32)
    mean = np.mean([off(one[0].points, face.landmarks) for one, face in zip(found, faces, strict=True)], axis=0)
    # Eyes exactly; a drawn nose has no clear tip and drawn mouths are wider than the mesh takes them to be. A wrong
    # order would be wrong by at least 0.5.
    assert (mean < [0.05, 0.05, 0.08, 0.15, 0.15]).all()


def test_what_is_said_of_a_delegate_is_dropped_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    open_detector('mediapipe')
    assert capfd.readouterr().err == ''
    with tflite._without_notice():
        os.write(2, b'first\nINFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nlast\n')
        print('printed', file=sys.stderr, flush=True)
    os.write(2, b'after\n')
    assert [line for line in capfd.readouterr().err.split() if line != 'printed'] == ['first', 'last', 'after']


def test_scale_place_and_neighbours_do_not_matter(faces: list[Portrait], detector: Detector) -> None:
    # The smaller face is seen by BlazeFace's full range only, the larger by both.
    one, other = faces[0], faces[1]
    image = np.zeros((3 * SIZE, 5 * SIZE, 3), np.uint8)
    large = cv2.resize(one.image, (2 * SIZE, 2 * SIZE), interpolation=cv2.INTER_LINEAR)
    image[40 : 40 + 2 * SIZE, 60 : 60 + 2 * SIZE] = large
    image[300 : 300 + SIZE, 700 : 700 + SIZE] = other.image
    found = sorted(detector.detect([image])[0], key=lambda face: face.box[0])
    assert len(found) == 2
    # The centre of pixel k lies at 2 k + 0.5 of the enlarged image.
    assert off(found[0].points, 2 * one.landmarks + 0.5 + [60, 40]).max() < 0.2
    assert off(found[1].points, other.landmarks + [700, 300]).max() < 0.2


@pytest.mark.parametrize('angle', [-35, 35])
def test_turned_faces_keep_the_order_of_their_points(angle: float, faces: list[Portrait], detector: Detector) -> None:
    matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), angle, 0.9)
    for face in faces[:4]:
        image = cv2.warpAffine(face.image, matrix, (SIZE, SIZE), flags=cv2.INTER_AREA)
        truth = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
        assert off(detector.detect([image])[0][0].points, truth).mean() < 0.12


def test_the_mesh_looks_where_another_detector_pointed(faces: list[Portrait], detector: Detector) -> None:
    images = [face.image for face in faces[:4]]
    found = [one[0] for one in detector.detect(images)]
    marks = open_landmarker('mediapipe').points(images, [*found[:3], None])
    assert marks[3] is None
    for one, face in zip(marks[:3], faces, strict=False):
        assert one.dense.shape == (468, 2) and 0.5 < one.score <= 1
        assert off(one.points, face.landmarks)[:3].max() < 0.12
    with pytest.raises(ValueError, match='4 images, but 1 detections'):
        open_landmarker('mediapipe').points(images, found[:1])


def test_where_no_face_is_none_is_found(faces: list[Portrait], detector: Detector) -> None:
    empty = np.full((100, 140, 3), 90, np.uint8)
    assert detector.detect([empty, faces[0].image, empty])[::2] == [[], []]
    assert open_parser('mediapipe').parse([empty]) == [None]
    # The mesh is shown a place without a face.
    elsewhere = detector.detect([faces[0].image])[0]
    assert open_landmarker('mediapipe').points([np.full_like(faces[0].image, 128)], elsewhere) == [None]


def test_maps_show_the_parts_on_their_sides(faces: list[Portrait]) -> None:
    maps = open_parser('mediapipe').parse([face.image for face in faces])
    for parts, face in zip(maps, faces, strict=True):
        assert parts.shape == (SIZE, SIZE) and parts.dtype == np.uint8
        left_eye, right_eye, nose, *mouth = np.rint(face.landmarks).astype(int)
        # Id 4 is the subject's left eye, at the image's right.
        assert parts[left_eye[1], left_eye[0]] == 5
        assert parts[right_eye[1], right_eye[0]] == 4
        assert parts[nose[1], nose[0]] == 10
        middle = np.mean(mouth, axis=0).astype(int)
        assert {11, 12, 13} & set(parts[middle[1] - 4 : middle[1] + 5, middle[0]].tolist())
    ours, truth = np.stack(maps), np.stack([face.parsing for face in faces])
    for part, enough in ((1, 0.6), (4, 0.5), (5, 0.5), (10, 0.5)):
        both, either = (ours == part) & (truth == part), (ours == part) | (truth == part)
        assert both.sum() / either.sum() > enough


def test_the_way_to_an_aligned_face(faces: list[Portrait], detector: Detector) -> None:
    found = detector.detect([faces[2].image])[0][0]
    face = align_ffhq(faces[2].image, found.points, 160)
    # In FFHQ's position the eyes lie at 0.38 and 0.62 of the side, at 0.47 of its height.
    again = detector.detect([face])[0][0]
    np.testing.assert_allclose(again.points[:2] / 160, [[0.38, 0.47], [0.62, 0.47]], atol=0.04)


def test_a_folder_of_files_is_used(tmp_path: object) -> None:
    with pytest.raises(UserError, match=r'face_detection_short_range\.tflite'):
        open_detector('mediapipe', str(tmp_path))
