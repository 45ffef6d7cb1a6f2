"""Images that other programs made take part in a suite: matched, checked before training, measured as all others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_suite import SUITE, write_suite

import fsr_plugins
from fsr_plugins.cli import main
from fsr_plugins.degradations.bicubic import BicubicDown
from fsr_plugins.stores.opening import open_store

UNFAIR = 'made elsewhere'


def bench() -> dict[str, Any]:
    assert main(['bench', '-opt', 'suite.yml', '--json', 'found.json']) == 0
    return json.loads(Path('found.json').read_text())


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(['bench', '-opt', 'suite.yml']) == 2
    return capsys.readouterr().err


def make_images(folder: Path, checkpoint: str, name: str) -> None:
    """What a network makes of the test faces, as another program would write it."""
    store, net = open_store('test.lmdb'), fsr_plugins.load(checkpoint)
    folder.mkdir()
    for key in store.keys:
        hr = torch.from_numpy(store.image(key).copy()).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            sr = net(BicubicDown(scale=2)(hr, None))[0].clamp(0, 1).mul(255).round().byte()
        cv2.imwrite(
            str(folder / f'{name.format(key)}.png'), np.ascontiguousarray(sr.permute(1, 2, 0).numpy()[..., ::-1])
        )


@pytest.fixture
def copied(finished: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """In a finished suite's folder, images of its network in ``theirs/``, called ``net_<key>``."""
    shutil.copytree(finished[0], tmp_path / 'copy')
    monkeypatch.chdir(tmp_path / 'copy')
    make_images(Path('theirs'), finished[1]['entries']['one']['checkpoint'], 'net_{}')
    return finished[1]


THEIRS = {'images': 'theirs', 'template': 'net_{}', 'unfair': UNFAIR, 'title': 'Theirs'}


def test_images_have_the_figures_of_the_network_that_made_them(copied: dict[str, Any]) -> None:
    write_suite(Path(), entries={**SUITE['entries'], 'theirs': THEIRS})
    found = bench()
    theirs, one = found['entries']['theirs'], found['entries']['one']
    assert theirs['figures']['psnr']['low'] < theirs['figures']['psnr']['mean']
    for metric, figure in one['figures'].items():
        assert theirs['figures'][metric] == pytest.approx(figure, abs=1e-9)
    assert theirs['against_reference']['psnr'] == pytest.approx(one['against_reference']['psnr'], abs=1e-9)
    assert [theirs[key] for key in ('kind', 'images', 'cost', 'training', 'arch')] == [
        'images', 'theirs', None, None, None,
    ]  # fmt: skip
    assert theirs['differs'] == [
        "the images 'theirs' do not say what made them, from which LR, nor what it learned from"
    ]
    folder = Path('experiments/small_suite')
    for name in ('report.md', 'report.html'):
        text = (folder / name).read_text()
        assert 'Images by another program: theirs, SHA-256' in text and 'Without cost, as only their images' in text
        assert 'given the same LR and' not in text
    cost = (folder / 'report.md').read_text().partition('## Cost')[2].partition('##')[0]
    assert '| One & only |' in cost and '| Theirs |' not in cost


def test_changed_images_are_measured_anew(copied: dict[str, Any]) -> None:
    write_suite(Path(), entries={'bicubic': {'type': 'bicubic'}, 'theirs': THEIRS}, papers={})
    before = bench()['entries']['theirs']
    cv2.imwrite('theirs/net_3.png', cv2.imread('theirs/net_3.png') // 2)
    after = bench()['entries']['theirs']
    assert after['sha256'] != before['sha256']
    assert after['figures']['psnr']['mean'] < before['figures']['psnr']['mean'] - 0.1


def test_images_alone_make_a_suite(copied: dict[str, Any]) -> None:
    """Nothing runs, so there is neither cost nor its chart; faces that the test set leaves out may have images."""
    test = {**SUITE['test'], 'max_images': 4}
    write_suite(Path(), name='alone', entries={'theirs': THEIRS}, test=test, reference=None, papers={}, curves=None,
                train=None, budget=None)  # fmt: skip
    assert bench()['entries']['theirs']['figures']['psnr']['n'] == 4
    text = Path('experiments/alone/report.html').read_text()
    assert 'Images by another program' in text and 'MACs' not in text


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ({'template': '{}'}, "5 of 5 results have no HR by the template '{}'"),
        ({'template': None}, "give 'template' if their names differ, such as net_{}"),
        ({'unfair': None}, "entry 'theirs': the images 'theirs' do not say what made them"),
        ({'images': 'nowhere'}, "'nowhere' does not exist"),
        ({'checkpoint': 'a.pth'}, 'an entry is one of'),
        ({'param_key': 'params'}, "an entry of 'images' has none"),
        ({'images': None, 'type': 'bicubic'}, "'template' goes with 'images'"),
    ],
)
def test_what_is_wrong_is_said_before_training(
    folder: Path, capsys: pytest.CaptureFixture[str], entry: dict[str, Any], message: str
) -> None:
    shutil.copytree('test', 'theirs')
    for file in Path('theirs').iterdir():
        file.rename(file.with_name(f'net_{file.name}'))
    block = {key: value for key, value in {**THEIRS, **entry}.items() if value is not None}
    write_suite(folder, entries={**SUITE['entries'], 'theirs': block})
    assert message in refused(capsys)
    assert not Path('experiments').exists()


def test_missing_and_wrong_sizes_are_said_before_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree('test', 'theirs')
    write_suite(folder, entries={**SUITE['entries'], 'theirs': {'images': 'theirs', 'unfair': UNFAIR}})
    cv2.imwrite('theirs/2.png', np.zeros((12, 24, 3), np.uint8))
    assert "theirs/2.png' has 12×24 pixels, its HR '2' 24×24 (height × width)" in refused(capsys)
    Path('theirs/2.png').unlink()
    assert "1 of 5 test faces have no image (the first is '2')" in refused(capsys)
    assert not Path('experiments').exists()
