"""The script that makes clips of moving faces: where it says that points lie, they lie."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[1] / 'scripts'


def test_a_clip_of_built_in_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setenv('FSR_DATASETS', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    import make_clip

    how = ['--size', '320', '180', '--seconds', '0.4', '--count', '2', '--points', 'points.json']
    make_clip.main(['clip.mp4', *how])
    points = np.array(json.loads(Path('points.json').read_text()))
    assert points.shape == (10, 2, 5, 2)
    with av.open('clip.mp4') as container:
        frames = [frame.to_ndarray(format='rgb24') for frame in container.decode(container.streams.video[0])]
        assert len(container.streams.audio) == 1
    assert len(frames) == 10 and frames[0].shape == (180, 320, 3)
    # Eyes are darker than the cheeks below them, and each face is as large as was asked for.
    for number in (0, 9):
        grey = frames[number].mean(axis=2)
        for face in points[number]:
            eyes, nose = face[:2].round().astype(int), face[2]
            below = (face[:2] + 0.5 * (nose - face[:2].mean(axis=0))).round().astype(int)
            assert grey[eyes[:, 1], eyes[:, 0]].mean() < grey[below[:, 1], below[:, 0]].mean()
            apart = np.linalg.norm(face[:2].mean(axis=0) - face[3:].mean(axis=0))
            assert 3 * apart == pytest.approx(28, rel=0.25)
    assert np.linalg.norm(points[9] - points[0], axis=-1).min() > 1
