"""The check of photographs: what is counted and measured of a result whose faces are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fsr_plugins.images import read_image
from fsr_plugins.restore import photograph
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.stores.images import encode_png

SCRIPTS = Path(__file__).parents[1] / 'scripts'
POINTS = np.array([[2.1, 2.6], [4.9, 2.6], [3.5, 4.1], [2.4, 5.6], [4.6, 5.6]], np.float32)


def test_a_result_is_judged_by_its_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import scenes
    from check_photographs import SIDE, Run, judged

    rng = np.random.default_rng(0)
    images = [np.array(np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((8, 8, 1))), np.uint8) for _ in range(4)]
    seen = [scenes.Person(image, (POINTS - POINTS.mean(axis=0)) * 4 + 31.5) for image in images]
    network = FaceNetwork(lambda lq: lq, 2, (8, 8), POINTS)
    scene = scenes.laid_out(seen, (120, 90), 4.0)
    assert scene.photograph.shape == (90, 120, 3)
    # Of three of four faces the truth is put in; a box on the ground is false.
    result = photograph.enlarged(scene.photograph, 4)
    faces = []
    for (x, y), points, image in list(zip(scene.corners, scene.points, images, strict=True))[:3]:
        result[4 * y : 4 * y + 64, 4 * x : 4 * x + 64] = image
        faces.append({'box': [x + 2, y + 2, x + 13, y + 13], 'score': 0.9, 'points': points.tolist()})
    far = np.abs(scene.corners[:, 0][:, None] + 7.5 - np.arange(120)).min(axis=0).argmax()
    faces.append({'box': [far - 1, -1, far + 1, 1], 'score': 0.9, 'points': POINTS.tolist()})
    (tmp_path / 'result.png').write_bytes(encode_png(result))
    about = {'result': str(tmp_path / 'result.png'), 'enlarged': 4, 'faces': faces}
    run = Run({'pictures': {'photo.png': about}}, 1.0, 0.5)
    found, beside, gain, least = judged(scene, scene.photograph, run, network, tmp_path / 'sheet.png')
    assert found == '3 of 4 (75 %)' and beside == '1'
    assert float(gain) >= float(least) > 5
    assert read_image(tmp_path / 'sheet.png').shape == (2 * SIDE, 6 * SIDE, 3)
