"""The comparison of detectors: figures of made engines whose errors are known. Nothing here is timed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fsr_plugins.faces import Detection
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.store import Store

SCRIPTS = Path(__file__).parents[1] / 'scripts'
STORE = 'portraits://studio/test?number=4&size=64'


class Known:
    """Finds the store's own points, moved by a tenth of the eyes' distance, and a surer face in a corner."""

    def __init__(self, store: Store) -> None:
        self.points = {store.image(key).tobytes(): at for key, at in zip(store.keys, store.landmarks, strict=True)}

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        found = []
        for image in images:
            points = self.points[image.tobytes()]
            moved = points + [0.1 * np.linalg.norm(points[0] - points[1]), 0]
            box = np.concatenate([moved.min(axis=0), moved.max(axis=0)])
            found.append([Detection(np.zeros(4), 0.99, np.zeros((5, 2))), Detection(box, 0.9, moved)])
        return found


class Skinless:
    """The store's own maps without skin; none for the first."""

    def __init__(self, store: Store) -> None:
        self.maps = {store.image(key).tobytes(): store.parsing(key) for key in store.keys}

    def parse(self, images: Sequence[np.ndarray]) -> list[np.ndarray | None]:
        maps = [self.maps[image.tobytes()] for image in images]
        return [None, *(np.where(parts == 1, 0, parts).astype(np.uint8) for parts in maps[1:])]


def test_known_errors_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('FSR_DATASETS', str(tmp_path))
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import compare_detectors

    store = open_store(STORE)
    monkeypatch.setattr(compare_detectors, 'open_detector', lambda name, weights: Known(store))
    monkeypatch.setattr(compare_detectors, 'open_parser', lambda name, weights: Skinless(store))
    compare_detectors.main([STORE, '--engines', 'known=file.pth', '--parsers', 'skinless'])
    rows = [line.strip('| ').split(' | ') for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    found = next(row for row in rows if row[0] == 'known')
    assert found[1:3] == ['100.0 %', '2.00']
    points = next(row for row in rows if row[:2] == ['known', 'the store'])
    assert points[2] == '4' and points[4:] == ['10.0 %'] * 4
    titles, _, parsed = (row for row in rows if len(row) > 8)
    shares = dict(zip(titles, parsed, strict=True))
    assert shares['maps'] == '3 of 4' and shares['skin'] == '0.00'
    assert {shares[part] for part in ('l_eye', 'nose', 'hair')} == {'1.00'}
