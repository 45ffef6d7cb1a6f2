"""Photographs of every kind by ``fsr infer``: turned, cut off and overlapping faces, and files of all sorts."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
import torch
from PIL import Image as PILImage
from prepared import picture, png, written

from fsr_plugins.checkpoints import describe, save_network
from fsr_plugins.cli import main
from fsr_plugins.config.settings import read_settings
from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.faces import Detection
from fsr_plugins.images import look_at
from fsr_plugins.registry import build_network
from fsr_plugins.restore import photograph, restorers
from fsr_plugins.restore.face_choice import FaceChoice
from fsr_plugins.restore.network import FaceNetwork

HR_POINTS = np.array([[10.0, 12], [21, 12], [15.5, 18], [11, 24], [20, 24]], np.float32)
POINTS = (HR_POINTS + 0.5) / 4 - 0.5


def face(degrees: float, size: float, centre: tuple[float, float], score: float = 0.9) -> Detection:
    """A face ``size`` times as large as LR, its points turned round ``centre``."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = ((POINTS - POINTS.mean(axis=0)) @ turn.T * size + centre).astype(np.float32)
    return Detection(np.array([*points.min(axis=0), *points.max(axis=0)], np.float32), score, points)


def marked(lq: torch.Tensor) -> torch.Tensor:
    """A network that draws a fine pattern on the upper half of a face."""
    sr = bicubic_up(lq, 4)
    y, x = torch.meshgrid(torch.arange(sr.shape[2]), torch.arange(sr.shape[3]), indexing='ij')
    return sr + 0.3 * (1 - 2 * ((y // 3 + x // 3) % 2)) * (y < sr.shape[2] // 2)


def changes(image: np.ndarray, faces: Sequence[Detection]) -> np.ndarray:
    """By how much each pixel of a photograph enlarged four times changes with its faces restored, (4H, 4W)."""
    network = FaceNetwork(marked, 4, (8, 8), POINTS)
    cuts = photograph.cut(image, faces, (8, 8), POINTS, FaceChoice(most=2.0))
    plain = photograph.enlarged(image, 4)
    result = plain.copy()
    photograph.put_back(result, 4, cuts, network([cut.lr for cut in cuts if cut.lr is not None]))
    return np.abs(result.astype(int) - plain).max(axis=2)


def smooth(height: int, width: int) -> np.ndarray:
    return cv2.GaussianBlur(picture(3, height, width), (0, 0), 6, borderType=cv2.BORDER_REFLECT)


@pytest.mark.parametrize('degrees', [-60, -45, -30, 30, 45, 60])
def test_a_turned_face_is_restored_upright_and_turned_back(degrees: float) -> None:
    changed = changes(smooth(60, 60), [face(degrees, 1.0, (30, 30))])
    angle = np.deg2rad(degrees)
    y, x = (np.mgrid[:240, :240] + 0.5) / 4 - 0.5 - 30
    # In LR's own axes: the pattern lies above the face's middle, inside its square.
    across, down = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    above = (np.abs(across) < 2) & (down < -1) & (down > -2.5)
    below = (np.abs(across) < 2) & (down > 1) & (down < 2.5)
    outside = np.maximum(np.abs(across), np.abs(down)) > 5
    assert changed[above].mean() > 25 and changed[below].max() < 12 and changed[outside].max() == 0


def test_the_surer_of_overlapping_faces_lies_above_and_nothing_is_torn() -> None:
    image = smooth(60, 80)
    lower, upper = face(0, 1.0, (38, 30), 0.7), face(10, 1.0, (42, 31), 0.99)
    both, alone, other = changes(image, [lower, upper]), changes(image, [upper]), changes(image, [lower])
    middle = (slice(112, 124), slice(164, 176))
    assert alone[middle].mean() > 15 and np.abs(both[middle] - alone[middle]).max() <= 6
    left = (slice(112, 124), slice(142, 150))
    assert (
        alone[left].max() == 0 and other[left].mean() > 15 and (np.abs(both[left].astype(int) - other[left]) <= 6).all()
    )
    assert (both[(alone == 0) & (other == 0)] == 0).all()


@pytest.mark.parametrize('centre', [(-1.0, 30.0), (60.5, 2.0), (30.0, 59.0), (0.0, 0.0)])
def test_a_face_cut_by_the_edge_is_restored_as_far_as_it_is_there(centre: tuple[float, float]) -> None:
    changed = changes(smooth(60, 60), [face(20, 1.2, centre)])
    y, x = (np.mgrid[:240, :240] + 0.5) / 4 - 0.5
    away = np.hypot(x - centre[0], y - centre[1])
    assert changed.max() > 15 and changed[away > 8].max() == 0


class One:
    """A detector of one face in the photograph, wherever it is looked at."""

    def __init__(self, found: Sequence[Detection]) -> None:
        self.found = found

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        return [list(self.found) for _ in images]


@pytest.fixture
def infer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Restores the files of ``photos`` by the command: its status, and what it says of each photograph."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restorers, 'tiled', lambda name, detector, finest: detector)
    monkeypatch.setattr(restorers, 'open_detector', lambda *_: One([face(0, 0.7, (20, 16))]))
    torch.manual_seed(0)
    store = {'size': [32, 32], 'points': HR_POINTS.tolist()}
    meta = describe('net_g', tiny.EDSR, 4, read_settings(tiny.options()).training({'train': [store]}))
    meta['sizes'] = {}
    save_network(tmp_path / 'net.pth', {'params': build_network(tiny.EDSR)}, meta)

    def run(files: dict[str, bytes], *more: str) -> tuple[int, dict[str, dict[str, object]]]:
        Path('found.json').unlink(missing_ok=True)
        written(tmp_path / 'photos', files)
        status = main(['infer', 'photos', '-c', 'net.pth', '-o', 'out', '--photographs', '--json', 'found.json', *more])
        return status, json.loads(Path('found.json').read_text()).get('pictures', {})

    return run


def saved(image: PILImage.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def test_grey_alpha_and_cmyk_come_out_as_they_are(infer, capsys: pytest.CaptureFixture[str]) -> None:
    rgb = smooth(36, 44)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    alpha = np.full((36, 44), 255, np.uint8)
    alpha[:, :20] = 40
    colours = PILImage.fromarray(rgb)
    status, found = infer({
        'grey.png': saved(PILImage.fromarray(grey), 'PNG'),
        'alpha.png': saved(PILImage.fromarray(np.dstack([rgb, alpha])), 'PNG'),
        'cmyk.jpg': saved(colours.convert('CMYK'), 'JPEG', quality=98, subsampling=0),
        'rgb.png': saved(colours, 'PNG'),
    })  # fmt: skip
    assert status == 0 and len(found) == 4 and all(each['faces'] for each in found.values())
    results = {name: np.array(PILImage.open(f'out/{name}.png')) for name in ('grey', 'alpha', 'cmyk', 'rgb')}
    away = (slice(0, 20), slice(None))
    assert np.ptp(results['grey'][away].astype(int), axis=2).max() == 0
    larger = photograph.enlarged(np.dstack([grey] * 3), 4)
    assert np.abs(results['grey'][away].astype(int) - larger[away]).max() <= 1
    assert results['alpha'].shape == (144, 176, 4) and (results['alpha'][..., :3] == results['rgb']).all()
    assert (results['alpha'][:, :72, 3] == 40).all() and (results['alpha'][:, 90:, 3] == 255).all()
    assert np.abs(results['cmyk'].astype(int) - results['rgb'])[away].mean() < 4


def test_sixteen_bits_are_refused_and_keep_no_other_out(infer, capsys: pytest.CaptureFixture[str]) -> None:
    deep = cv2.imencode('.png', np.full((36, 44, 3), 30000, np.uint16))[1].tobytes()
    status, found = infer({'deep.png': deep, 'good.png': png(smooth(36, 44))})
    assert status == 2 and list(found) == ['photos/good.png']
    assert (
        "'photos/deep.png' has 16 bits a channel; only 8 bits a channel are read: convert it" in capsys.readouterr().err
    )


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_photographs_are_turned_as_their_exif_says(infer, kind: str) -> None:
    """Of a photograph stored in each of the eight ways the same comes out, and nothing says that it is to be turned."""
    upright = PILImage.fromarray(smooth(36, 44))
    way = PILImage.Transpose
    stored = {2: way.FLIP_LEFT_RIGHT, 3: way.ROTATE_180, 4: way.FLIP_TOP_BOTTOM, 5: way.TRANSPOSE,
              6: way.ROTATE_90, 7: way.TRANSVERSE, 8: way.ROTATE_270}  # fmt: skip
    files = {}
    for orientation in range(1, 9):
        exif = PILImage.Exif()
        exif[0x0112], exif[0x010F] = orientation, 'a maker'
        image = upright if orientation == 1 else upright.transpose(stored[orientation])
        how = {'JPEG': {'quality': 98, 'subsampling': 0}, 'WEBP': {'lossless': True}}.get(kind, {})
        files[f'{orientation}.{kind.lower()}'] = saved(image, kind, exif=exif, **how)
    assert {look_at(data, name).shape for name, data in files.items()} == {(36, 44)}
    status, found = infer(files)
    assert status == 0 and len(found) == 8
    first = np.array(PILImage.open('out/1.png')).astype(int)
    assert first.shape == (144, 176, 3)
    for orientation in range(2, 9):
        result = PILImage.open(f'out/{orientation}.png')
        assert np.abs(np.array(result).astype(int) - first).mean() < (1.5 if kind == 'JPEG' else 1e-9)
        assert 0x0112 not in result.getexif() and result.getexif()[0x010F] == 'a maker'


def test_names_that_collide_and_folders_in_folders(infer, capsys: pytest.CaptureFixture[str]) -> None:
    photo = png(smooth(36, 44))
    Path('photos/deep').mkdir(parents=True)
    Path('photos/deep/a.png').write_bytes(photo)
    status, found = infer({'a.png': photo, 'a.jpg': photo, 'b.png': photo})
    assert status == 0 and set(os.listdir('out')) == {'a.png.png', 'a.jpg.png', 'b.png'}
    assert "1 folder in it ('deep' is one; --recursive takes them)" in capsys.readouterr().out
    status, found = infer({}, '--recursive', '--overwrite')
    assert status == 0 and len(found) == 4 and Path('out/deep/a.png').is_file()
    capsys.readouterr()
    assert infer({}, '--recursive')[0] == 2
    assert 'exists already' in capsys.readouterr().err


def test_a_photograph_without_faces_is_enlarged_and_said(infer, monkeypatch, capsys) -> None:
    monkeypatch.setattr(restorers, 'open_detector', lambda *_: One([]))
    image = smooth(36, 44)
    status, found = infer({'a.png': png(image)})
    assert status == 0 and found['photos/a.png']['faces'] == []
    assert (np.array(PILImage.open('out/a.png')) == photograph.enlarged(image, 4)).all()
    printed = capsys.readouterr().out
    assert '0 faces found' in printed and '0 faces were found in 1 of 1 picture' in printed


def test_exif_that_a_result_cannot_hold_keeps_nobody_from_the_picture(
    infer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too long for a JPEG, damaged, or about the strips of a TIFF."""
    image = PILImage.fromarray(smooth(36, 44))
    long, tiff = PILImage.Exif(), io.BytesIO()
    long[0x010F], long[0x9286] = 'a maker', b'x' * 70000
    # One tag, a signed number that says where more tags lie.
    damaged = b'Exif\0\0MM\0*' + struct.pack('>IHHHIii', 8, 1, 0x8769, 9, 1, -5, 0)
    image.save(tiff, 'TIFF', tiffinfo={0x010F: 'a maker'})
    files = {
        'long.png': saved(image, 'PNG', exif=long),
        'damaged.png': saved(image, 'PNG', exif=damaged),
        'stored.tif': tiff.getvalue(),
    }
    status, found = infer(files, '--ext', 'jpg')
    assert status == 0 and len(found) == 3
    exif = {name: PILImage.open(f'out/{name}.jpg').getexif() for name in ('long', 'damaged', 'stored')}
    assert not exif['long'] and not exif['damaged']
    assert dict(exif['stored']) == {0x010F: 'a maker'}
    said = capsys.readouterr()
    assert 'a JPEG holds 65533' in said.out + said.err and 'cannot be written and is left out' in said.out + said.err


def test_saved_faces_are_not_replaced_unasked(infer, capsys: pytest.CaptureFixture[str]) -> None:
    photo = {'a.png': png(smooth(36, 44))}
    assert infer(photo, '--save-faces', 'faces')[0] == 0
    before = {file: file.read_bytes() for file in Path('faces').iterdir()}
    assert sorted(file.name for file in before) == ['a.png_0_after.png', 'a.png_0_before.png']
    Path('out/a.png').unlink()
    assert main(['infer', 'photos', '-c', 'net.pth', '-o', 'out', '--photographs', '--save-faces', 'faces']) == 2
    assert "--save-faces: 'faces/a.png_0_before.png' exists already" in capsys.readouterr().err
    assert not Path('out/a.png').exists()
    for which in ('before', 'after'):  # of a face that is not there any more
        Path(f'faces/a.png_1_{which}.png').write_bytes(b'')
    assert infer(photo, '--save-faces', 'faces', '--overwrite')[0] == 0
    assert {file: file.read_bytes() for file in Path('faces').iterdir()} == before


def test_a_network_of_any_size_looks_for_no_faces_and_says_so(
    infer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    meta = describe('net_g', tiny.EDSR, 4, read_settings(tiny.options()).training({}))
    meta['sizes'] = {}
    save_network(Path('whole.pth'), {'params': build_network(tiny.EDSR)}, meta)
    written(Path('photos'), {'a.png': png(smooth(36, 44))})
    command = ['infer', 'photos', '-c', 'whole.pth', '-o', 'out', '--overwrite']
    for option in (['--seam', 'mediapipe'], ['--strength', '0'], ['--min-face', '9'], ['--only-largest']):
        assert main([*command, *option]) == 2
        assert f"{option[0]}: 'whole.pth' does not say how large its LR is" in capsys.readouterr().err
    for times in (1, 2, 4):
        assert main([*command, '--enlarge', str(times)]) == 0
        assert PILImage.open('out/a.png').size == (44 * times, 36 * times)
