"""Weight files: where they are found, what is fetched, what is refused. Downloads are of file:// addresses."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import pickle
from pathlib import Path

import pytest
import torch

from fsr_plugins.checkpoints import load_state
from fsr_plugins.errors import UserError
from fsr_plugins.weights import WeightFile, locate, torchvision_weights


@pytest.fixture()
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The toolkit's folder and torch hub's, both empty."""
    monkeypatch.setenv('FSR_WEIGHTS', str(tmp_path / 'own'))
    monkeypatch.delenv('FSR_OFFLINE', raising=False)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'own', tmp_path / 'hub' / 'checkpoints'


@pytest.fixture()
def published(tmp_path: Path) -> WeightFile:
    path = tmp_path / 'server' / 'net.pth'
    path.parent.mkdir()
    torch.save({'weight': torch.arange(3)}, path)
    return WeightFile('a net', path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest()[:8], 'net.pth')


def test_downloads_once(places: tuple[Path, Path], published: WeightFile) -> None:
    path = locate(published)
    assert path == places[0] / 'net.pth'
    assert load_state(path)['weight'].tolist() == [0, 1, 2]
    assert [file.name for file in places[0].iterdir()] == ['net.pth']
    unreachable = WeightFile('a net', 'file:///nowhere/net.pth', published.sha256, 'net.pth')
    assert locate(unreachable) == path


def test_what_is_fetched_is_for_all_who_share_the_folder(places: tuple[Path, Path], published: WeightFile) -> None:
    before = os.umask(0o022)
    try:
        assert locate(published).stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_local_path_goes_first(places: tuple[Path, Path], published: WeightFile, tmp_path: Path) -> None:
    local = tmp_path / 'mine.pth'
    local.write_bytes(b'anything')
    assert locate(published, local) == local
    assert locate(WeightFile('a net', published.url, published.sha256, 'net.pth', path=str(local))) == local
    with pytest.raises(UserError, match='none.pth'):
        locate(published, tmp_path / 'none.pth')


def test_torch_hub_is_read(places: tuple[Path, Path], published: WeightFile, tmp_path: Path) -> None:
    places[1].mkdir(parents=True)
    (places[1] / 'net.pth').write_bytes((tmp_path / 'server' / 'net.pth').read_bytes())
    assert locate(published) == places[1] / 'net.pth'
    assert not places[0].exists()


def test_is_linked_for_code_that_reads_the_hub_only(places: tuple[Path, Path], published: WeightFile) -> None:
    locate(WeightFile('a net', published.url, published.sha256, 'net.pth', for_hub=True))
    assert (places[1] / 'net.pth').resolve() == (places[0] / 'net.pth').resolve()


def test_a_download_that_differs_is_not_kept(places: tuple[Path, Path], published: WeightFile) -> None:
    with pytest.raises(UserError, match='another SHA-256'):
        locate(WeightFile('a net', published.url, '00000000', 'net.pth'))
    assert list(places[0].iterdir()) == []


def test_a_wrong_file_on_disk_is_named(places: tuple[Path, Path], published: WeightFile) -> None:
    places[0].mkdir()
    (places[0] / 'net.pth').write_bytes(b'cut')
    with pytest.raises(UserError, match=str(places[0] / 'net.pth')):
        locate(published)


def test_unreachable_is_one_line(places: tuple[Path, Path]) -> None:
    with pytest.raises(UserError) as caught:
        locate(WeightFile('VGG', 'file:///nowhere/vgg-01234567.pth', '01234567', 'vgg-01234567.pth'))
    message = str(caught.value)
    assert '\n' not in message
    for part in ('VGG', "'vgg-01234567.pth'", 'SHA-256 01234567', str(places[0])):
        assert part in message


def test_a_home_is_not_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv('FSR_WEIGHTS', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    with pytest.raises(UserError, match='into ~/.cache/fsr_plugins/weights') as caught:
        locate(WeightFile('VGG', 'file:///nowhere/vgg-01234567.pth', '01234567', 'vgg-01234567.pth'))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize('licence', ['MIT', ''])
def test_a_download_tells_source_and_licence(
    licence: str, places: tuple[Path, Path], published: WeightFile, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger='fsr_plugins.weights'):
        locate(dataclasses.replace(published, licence=licence))
        locate(published)
    assert len(caplog.messages) == 1, 'what is on disk is not told again'
    assert published.url in caplog.text
    assert f'licence: {licence or "not stated by the publisher"}' in caplog.text


def test_offline_names_what_is_missing(
    places: tuple[Path, Path], published: WeightFile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv('FSR_OFFLINE', '1')
    monkeypatch.setattr('urllib.request.urlopen', lambda *_, **__: pytest.fail('the network was touched'))
    content = (tmp_path / 'server' / 'net.pth').read_bytes()
    whole = dataclasses.replace(published, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(UserError) as caught:
        locate(whole)
    message = str(caught.value)
    assert '\n' not in message
    for part in ('a net', 'FSR_OFFLINE', "'net.pth'", whole.sha256, whole.url, str(places[0])):
        assert part in message
    assert not places[0].exists()
    places[0].mkdir()
    (places[0] / 'net.pth').write_bytes(content)
    assert locate(whole) == places[0] / 'net.pth'


@pytest.mark.parametrize('value', ['', '0', 'no', 'false'])
def test_online_unless_told_otherwise(
    value: str, places: tuple[Path, Path], published: WeightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FSR_OFFLINE', value)
    assert locate(published).is_file()


def test_torchvision_names() -> None:
    weight = torchvision_weights('vgg19', 'VGG')
    assert (weight.filename, weight.sha256) == ('vgg19-dcbb9e9d.pth', 'dcbb9e9d')
    assert weight.url.endswith('/vgg19-dcbb9e9d.pth')
    with pytest.raises(UserError, match='vgg20'):
        torchvision_weights('vgg20', 'VGG')


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(_Harmful.target),)

    target: Path


@pytest.mark.parametrize('kind', ['code', 'code_in_torch_file', 'text', 'empty', 'truncated', 'absent', 'folder'])
def test_what_is_no_checkpoint(kind: str, tmp_path: Path) -> None:
    path, _Harmful.target = tmp_path / 'file.pth', tmp_path / 'harm'
    if kind == 'code':
        path.write_bytes(pickle.dumps({'params': _Harmful()}))
    elif kind == 'code_in_torch_file':
        torch.save({'params': _Harmful()}, path)
    elif kind == 'text':
        path.write_text('hello, this is not a checkpoint')
    elif kind == 'empty':
        path.touch()
    elif kind == 'truncated':
        torch.save({'params': torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:900])
    elif kind == 'folder':
        path.mkdir()
    with pytest.raises(UserError, match=r'file\.pth') as caught:
        load_state(path)
    assert '\n' not in str(caught.value)
    assert not _Harmful.target.exists()
