"""MTCNN: its parts on made-up candidates, and whole on drawn faces where the wheel with its weights is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from prepared import picture

from fsr_plugins.errors import UserError
from fsr_plugins.faces import best_without_download, mtcnn, open_detector, tflite, tiled
from fsr_plugins.faces.overlap import best_of_each, of_the_smaller
from fsr_plugins.portraits import render

needs_weights = pytest.mark.skipif(not mtcnn.installed(), reason='facenet-pytorch, which holds the weights, is missing')


def test_crops_are_the_squares_of_their_images_and_black_beyond() -> None:
    """A square in each image, at the size of the result, twice, and four times it."""
    images = torch.from_numpy(np.stack([picture(number, 96, 128) for number in range(2)])).permute(0, 3, 1, 2).float()
    boxes = torch.tensor([[8.0, 16, 20, 28], [32, 32, 56, 56], [64, 16, 112, 64], [-6, -6, 6, 6]])
    of = torch.tensor([0, 1, 1, 0])
    crops = mtcnn._crops(mtcnn._halved(images), of, boxes, 12)
    assert (crops[0] - images[0, :, 16:28, 8:20]).abs().max() < 1e-2
    for place, (image, box, reduced) in enumerate([(1, boxes[1], 2), (1, boxes[2], 4)], start=1):
        left, top, right, bottom = box.int().tolist()
        part = images[image, :, top:bottom, left:right]
        expected = torch.nn.functional.avg_pool2d(part, reduced)
        assert (crops[place] - expected).abs().max() < 1e-2
    assert (crops[3, :, :5, :5] == 0).all() and (crops[3, :, 6:, 6:] - images[0, :, :6, :6]).abs().max() < 1e-2


def test_boxes_of_different_images_do_not_meet() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [1, 1, 11, 11]])
    kept = mtcnn._apart(torch.tensor([0, 1, 0]), boxes, torch.tensor([0.7, 0.9, 0.8]), 0.5)
    assert kept.tolist() == [1, 2]


def test_a_box_in_a_larger_one_is_dropped_by_the_share_of_the_smaller() -> None:
    boxes = np.array([[0, 0, 100, 100], [10, 10, 30, 30], [95, 95, 115, 115], [5, 5, 5, 5]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert best_of_each(boxes, scores, 0.7).tolist() == [0, 1, 2, 3]
    assert best_of_each(boxes, scores, 0.7, of_the_smaller).tolist() == [0, 2, 3]
    assert of_the_smaller(boxes[0], boxes).tolist() == [1, 1, np.float32(25 / 400), 0]


@needs_weights
def test_drawn_faces_are_found_and_their_points_lie_right() -> None:
    faces = render('studio', 'train', range(12), size=192, seed=0)
    found = open_detector('mtcnn').detect([face.image for face in faces])
    # It has learnt from photographs: not every drawing is a face to it.
    assert sum(len(one) == 1 for one in found) >= 10 and max(map(len, found)) == 1
    pairs = [(one[0].points, face.landmarks) for one, face in zip(found, faces, strict=True) if one]
    points, truth = (np.stack(each) for each in zip(*pairs, strict=True))
    apart = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)[:, None]
    # A wrong order would be wrong by at least 0.5.
    assert (np.linalg.norm(points - truth, axis=2) / apart).mean(axis=0).max() < 0.2
    for one in (each[0] for each in found if each):
        assert (one.box.dtype, one.points.dtype) == (np.float32, np.float32) and 0.9 < one.score <= 1
        assert ((one.points > one.box[:2]) & (one.points < one.box[2:])).all()


@needs_weights
def test_images_of_many_sizes_keep_their_order_and_place() -> None:
    face = render('studio', 'train', [0], size=96, seed=0)[0].image
    images = []
    for left, top, width, height in [(0, 30, 200, 150), (100, 0, 200, 150), (60, 60, 180, 200)]:
        image = np.full((height, width, 3), 128, np.uint8)
        image[top : top + 96, left : left + 96] = face
        images.append(image)
    images.append(np.full((8, 9, 3), 128, np.uint8))
    images.append(np.full((150, 200, 3), 128, np.uint8))
    alone = open_detector('mtcnn').detect([face])[0][0].points
    found = open_detector('mtcnn').detect(images)
    assert [len(one) for one in found] == [1, 1, 1, 0, 0]
    for one, corner in zip(found, [(0, 30), (100, 0), (60, 60)], strict=False):
        assert np.abs(one[0].points - alone - corner).max() < 5
    assert open_detector('mtcnn').detect([]) == []


@needs_weights
def test_small_faces_are_found_tile_by_tile() -> None:
    faces = [cv2.resize(face.image, (20, 20), interpolation=cv2.INTER_AREA)
             for face in render('studio', 'train', range(1, 5), size=160, seed=0)]  # fmt: skip
    scene = np.full((400, 600, 3), 128, np.uint8)
    corners = [(31, 40), (300, 61), (170, 333), (555, 222)]
    for face, (left, top) in zip(faces, corners, strict=True):
        scene[top : top + 20, left : left + 20] = face
    found = tiled('mtcnn', open_detector('mtcnn'), 4).detect([scene])[0]
    middles = np.array([face.points.mean(axis=0) for face in found])
    for left, top in corners:
        assert (np.abs(middles - (left + 10, top + 10)).max(axis=1) < 5).sum() == 1


@needs_weights
def test_a_changed_file_is_refused_and_a_local_folder_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [mtcnn._file(name, None) for name in mtcnn._SHA256]
    for file in whole:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    face = render('studio', 'train', [0], size=128, seed=0)[0].image
    assert len(open_detector('mtcnn', tmp_path).detect([face])[0]) == 1
    monkeypatch.setattr(mtcnn, '_carried', lambda name: tmp_path / name)
    (tmp_path / 'rnet.pt').write_bytes(b'another')
    with pytest.raises(UserError, match=r'rnet\.pt.*not the published file'):
        open_detector('mtcnn')
    (tmp_path / 'rnet.pt').unlink()
    assert not mtcnn.installed()
    with pytest.raises(UserError, match=r'lacks rnet\.pt'):
        open_detector('mtcnn')


def test_the_best_without_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {'mtcnn': True, 'mediapipe': True}
    monkeypatch.setattr(mtcnn, 'installed', lambda: there['mtcnn'])
    monkeypatch.setattr(tflite, 'installed', lambda: there['mediapipe'])
    assert best_without_download() == 'mtcnn' and best_without_download('net.pth') == 'retinaface_resnet50'
    there['mtcnn'] = False
    assert best_without_download() == 'mediapipe'
    there['mediapipe'] = False
    assert best_without_download() == 'retinaface_resnet50'


def test_what_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(mtcnn, 'distribution', missing)
    monkeypatch.setattr(tflite, 'distribution', missing)
    assert not mtcnn.installed() and not tflite.installed()
    with pytest.raises(UserError, match='pip install --no-deps facenet-pytorch==2.6.0'):
        open_detector('mtcnn')
