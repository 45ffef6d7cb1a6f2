"""Images of other programs: matched by name, measured one by one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from fsr_plugins.cli import main


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three results and their references, of other endings."""
    sr, hr = tmp_path / 'sr', tmp_path / 'hr'
    rng = np.random.default_rng(0)
    for folder in (sr, hr):
        folder.mkdir()
    for name in 'abc':
        image = rng.integers(20, 230, (32, 24, 3), np.uint8)
        cv2.imwrite(str(hr / f'{name}.bmp'), image)
        cv2.imwrite(str(sr / f'{name}.png'), image + rng.integers(0, 20, image.shape, np.uint8))
    (sr / 'notes.txt').write_text('no image')
    return sr, hr


def test_values_of_each_image_and_their_mean(folders: tuple[Path, Path], tmp_path: Path) -> None:
    sr, hr = folders
    files = [f'--json={tmp_path / "f.json"}', f'--csv={tmp_path / "f.csv"}']
    assert main(['measure', str(sr), str(hr), *files]) == 0
    found = json.loads((tmp_path / 'f.json').read_text())
    expected = {
        f'{name}.png': peak_signal_noise_ratio(cv2.imread(str(hr / f'{name}.bmp')), cv2.imread(str(sr / f'{name}.png')))
        for name in 'abc'
    }
    assert {name: values['psnr'] for name, values in found['images'].items()} == pytest.approx(expected, abs=1e-6)
    assert found['means']['psnr'] == pytest.approx(np.mean(list(expected.values())), abs=1e-6)
    with (tmp_path / 'f.csv').open(newline='') as handle:
        rows = list(csv.DictReader(handle))
    assert [row['image'] for row in rows] == list(expected) and float(rows[0]['psnr']) == pytest.approx(
        expected['a.png']
    )


def test_a_border_is_left_out(folders: tuple[Path, Path], tmp_path: Path) -> None:
    sr, hr = folders
    image = cv2.imread(str(hr / 'a.bmp'))
    framed = image.copy()
    framed[:4], framed[-4:], framed[:, :4], framed[:, -4:] = 0, 0, 0, 0
    for name in 'bc':
        (sr / f'{name}.png').unlink()
    framed[10, 10] ^= 8
    cv2.imwrite(str(sr / 'a.png'), framed)
    report = tmp_path / 'f.json'
    command = ['measure', str(sr), str(hr), '--metrics', 'PSNR', '--crop-border', '4', f'--json={report}']
    assert main(command) == 0
    assert json.loads(report.read_text())['means']['psnr'] == pytest.approx(
        peak_signal_noise_ratio(image[4:-4, 4:-4], framed[4:-4, 4:-4]), abs=1e-6
    )


@pytest.mark.parametrize(
    ('change', 'more', 'said'),
    [
        ('remove', [], "has no image of its name in '"),
        ('twice', [], 'are both results for'),
        ('size', [], 'SR and HR differ in size, height × width: 32×24, 16×24'),
        ('', ['--metrics', 'psrn'], "Did you mean 'psnr'?"),
        ('', ['--metrics', 'niqe', '--crop-border', '-1'], 'crop_border'),
        ('', ['--metrics', 'verification'], 'no metric with a value of each image'),
        ('empty', [], 'has no image in it'),
    ],
)
def test_what_does_not_fit_is_named(
    folders: tuple[Path, Path], change: str, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sr, hr = folders
    if change == 'remove':
        (hr / 'b.bmp').unlink()
    elif change == 'twice':
        (sr / 'a.jpg').write_bytes((sr / 'a.png').read_bytes())
    elif change == 'size':
        cv2.imwrite(str(hr / 'c.bmp'), np.zeros((16, 24, 3), np.uint8))
        damaged = bytearray((sr / 'a.png').read_bytes())
        damaged[60:1000] = bytes(940)  # which only decoding finds
        (sr / 'a.png').write_bytes(damaged)
    elif change == 'empty':
        for path in sr.iterdir():
            path.unlink()
    assert main(['measure', str(sr), str(hr), *more]) == 2
    assert said in capsys.readouterr().err


def test_without_hr_only_what_needs_none(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['measure', str(folders[0]), '--metrics', 'psnr']) == 2
    assert 'give the folder of HR' in capsys.readouterr().err
    assert main(['measure']) == 2 and 'needs a folder of results' in capsys.readouterr().err
    assert main(['measure', '--list']) == 0
    assert {'psnr', 'ssim', 'niqe'} <= set(capsys.readouterr().out.split())
