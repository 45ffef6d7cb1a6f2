"""``fsr measure``: figures by hand, the table of images, identity by whatever weights are given, and wrong input."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fsr_plugins.archs.recognition import MobileFaceNet, Recogniser
from fsr_plugins.checkpoints import writing as saving
from fsr_plugins.cli import main
from fsr_plugins.registry import ARCH_REGISTRY

STEPS = {'a': 2, 'b': 4, 'c': 8, 'd': 16}


@ARCH_REGISTRY.register()
class MeasureTestRecogniser(Recogniser):
    """The pixels of a 4×4 image."""

    face_size = (4, 4)
    embedding_size = 48

    def __init__(self, adapt: str = 'resize') -> None:
        super().__init__(adapt)
        self.gain = nn.Parameter(torch.ones(1))

    def embed(self, faces: Tensor) -> Tensor:
        return self.gain * faces.flatten(1)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """References of two sizes, and results that differ from them by known steps, under other endings."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for folder in ('hr', 'sr', 'named'):
        Path(folder).mkdir()
    for name, step in STEPS.items():
        side = 20 if name == 'c' else 16
        image = generator.integers(0, 200, (side, side, 3), np.uint8)
        cv2.imwrite(f'hr/{name}.bmp', image)
        cv2.imwrite(f'sr/{name}.png', image + np.uint8(step))
        cv2.imwrite(f'named/{name}_x4.png', image + np.uint8(step))
    return tmp_path


def psnr(step: int) -> float:
    return float(20 * np.log10(255 / step))


def found() -> Any:
    return json.loads(Path('found.json').read_text())


@pytest.mark.parametrize(('results', 'more'), [('sr', []), ('named', ['--template', '{}_x4'])])
def test_figures_and_the_table_of_images(results: str, more: list[str], place: Path) -> None:
    block = '{type: PSNR, crop_border: 2}'
    words = ['psnr', 'SSIM', block, '--csv', 'by_image.csv', '--json', 'found.json', *more]
    assert main(['measure', results, 'hr', '--metrics', *words]) == 0
    values = [psnr(step) for step in STEPS.values()]
    assert found()['means']['psnr'] == found()['figures']['psnr']['psnr']
    assert [row['psnr'] for row in found()['images'].values()] == pytest.approx(values, abs=1e-4)
    assert found()['figures']['psnr']['psnr'] == pytest.approx(np.mean(values), abs=1e-4)
    assert found()['conventions']['psnr_2'] == 'RGB, border 2, uint8'
    with open('by_image.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ['image', 'psnr', 'ssim', 'psnr_2']
    assert [row['image'].removesuffix('_x4') for row in rows] == list(STEPS)
    assert [float(row['psnr']) for row in rows] == pytest.approx(values, abs=1e-4)
    assert np.mean([float(row['ssim']) for row in rows]) == pytest.approx(found()['figures']['ssim']['ssim'])


def test_without_hr_and_a_prepared_set(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['measure', 'portraits://studio/test?number=3&size=64', '--json', 'found.json']) == 0
    assert list(found()['figures']) == ['niqe'] and len(found()['images']) == 3
    assert main(['measure', 'sr', '--metrics', 'psnr']) == 2
    assert "'psnr' compares with HR: name its folder" in capsys.readouterr().err


def test_identity_by_a_checkpoint_of_this_toolkit(place: Path) -> None:
    """Of a prepared set people and landmarks are known, so that verification over all pairs comes with it."""
    meta = saving.describe('net_r', {'type': 'MeasureTestRecogniser'}, 1, saving.Training())
    saving.save_network(place / 'net_r.pth', {'params': MeasureTestRecogniser()}, meta)
    assert main(['measure', 'sr', 'hr', '--identity', 'net_r.pth', '--json', 'found.json', '--csv', 'v.csv']) == 0
    figures, conventions = found()['figures'], found()['conventions']
    assert list(figures) == ['psnr', 'ssim', 'identity']
    assert 0.9 < figures['identity']['identity'] < 1
    assert conventions['identity'].startswith('cosine, MeasureTestRecogniser (net_r.pth ')
    assert conventions['identity'].endswith('align none')
    assert Path('v.csv').read_text().startswith('image,psnr,ssim,identity\n')
    faces = 'portraits://studio/test?number=12&size=32'
    assert main(['measure', faces, faces, '--metrics', 'ssim', '--identity', 'net_r.pth', '--json', 'found.json']) == 0
    figures = found()['figures']
    assert figures['identity']['identity'] == pytest.approx(1)
    assert figures['all_pairs']['genuine'] + figures['all_pairs']['impostors'] == 66
    assert found()['conventions']['all_pairs'].find('align landmarks') > 0
    one = 'portraits://studio/test?number=1&size=32'  # nobody has two images
    assert main(['measure', one, one, '--metrics', 'ssim', '--identity', 'net_r.pth', '--json', 'found.json']) == 0
    assert list(found()['figures']) == ['ssim', 'identity']


def test_identity_by_a_bare_state_dict(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({'net_state_dict': MobileFaceNet().state_dict()}, 'bare.ckpt')
    assert main(['measure', 'sr', 'hr', '--identity', 'bare.ckpt', '--json', 'found.json']) == 0
    assert found()['conventions']['identity'].startswith('cosine, MobileFaceNet (bare.ckpt ')
    torch.save({'x': torch.zeros(1)}, 'other.pth')
    assert main(['measure', 'sr', 'hr', '--identity', 'other.pth']) == 2
    assert 'holds the weights of none of ArcFace, ' in capsys.readouterr().err


def test_the_list(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['measure', '--list', '--json', 'found.json']) == 0
    lines = {line.split('\t')[0]: line.split('\t') for line in capsys.readouterr().out.splitlines()}
    assert lines['PSNR'][1:3] == ['HR', 'higher'] and lines['NIQE'][1:3] == ['nothing', 'lower']
    assert lines['AllPairs'][1] == 'recogniser'
    assert lines['SSIM'][3].endswith('averaged over positions and channels.')
    assert not any('`' in line[3] for line in lines.values())
    assert [line['name'] for line in found()['metrics']] == list(lines)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ([], 'needs a folder of results'),
        (['sr', 'hr', '--metrics', 'psrn'], "no metric 'psrn'. Did you mean 'psnr'"),
        (['sr', 'hr', '--metrics', '{type: PSNR'], 'is no block'),
        (['sr', 'hr', '--metrics', '{crop_border: 2}'], 'names no type'),
        (['sr', 'hr', '--metrics', '{type: PSNR, border: 2}'], 'border'),
        (['sr', 'hr', '--metrics', '{type: calculate_psnr}'], "'calculate_psnr' is a function of BasicSR's"),
        (['sr', 'hr', '--metrics', 'Verification'], "'Verification' cannot be built"),
        (['sr', 'hr', '--identity', 'nowhere.pth'], 'neither a file nor a recogniser'),
        (['sr', '--identity', 'MobileFaceNet'], '--identity compares with HR'),
        (['sr', 'hr', '--pairs', 'pairs.txt'], '--pairs is for --identity'),
        (['named', 'hr'], 'such as {}_x4'),
        (['sr', '--template', '{}_x4'], "--template is of HR's names"),
        (['sr', 'hr', '--metrics', 'niqe', '--y'], 'None of niqe takes test_y_channel'),
        (['sr', 'hr', '--metrics', 'niqe', '--crop-border', '-1'], 'crop_border'),
        (['sr', 'hr', '--device', 'gpu'], '--device gpu'),
        (['sr', 'hr', '--csv', 'sr/a.png/x.csv'], '--csv'),
        (['sr', 'nowhere'], "'nowhere' does not exist"),
    ],
)
def test_wrong_input_is_one_message(
    words: list[str], message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['measure', *words]) == 2
    error = capsys.readouterr().err
    assert message in error and 'Traceback' not in error


