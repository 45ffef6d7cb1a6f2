"""The picture around the faces by a network: in tiles, as if it were in one piece."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from prepared import picture, png

from fsr_plugins.checkpoints import describe, save_network
from fsr_plugins.cli import main
from fsr_plugins.config.settings import read_settings
from fsr_plugins.errors import UserError
from fsr_plugins.faces import Detection
from fsr_plugins.registry import build_network
from fsr_plugins.restore import photograph, restorers
from fsr_plugins.restore.background import Background
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.stores.images import read_image


def inverted(scale: int, seen: list[tuple[int, ...]] | None = None) -> FaceNetwork:
    """That repeats each pixel and inverts it, but for a dark frame of five of its pixels, which no tile may show."""

    def net(lq: torch.Tensor) -> torch.Tensor:
        if seen is not None:
            seen.append(tuple(lq.shape))
        sr = torch.nn.functional.interpolate(1 - lq, scale_factor=scale, mode='nearest')
        inside = torch.zeros_like(sr)
        edge = 5 * scale
        inside[..., edge:-edge, edge:-edge] = 1
        return sr * inside

    return FaceNetwork(net, scale, (8, 8))


@pytest.mark.parametrize('size', [(300, 290), (128, 400), (129, 131)])
def test_tiles_join_without_a_seam(size: tuple[int, int]) -> None:
    seen: list[tuple[int, ...]] = []
    image = picture(0, *size)
    result = Background(inverted(4, seen)).enlarged(image, 4)
    exact = 255 - np.repeat(np.repeat(image, 4, axis=0), 4, axis=1)
    inside = (slice(20, -20), slice(20, -20))
    assert result.shape == exact.shape and (result[inside] == exact[inside]).all()
    assert (result[:20] == 0).all() and (result[:, -20:] == 0).all()
    assert len(seen) > 1 and set(seen) == {(1, 3, 128, 128)}


def test_other_scales_and_pictures_smaller_than_a_tile() -> None:
    flat = np.full((20, 30, 3), 55, np.uint8)
    for scale, times in ((4, 2), (4, 4), (2, 3), (4, 1)):
        result = Background(FaceNetwork(lambda lq, s=scale: 1 - lq.repeat(1, 1, s, s), scale)).enlarged(flat, times)
        assert result.shape == (20 * times, 30 * times, 3) and (result == 200).all()
    assert (Background().enlarged(flat, 3) == photograph.enlarged(flat, 3)).all()


def test_a_network_that_takes_no_tiles_is_named() -> None:
    def net(lq: torch.Tensor) -> torch.Tensor:
        raise RuntimeError('8×8 only')

    with pytest.raises(UserError, match='--background: .*does not take faces of 128×128.*8×8 only'):
        Background(FaceNetwork(net, 4)).enlarged(picture(0, 20, 20), 4)


class Nobody:
    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        return [[] for _ in images]


def test_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restorers, 'open_detector', lambda *_: Nobody())
    monkeypatch.setattr(restorers, 'points_in_lr', lambda *_: np.zeros((5, 2), np.float32))
    for name, seed in (('net', 0), ('other', 1)):
        torch.manual_seed(seed)
        meta = describe('net_g', tiny.EDSR, 4, read_settings(tiny.options()).training({}))
        save_network(tmp_path / f'{name}.pth', {'params': build_network(tiny.EDSR)}, meta)
    Path('photo.png').write_bytes(png(picture(3, 40, 50)))
    command = ['infer', 'photo.png', '-c', 'net.pth', '--size', '8', '8', '--photographs', '--json', 'found.json']
    assert main([*command, '-o', 'plain']) == 0
    assert main([*command, '-o', 'out', '--background', 'other.pth']) == 0
    (about,) = json.loads(Path('found.json').read_text())['pictures'].values()
    other = FaceNetwork.open('other.pth', torch.device('cpu'))
    expected = Background(other).enlarged(read_image('photo.png'), about['enlarged'])
    plain, result = read_image('plain/photo.png'), read_image('out/photo.png')
    assert np.abs(result.astype(int) - expected).max() <= 3 and np.abs(plain.astype(int) - result).max() > 5
    capsys.readouterr()
    assert main([*command, '-o', 'none', '--background', 'missing.pth']) == 2
    assert 'missing.pth' in capsys.readouterr().err
