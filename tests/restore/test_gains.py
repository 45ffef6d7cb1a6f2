"""Between which sizes faces are restored: as the checkpoint says that its network gains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from prepared import picture, png, written

from fsr_plugins.checkpoints import describe, save_network
from fsr_plugins.cli import main
from fsr_plugins.config.settings import read_settings
from fsr_plugins.faces import Detection
from fsr_plugins.registry import build_network
from fsr_plugins.restore import restorers
from fsr_plugins.restore.network import FaceNetwork

SCRIPTS = Path(__file__).parents[2] / 'scripts'
#: In HR of 32×32.
POINTS = np.array([[10.0, 12], [21, 12], [15.5, 18], [11, 24], [20, 24]], np.float32)


def write_checkpoint(file: Path, scale: int, **says: object) -> None:
    """A random network of faces of 32×32, which are as large as LR where the scale is 1."""
    torch.manual_seed(0)
    block = {**tiny.EDSR, 'upscale': scale}
    stores = [{'size': [32, 32], 'points': POINTS.tolist()}]
    meta = describe('net_g', block, scale, read_settings(tiny.options()).training({'train': stores}))
    save_network(file, {'params': build_network(block)}, {**meta, 'sizes': {}, 'scale': scale, **says})


class Faces:
    """A detector of faces in one row, each so many times as large as LR."""

    def __init__(self, sizes: Sequence[float], side: int) -> None:
        self.sizes, self.points = sizes, (POINTS + 0.5) / (32 / side) - 0.5

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        found = []
        for place, size in enumerate(self.sizes):
            points = ((self.points - self.points.mean(axis=0)) * size + (60 * place + 30, 40)).astype(np.float32)
            found.append(Detection(np.array([*points.min(axis=0), *points.max(axis=0)], np.float32), 0.9, points))
        return [found for _ in images]


def restored(
    folder: Path, patch: pytest.MonkeyPatch, sizes: Sequence[float], side: int, *options: str
) -> list[tuple[float, str | None]]:
    """What ``fsr infer`` says of faces: how much of each is seen, and what leaves it alone."""
    patch.chdir(folder)
    patch.setattr(restorers, 'open_detector', lambda *_: Faces(sizes, side))
    patch.setattr(restorers, 'tiled', lambda name, detector, times: detector)
    written(folder / 'photos', {'a.png': png(picture(0, 80, 60 * len(sizes)))})
    command = ['infer', 'photos', '-c', 'net.pth', '--photographs', '-o', 'out', '--overwrite', '--json', 'found.json']
    assert main([*command, *options]) == 0
    faces = json.loads(Path('found.json').read_text())['pictures']['photos/a.png']['faces'][::-1]
    return [(face['weight'], face.get('left_by')) for face in faces]


def test_a_network_that_makes_faces_no_larger_restores_all_that_are_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path / 'net.pth', scale=1)
    sizes = (0.05, 0.1, 0.34, 0.7, 0.99, 1.1, 1.26)
    *small, larger, largest = restored(tmp_path, monkeypatch, sizes, 32)
    assert small == [(1.0, None)] * 5
    assert 0 < larger[0] < 1 and largest == (0.0, '--most')
    assert restored(tmp_path, monkeypatch, sizes, 32, '--least', '0.35')[:3] == [(0.0, '--least')] * 3


def test_what_a_checkpoint_says_it_gains_is_what_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (0.3, 0.44, 0.6, 0.88, 1.0, 1.2, 1.6)
    write_checkpoint(tmp_path / 'net.pth', scale=4)
    plain = restored(tmp_path, monkeypatch, sizes, 8)
    assert [left for _, left in plain] == ['--least', None, None, None, None, '--most', '--most']
    write_checkpoint(tmp_path / 'net.pth', scale=4, gains_from=0.6, gains_up_to=1.2)
    said = restored(tmp_path, monkeypatch, sizes, 8)
    assert [left for _, left in said] == ['--least', '--least', None, None, None, None, '--most']
    assert [weight for weight, _ in said[2:6]] == [1.0] * 4
    # What is given counts, and what is not follows the checkpoint.
    given = restored(tmp_path, monkeypatch, sizes, 8, '--most', '0.9')
    assert [left for _, left in given] == ['--least'] * 2 + [None] * 2 + ['--most'] * 3


@pytest.mark.parametrize('value', [-1.0, 0.0, 1000.0, 'all'])
def test_a_size_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: object
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / 'net.pth', scale=4, gains_up_to=value)
    written(tmp_path, {'a.png': png(picture(0, 80, 80))})
    assert main(['infer', 'a.png', '-c', 'net.pth', '-o', 'out']) == 2
    said = capsys.readouterr().err
    assert 'gains_up_to' in said and 'Traceback' not in said


def test_sizes_the_wrong_way_round_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / 'net.pth', scale=4, gains_from=2.0, gains_up_to=0.1)
    written(tmp_path, {'a.png': png(picture(0, 80, 80))})

    assert main(['infer', 'a.png', '-c', 'net.pth', '-o', 'out']) == 2
    assert "'meta.gains_from' is 2.0, above 'gains_up_to', 0.1" in capsys.readouterr().err


def test_what_was_measured_is_written_into_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from measure_face_sizes import write

    write_checkpoint(tmp_path / 'net.pth', scale=4)
    before = (tmp_path / 'net.pth').read_bytes()
    write(tmp_path / 'measured.pth', str(tmp_path / 'net.pth'), 0.5, 1.5)
    opened = [FaceNetwork.open(tmp_path / name, torch.device('cpu')) for name in ('net.pth', 'measured.pth')]
    assert [network.gains for network in opened] == [(0.4375, 0.88), (0.5, 1.5)]
    assert (tmp_path / 'net.pth').read_bytes() == before
    lq = np.full((8, 8, 3), 90, np.uint8)
    assert (opened[0]([lq])[0] == opened[1]([lq])[0]).all()