def test_a_part_of_hr_within_a_border_and_of_luma(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Against scikit-image; what HR has besides is left out, and that is said."""
    from skimage.metrics import peak_signal_noise_ratio

    image = cv2.imread('hr/a.bmp')
    framed = image.copy()
    framed[:4] = framed[-4:] = framed[:, :4] = framed[:, -4:] = 0
    framed[7, 7] ^= 8
    for name in 'bcd':
        Path(f'sr/{name}.png').unlink()
    cv2.imwrite('sr/a.png', framed)
    assert main(['measure', 'sr', 'hr', '--metrics', 'PSNR', '--crop-border', '4', '--json', 'found.json']) == 0
    expected = peak_signal_noise_ratio(image[4:-4, 4:-4], framed[4:-4, 4:-4])
    assert found()['means']['psnr'] == pytest.approx(expected, abs=1e-6)
    assert capsys.readouterr().out.startswith('1 image of 4 HR\n')
    assert main(['measure', 'sr', 'hr', '--metrics', 'psnr', '--crop-border', '4', '--y', '--json', 'found.json']) == 0
    assert found()['conventions']['psnr'].startswith('Y, border 4')


def test_two_results_of_one_name_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path('sr/a.jpg').write_bytes(Path('sr/a.png').read_bytes())
    assert main(['measure', 'sr', 'hr']) == 2
    assert "have the same key 'a'; remove one" in capsys.readouterr().err


def test_other_sizes_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite('sr/b.png', np.zeros((8, 8, 3), np.uint8))
    damaged = bytearray(Path('sr/a.png').read_bytes())
    damaged[60:-20] = bytes(len(damaged) - 80)  # sizes are compared before anything is decoded
    Path('sr/a.png').write_bytes(damaged)
    assert main(['measure', 'sr', 'hr', '--csv', 'by_image.csv']) == 2
    assert "'b' has 8×8 pixels and its HR 'b' 16×16" in capsys.readouterr().err
    assert not Path('by_image.csv').exists()


def test_a_table_is_replaced_and_nothing_else(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ['measure', 'sr', 'hr', '--metrics', 'psnr', '--csv']
    assert [main([*command, 'by_image.csv']) for _ in range(2)] == [0, 0]
    Path('notes.csv').write_text('mine,1\n')
    capsys.readouterr()
    assert main([*command, 'notes.csv']) == main([*command, 'hr']) == 2
    said = capsys.readouterr().err
    assert 'notes.csv: this file is there and holds no table of images' in said and 'hr: that is a folder' in said
    assert Path('notes.csv').read_text() == 'mine,1\n'


def test_a_figure_without_bound_is_null_in_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['measure', 'hr', 'hr', '--metrics', 'psnr', '--json', 'found.json']) == 0
    assert 'psnr: inf' in capsys.readouterr().out

    def refuse(name: str) -> None:
        raise AssertionError(f'{name} is no JSON')

    written = json.loads(Path('found.json').read_text(), parse_constant=refuse)
    assert written['means'] == {'psnr': None}
    assert {row['psnr'] for row in written['images'].values()} == {None}
