"""Bundled networks: known by name, compared with their digests, with a card and figures that hold."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from option_files import OPTIONS, stages

import fsr_plugins
from fsr_plugins.checkpoints import META, PARAMS, bundled, bundled_file, described, summary, write_weights
from fsr_plugins.checkpoints import bundled as names
from fsr_plugins.cli import main
from fsr_plugins.errors import UserError
from fsr_plugins.registry import build_network

BUNDLED = importlib.import_module('fsr_plugins.checkpoints.bundled')
SCRIPT = Path(__file__).parents[2] / 'scripts' / 'bundle_weights.py'
BLOCK = {'type': 'SRGANGenerator', 'scale': 2, 'num_feat': 4, 'num_block': 1, 'use_bn': False, 'add_bicubic': True}


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location('bundle_weights', SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one bundled network, and the checkpoint that it was made of in the folder above."""
    from fsr_plugins.checkpoints import Training, describe
    from fsr_plugins.registry import build

    folder = tmp_path / 'zoo'
    folder.mkdir()
    faces = {'train': [{'size': [16, 16], 'points': [[4, 5], [11, 5], [8, 8], [5, 12], [10, 12]], 'source': '/secret'}]}
    training = Training('x', 2, {'train': None}, {}, {'type': 'BicubicDown', 'scale': 2}, faces)
    torch.manual_seed(0)
    net = build('archs', BLOCK)
    content = {PARAMS: net.state_dict(), META: describe('net_g', BLOCK, 7, training)}
    write_weights(tmp_path / 'net_g_7.pth', content)
    digest = write_weights(folder / 'tiny.pth', script().small(content))
    (folder / 'SHA256SUMS').write_text(f'{digest}  tiny.pth\n')
    (folder / 'tiny.md').write_text('# tiny\n\nFor tests.\n\nMore.\n')
    monkeypatch.setattr(BUNDLED, 'FOLDER', folder)
    names.cache_clear()
    yield folder
    names.cache_clear()


def test_the_check_measures_the_network_and_bicubic(zoo: Path) -> None:
    found, bicubic = script().measured(fsr_plugins.load('tiny'))
    assert 15 < bicubic < 40 and found != bicubic and abs(found - bicubic) < 5  # of chance weights beside a skip


@pytest.mark.parametrize('lacking', ['size', 'degradation'])
def test_what_cannot_be_checked_is_not_bundled(
    zoo: Path, lacking: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = script()
    monkeypatch.setattr(bundle, 'FOLDER', zoo)
    content = described(zoo.parent / 'net_g_7.pth')
    faces = content[META]['manifests']['train'][0]
    (faces if lacking == 'size' else content[META])[lacking] = None
    write_weights(zoo.parent / 'other.pth', content)
    before = (zoo / 'SHA256SUMS').read_text()
    assert bundle.main([str(zoo.parent / 'other.pth'), 'other']) == 2
    assert f'says nothing of {lacking}' in capsys.readouterr().err
    assert not (zoo / 'other.pth').exists() and (zoo / 'SHA256SUMS').read_text() == before


def test_a_name_opens_the_network(zoo: Path) -> None:
    net = fsr_plugins.load('tiny')
    assert next(net.parameters()).dtype == torch.float32
    whole = fsr_plugins.load(zoo.parent / 'net_g_7.pth')
    x = torch.rand(1, 3, 8, 8)
    difference = (net(x) - whole(x)).abs().max()
    assert 0 < difference < 2e-3


def test_what_only_the_training_needed_is_gone(zoo: Path) -> None:
    content = described('tiny')
    assert '/secret' not in str(content[META]) and content[META]['manifests']['train'][0]['size'] == [16, 16]
    assert {value.dtype for value in content[PARAMS].values()} == {torch.float16}


def test_a_network_of_unpaired_lr_is_described_by_its_camera(zoo: Path) -> None:
    content = described(zoo.parent / 'net_g_7.pth')
    assert script().small(content, 'NeutralCamera')[META]['degradation'] == {'type': 'NeutralCamera', 'scale': 2}
    assert content[META]['degradation']['type'] == 'BicubicDown'
    with pytest.raises(UserError, match='NeutralCamra'):
        script().small(content, 'NeutralCamra')


def test_a_file_of_the_same_name_is_meant_first(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tiny').write_bytes(b'no checkpoint')
    with pytest.raises(UserError, match="'tiny' is no checkpoint"):
        fsr_plugins.load('tiny')


def test_a_changed_file_is_refused(zoo: Path) -> None:
    path = zoo / 'tiny.pth'
    path.write_bytes(path.read_bytes() + b'0')
    with pytest.raises(UserError, match=r'tiny\.pth.* is damaged or another file: its SHA-256'):
        fsr_plugins.load('tiny')


def test_a_near_name_is_suggested(zoo: Path) -> None:
    with pytest.raises(UserError, match=r"There is no weight file 'tinny'\. Did you mean 'tiny'\?"):
        fsr_plugins.load('tinny')


def test_the_list_names_them(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['list', 'weights']) == 0
    name, size, digest, text = capsys.readouterr().out.strip().split('\t')
    file = (zoo / 'tiny.pth').read_bytes()
    assert (name, digest, text) == ('tiny', hashlib.sha256(file).hexdigest(), 'For tests.')
    assert float(size) == pytest.approx(len(file) / 1e6, abs=0.05)


def test_the_folder_is_small_whole_and_says_its_terms() -> None:
    files = {path.name for path in BUNDLED.FOLDER.iterdir()}
    expected = {f'{name}.{suffix}' for name in bundled() for suffix in ('pth', 'md')}
    assert files == expected | {'LICENSE'} | ({'SHA256SUMS'} if expected else set())
    assert sum(bundled_file(name).stat().st_size for name in bundled()) <= 15e6


def begun_with_a_bundled_network() -> Iterator[tuple[str, str, str, str]]:
    """Option file, stage, network and the bundled network that it begins with."""
    for file in sorted(str(path.relative_to(OPTIONS)) for path in OPTIONS.glob('*/*.yml')):
        if file.startswith(('_base_', 'bench')):
            continue
        for stage, opt in stages(file).items():
            for key, value in opt['path'].items():
                if key.startswith('pretrain_network_') and value in bundled():
                    yield file, stage, key.removeprefix('pretrain_'), value


@pytest.mark.parametrize(('file', 'stage', 'key', 'name'), begun_with_a_bundled_network())
def test_an_option_file_begins_with_a_bundled_network_that_fits(file: str, stage: str, key: str, name: str) -> None:
    net = build_network(dict(stages(file)[stage][key]))
    net.load_state_dict(described(name)[PARAMS])


def test_some_option_file_begins_with_one() -> None:
    assert ('zoo/cface_x8.yml', 'train', 'network_g', 'face_x8') in list(begun_with_a_bundled_network())


@pytest.mark.parametrize('name', sorted(bundled()))
def test_a_bundled_network_does_what_its_card_says(name: str) -> None:
    card = (BUNDLED.FOLDER / f'{name}.md').read_text(encoding='utf-8')
    said = re.search(r'Check on 24 built-in faces: ([\d.]+) dB \(bicubic ([\d.]+) dB\)', card)
    assert said is not None and summary(name)
    found = script().measured(fsr_plugins.load(name))
    assert found == pytest.approx([float(figure) for figure in said.groups()], abs=0.02)
    # A network that knows a camera from photographs may lose to bicubic on drawn faces: then its card says so.
    assert found[0] > found[1] or 'below bicubic' in card
