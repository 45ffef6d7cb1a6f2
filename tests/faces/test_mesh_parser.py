"""Maps drawn from made meshes whose parts have known areas."""

from __future__ import annotations

import numpy as np
import pytest

from fsr_plugins.faces.mesh_parser import OUTLINES, draw
from fsr_plugins.faces.parts import PARTS


def mesh(size: int) -> np.ndarray:
    """A face whose outline is a circle and whose other parts lie far outside the map."""
    dense = np.full((468, 2), -10.0 * size, np.float32)
    oval = dict(OUTLINES)['skin']
    angle = 2 * np.pi * np.arange(len(oval)) / len(oval)
    dense[list(oval)] = size / 2 - 0.5 + 0.4 * size * np.stack([np.sin(angle), -np.cos(angle)], axis=1)
    return dense


@pytest.mark.parametrize('size', [64, 200])
def test_a_face_is_as_large_as_it_is(size: int) -> None:
    parts = draw(mesh(size), (size, size))
    sides = len(dict(OUTLINES)['skin'])
    polygon = sides / 2 * np.sin(2 * np.pi / sides) * (0.4 * size) ** 2
    assert set(np.unique(parts)) == {0, 1}
    assert (parts == 1).sum() == pytest.approx(polygon, rel=0.03 if size < 100 else 0.01)
    assert (parts != parts[:, ::-1]).mean() < 0.005


def test_a_thin_lip_is_not_made_thicker() -> None:
    dense = mesh(100)
    lip = dict(OUTLINES)['u_lip']
    # A bar from 30 to 70 and 49.5 to 52.5: three rows of pixels.
    top, bottom = lip[:11], lip[11:][::-1]
    dense[list(top)] = np.stack([np.linspace(30, 70, 11), np.full(11, 49.5)], axis=1)
    dense[list(bottom)] = np.stack([np.linspace(30, 70, 11), np.full(11, 52.5)], axis=1)
    # The mouth is closed, and the lower lip has no height in the middle.
    dense[sorted(set(dict(OUTLINES)['l_lip'] + dict(OUTLINES)['mouth']) - set(lip))] = [50, 52.5]
    parts = draw(dense, (100, 100))
    assert np.flatnonzero((parts == PARTS.index('u_lip'))[:, 50]).tolist() == [50, 51, 52]


def test_the_outlines_are_a_faces() -> None:
    names = [name for name, _ in OUTLINES]
    assert names[0] == 'skin' and set(names) <= set(PARTS)
    used = [point for _, outline in OUTLINES for point in outline]
    assert min(used) >= 0 and max(used) < 468
    assert all(len(set(outline)) == len(outline) for _, outline in OUTLINES)
