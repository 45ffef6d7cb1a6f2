"""The check of photographs: what is counted and measured of a result whose faces are known."""

from __future__ import annotations

import os
import subprocess
import sys
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


def test_the_memory_of_a_command_is_not_that_of_what_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from benchmark.memory import peak_bytes

    (tmp_path / 'small.py').write_text('import sys\nprint(sys.argv[1:], __name__)\nsys.exit(3)\n')
    held = np.ones(1 << 26, np.uint8)  # beside what this process holds already
    command = [sys.executable, '-m', 'benchmark.measured', str(tmp_path / 'peak.txt'), 'small', '--one', 'two']
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(SCRIPTS), str(tmp_path)])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "['--one', 'two'] __main__\n")
    assert 0 < int((tmp_path / 'peak.txt').read_text()) < held.nbytes < peak_bytes()


def test_a_command_is_run_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import check_photographs

    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        calls.append(command)
        (tmp_path / 'found.json').write_text('{"pictures": {}}')
        (tmp_path / 'peak.txt').write_text(str(3 << 29))
        return subprocess.CompletedProcess(command, len(calls) - 1)

    monkeypatch.setattr(check_photographs.subprocess, 'run', run)
    found = check_photographs.infer(
        tmp_path / 'a.png', tmp_path / 'net.pth', tmp_path, 'mtcnn=w.pt', ['--enlarge', '2']
    )
    assert found.memory == 1.5 and found.found == {'pictures': {}}
    assert calls[0][3:6] == [str(tmp_path / 'peak.txt'), 'fsr_plugins.inference', str(tmp_path / 'a.png')]
    assert calls[0][-4:] == ['--enlarge', '2', '--detector-weights', 'w.pt']
    with pytest.raises(check_photographs.RunError, match='ended with 1'):
        check_photographs.infer(tmp_path / 'a.png', tmp_path / 'net.pth', tmp_path, 'mtcnn')
