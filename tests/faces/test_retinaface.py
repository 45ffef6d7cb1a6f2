"""RetinaFace with random weights against facexlib's own path through the same network, and on known boxes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from facexlib.detection.retinaface_utils import PriorBox

from fsr_plugins.faces import open_detector
from fsr_plugins.faces.retinaface import RetinaFaceDetector, anchors, network
from fsr_plugins.portraits import render

RNG = np.random.default_rng(0)


def image(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def detector() -> RetinaFaceDetector:
    torch.manual_seed(0)
    net = network('mobile0.25')
    with torch.no_grad():
        # Batch normalisation learns what untrained features are like; else nothing of the image reaches the scores.
        for layer in net.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None
        net.train()(torch.randn(4, 3, 128, 128) * 70)
    net.eval()
    # Half of the anchors are taken for faces.
    scores = RetinaFaceDetector(net)._run(image(64, 96)[None])[1]
    return RetinaFaceDetector(net, score=float(scores.median()))


@pytest.mark.parametrize('backbone', ['mobile0.25', 'resnet50'])
@pytest.mark.parametrize('size', [(64, 64), (97, 250), (33, 31)])
def test_anchors_are_facexlibs(backbone: str, size: tuple[int, int]) -> None:
    settings = {'min_sizes': [[16, 32], [64, 128], [256, 512]], 'steps': [8, 16, 32], 'clip': False}
    torch.testing.assert_close(anchors(backbone, *size), PriorBox(settings, image_size=size).forward())


@pytest.mark.skipif(not torchvision.extension._has_ops(), reason="facexlib needs torchvision's compiled operators")
def test_it_finds_what_facexlib_finds(detector: RetinaFaceDetector) -> None:
    photograph = image(97, 130)
    with torch.no_grad():
        wanted = detector.net.detect_faces(photograph[:, :, ::-1], conf_threshold=detector.score, nms_threshold=0.4)
    found = detector.detect([photograph])[0]
    assert len(found) == len(wanted) > 3
    for one, row in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.box, row[:4], atol=2e-3)
        assert one.score == pytest.approx(row[4], abs=1e-5)
        np.testing.assert_allclose(one.points, row[5:].reshape(5, 2), atol=2e-3)
        assert (one.box.dtype, one.points.dtype) == (np.float32, np.float32)


def test_images_of_many_sizes_are_found_as_alone(detector: RetinaFaceDetector) -> None:
    images = [image(64, 96), image(80, 80), image(64, 96), image(64, 96)]
    together = detector.detect(images)
    assert detector.detect([]) == []
    for photograph, faces in zip(images, together, strict=True):
        alone = detector.detect([photograph])[0]
        assert len(alone) == len(faces) > 0
        scores = [face.score for face in faces]
        assert scores == sorted(scores, reverse=True)
        np.testing.assert_allclose([face.box for face in faces], [face.box for face in alone], atol=1e-3)


def test_an_array_of_images_is_a_sequence(detector: RetinaFaceDetector) -> None:
    batch = np.stack([image(64, 64), image(64, 64)])
    assert [len(faces) for faces in detector.detect(batch)] == [len(detector.detect([one])[0]) for one in batch]


def test_a_large_image_is_reduced_and_its_boxes_come_back(detector: RetinaFaceDetector) -> None:
    small = image(60, 90)
    # Each pixel three times in both directions: reduced to a third it is the small one again.
    large = small.repeat(3, axis=0).repeat(3, axis=1)
    reducing = RetinaFaceDetector(detector.net, score=detector.score, longest=90)
    for one, other in zip(reducing.detect([small])[0], reducing.detect([large])[0], strict=True):
        # The centre of pixel k lies at 3 k + 1.
        np.testing.assert_allclose(other.box, 3 * one.box + 1, atol=1e-2)
        np.testing.assert_allclose(other.points, 3 * one.points + 1, atol=1e-2)


def test_of_overlapping_boxes_the_best_is_kept(detector: RetinaFaceDetector) -> None:
    # Intersection over union of the first two: 80 of 120; of the first and the third: 20 of 180.
    boxes = torch.tensor([[0.0, 0, 10, 10], [2, 0, 12, 10], [8, 0, 18, 10], [50, 50, 60, 60], [0, 0, 10, 10]])
    scores = torch.tensor([0.7, 0.9, 0.8, 0.6, 0.1])
    points = torch.arange(50.0).view(5, 10)
    faces = detector._kept(boxes, scores, points, (100, 100), (100, 100))
    assert [round(face.score, 1) for face in faces] == [0.9, 0.8, 0.6]
    assert [face.box[0] for face in faces] == [2, 8, 50]
    np.testing.assert_array_equal(faces[0].points, np.arange(10, 20).reshape(5, 2))


def test_the_larger_network_runs() -> None:
    found = RetinaFaceDetector(network('resnet50'), score=0.0).detect([image(64, 64)])[0]
    assert found and found[0].box.shape == (4,) and found[0].points.shape == (5, 2)


def test_trained_it_finds_drawn_faces() -> None:
    """Needs ``retinaface_mobilenet0.25.pth``, facexlib's weights, in the folder ``$FSR_TEST_WEIGHTS``."""
    file = Path(os.environ.get('FSR_TEST_WEIGHTS', '')) / 'retinaface_mobilenet0.25.pth'
    if not file.is_file():
        pytest.skip(f'no {file.name} in $FSR_TEST_WEIGHTS')
    faces = render('studio', 'train', range(8), size=256, seed=0)
    found = open_detector('retinaface_mobilenet0.25', file).detect([face.image for face in faces])
    assert [len(one) for one in found] == [1] * len(faces)
    off = [np.linalg.norm(one[0].points - face.landmarks, axis=1) for one, face in zip(found, faces, strict=True)]
    eyes = np.array([np.linalg.norm(face.landmarks[0] - face.landmarks[1]) for face in faces])
    # Exact but for the nose, whose point lies higher than the tip. A wrong order would be wrong by at least 0.5.
    assert (np.mean(off / eyes[:, None], axis=0) < [0.1, 0.1, 0.25, 0.2, 0.2]).all()
