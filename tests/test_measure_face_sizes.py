"""The measurement of face sizes: scenes whose faces are known, and what is counted on them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared import png

from fsr_plugins.archs.recognition import SphereFace20
from fsr_plugins.faces import Detection
from fsr_plugins.metrics.recogniser import EvaluationRecogniser
from fsr_plugins.restore import photograph
from fsr_plugins.restore.network import FaceNetwork

SCRIPTS = Path(__file__).parents[1] / 'scripts'
POINTS = np.array([[2.1, 2.6], [4.9, 2.6], [3.5, 4.1], [2.4, 5.6], [4.6, 5.6]], np.float32)


class Centre:
    """Sees one face of known points in the middle of every image of 64 pixels that is not black."""

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        face = Detection(np.array([24, 24, 40, 40], np.float32), 0.9, (POINTS - POINTS.mean(axis=0)) * 4 + 31.5)
        return [[face] if image.any() else [] for image in images]


def people(folder: Path) -> Path:
    """An archive of six people, two images each; of the last nothing is seen."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / 'people.zip', 'w') as archive:
        for number in range(6):
            for which in range(2):
                coarse = rng.integers(0, 255, (8, 8, 3), np.uint8)
                image = np.array(np.kron(coarse, np.ones((8, 8, 1))), np.uint8) * (number < 5)
                archive.writestr(f'faces/person_{number}/{which}.png', png(image))
    return folder / 'people.zip'


def test_scenes_say_where_their_faces_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import scenes
    from measure_face_sizes import measured

    seen = scenes.read_people(people(tmp_path), 6, Centre())
    assert len(seen) == 5 and len({one.image.tobytes() for one in seen}) == 5

    def twice(lq: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(lq, scale_factor=2, mode='bicubic').clamp(0, 1)

    network = FaceNetwork(twice, 2, (8, 8), POINTS)
    assert scenes.window(seen, network) == pytest.approx(4.0, abs=1e-4)
    # What was not reduced is the truth, and like itself alone.
    whole = scenes.laid_out(seen, None, 1.0)
    torch.manual_seed(0)
    recogniser = EvaluationRecogniser(SphereFace20().eval(), 'landmarks')
    np.testing.assert_allclose(scenes.likeness(whole, whole.photograph, 1, network, recogniser), 1, atol=1e-5)
    assert (scenes.likeness(whole, whole.photograph[::-1], 1, network, recogniser) < 1 - 1e-4).all()
    # Enlarged as far as it was reduced, the photograph itself has the network's size.
    scene = scenes.laid_out(seen, None, 4.0)
    for (x, y), points in zip(scene.corners, scene.points, strict=True):
        assert np.abs(points.mean(axis=0) - (x + 7.5, y + 7.5)).max() < 0.01
        assert scene.photograph[y : y + 16, x : x + 16].std() > 20
    plain = photograph.enlarged(scene.photograph, 2)
    good = scenes.psnr(scene, plain, 2, network)
    worse = scenes.psnr(scene, photograph.enlarged(scenes.degraded(scene.photograph), 2), 2, network)
    assert (good > worse).all() and (scenes.psnr(scene, np.roll(plain, 4, axis=1), 2, network) < good - 3).all()

    found = [Detection(np.array([x, y, x + 15, y + 15], np.float32), 0.9, points.astype(np.float32))
             for (x, y), points in zip(scene.corners[1:], scene.points[1:], strict=True)]  # fmt: skip
    assert scenes.matches(scene, found).tolist() == [-1, 0, 1, 2, 3]
    assert scenes.matches(scene, []).tolist() == [-1] * 5
    row = measured(scene.photograph, scene, found, network)
    assert row.faces == 5 and len(row.full) == 4 and np.abs(row.full).max() < 1.5
    dark = FaceNetwork(lambda lq: twice(lq) * torch.tensor([1.0, -1]).repeat(8), 2, (8, 8), POINTS)
    spoilt = measured(scene.photograph, scene, found, dark)
    assert (spoilt.full < -3).all() and (spoilt.full < spoilt.default).all() and (spoilt.default < 0).all()
