"""The measurement of small faces: figures of a stand-in detector whose errors are known. Nothing here is timed."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from prepared import png

from fsr_plugins.faces import Detection

SCRIPTS = Path(__file__).parents[1] / 'scripts'


class Bright:
    """Sees each image's bright middle; of the first also a box beside it and one on the ground, and misses the last."""

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        return [self._see(image) for image in images]

    def _see(self, image: np.ndarray) -> list[Detection]:
        if image.shape[0] == 64:
            return [self._face(32, 32)] if image.max() == 255 else []
        y, x = np.nonzero(image[..., 0] == 255)
        # A middle is one pixel after the reduction by 16: a quarter of the image's side of four.
        middles = sorted(zip(x.tolist(), y.tolist(), strict=True))
        corner = [self._face(middles[0][0] - 1.4, middles[0][1] - 1.4), self._face(0.0, image.shape[0] - 1.0)]
        return [self._face(*at) for at in middles[:-1]] + corner

    @staticmethod
    def _face(x: float, y: float) -> Detection:
        return Detection(np.array([x - 1, y - 1, x + 1, y + 1], np.float32), 0.9, np.zeros((5, 2), np.float32))


@pytest.mark.parametrize('blind', [0, 2])
def test_found_missed_and_other_boxes_are_counted(blind: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import find_small_faces

    monkeypatch.setattr(find_small_faces, 'open_detector', lambda *_: Bright())
    face = np.zeros((64, 64, 3), np.uint8)
    face[32:48, 32:48] = 255
    with zipfile.ZipFile(tmp_path / 'faces.zip', 'w') as archive:
        for number in range(6):
            archive.writestr(f'{number}.png', png(face if number >= blind else 0 * face))
    scene = find_small_faces.Scene(tmp_path / 'faces.zip', 6, (90, 80), 16, 0, 'known', None)
    faces, found, twice, others, false, seconds, memory = find_small_faces.look(scene)
    assert (faces, found, twice, others, false) == (6 - blind, 5 - blind, 0, 1, 1)
    assert seconds >= 0 and memory > 0
