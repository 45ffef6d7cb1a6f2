"""Archives and folders as sources: hostile ones above all."""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fsr_plugins.errors import UserError
from fsr_plugins.prepare import source as contract
from fsr_plugins.prepare.sources import open_source
from fsr_plugins.prepare.tar_source import TarSource

FILES = {'a/one.txt': b'1', 'a/two.txt': b'22', 'b.txt': b''}


def write(path: Path, files: dict[str, bytes]) -> Path:
    """An archive of any kind, or a folder."""
    if not path.suffix:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    elif path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        kind = {'.tar': '', '.tgz': 'gz'}.get(path.suffix, path.suffix[1:])
        with tarfile.open(path, f'w:{kind}') as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize('name', ['folder', 'x.zip', 'x.tar', 'x.tgz', 'x.tar.gz', 'x.tar.bz2', 'x.tar.xz'])
def test_all_kinds_are_read_alike(tmp_path: Path, name: str) -> None:
    with open_source(write(tmp_path / name, FILES)) as source:
        assert source.names == sorted(FILES) and source.links == []
        assert {name: source.read(name) for name in source.names} == FILES
        assert dict(source.sizes) == {name: len(content) for name, content in FILES.items()}
        assert source.by_key(re.compile(r'(?:.*/)?(?P<key>\w+)\.txt')) == {
            'one': ['a/one.txt'], 'two': ['a/two.txt'], 'b': ['b.txt']
        }  # fmt: skip


def test_a_folder_of_archives_is_one_source(tmp_path: Path) -> None:
    folder = write(tmp_path / 'downloads', {'list.txt': b'x', 'deep/other.zip': b'not opened'})
    write(folder / 'one.zip', {'img/1.txt': b'1'})
    write(folder / 'two.tgz', {'img/1.txt': b'2'})
    with open_source(folder) as source:
        assert source.names == ['deep/other.zip', 'list.txt', 'one.zip/img/1.txt', 'two.tgz/img/1.txt']
        assert source.read('two.tgz/img/1.txt') == b'2' and source.read('list.txt') == b'x'
        with pytest.raises(UserError, match='needs one list of faces; 2 are there'):
            source.one(re.compile(r'.*1\.txt'), 'list of faces')


def test_links_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / 'secret.txt'
    secret.write_bytes(b'secret')
    folder = write(tmp_path / 'folder', FILES)
    (folder / 'link.txt').symlink_to(secret)
    (folder / 'up').symlink_to(tmp_path, target_is_directory=True)
    with tarfile.open(tmp_path / 'x.tar', 'w') as archive:
        for name, kind in (('sym.txt', tarfile.SYMTYPE), ('hard.txt', tarfile.LNKTYPE), ('dev', tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(secret)
            archive.addfile(member)
    with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as archive:
        linked = zipfile.ZipInfo('sym.txt')
        linked.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(linked, str(secret))
    expected = {'folder': {'link.txt', 'up'}, 'x.tar': {'sym.txt', 'hard.txt'}, 'x.zip': {'sym.txt'}}
    for name, links in expected.items():
        path = tmp_path / name
        with open_source(path) as source:
            assert set(source.links) == links and not set(source.names) & (links | {'dev', 'up/secret.txt'})


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('fsr_plugins.prepare.tar_source._LEAST', 1 << 20)
    with gzip.open(tmp_path / 'bomb.tar.gz', 'wb') as file:
        for _ in range(8):
            file.write(bytes(1 << 20))
    with pytest.raises(UserError, match='more than 20 times its size'):
        open_source(tmp_path / 'bomb.tar.gz')


@pytest.mark.parametrize('name', ['x.zip', 'x.tar', 'folder'])
def test_large_members_are_not_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, 'FILE_BYTES', 1000)
    with open_source(write(tmp_path / name, {'small': b'x', 'large': bytes(1001)})) as source:
        assert source.read('small') == b'x'
        with pytest.raises(UserError, match='1001 bytes'):
            source.read('large')


def test_a_member_that_says_less_than_it_holds_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / 'x.zip', {'large': bytes(5000)})
    data = bytearray(path.read_bytes())
    place = data.index(b'PK\x01\x02')
    data[place + 24 : place + 28] = struct.pack('<I', 10)  # the size in the directory
    path.write_bytes(data)
    monkeypatch.setattr(contract, 'FILE_BYTES', 1000)
    # Either zipfile stops at the size that was said, and the checksum is wrong, or our bound stops it.
    with open_source(path) as source, pytest.raises(UserError, match='cannot be read|larger than'):
        source.read('large')


@pytest.mark.parametrize('name', ['x.zip', 'x.tar', 'x.tgz', 'x.tar.xz', 'x.tar.bz2'])
def test_what_is_cut_short_is_said(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, {f'{number}.bin': os.urandom(4000) for number in range(5)})
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(UserError, match='download it again|download the archive again'), open_source(path) as source:
        for member in source.names:
            source.read(member)


def test_a_tar_cut_anywhere_never_opens_with_fewer_files(tmp_path: Path) -> None:
    """At the beginning of a member as well, where nothing is missing but the rest of the archive."""
    files = {f'{number}.bin': os.urandom(700) for number in range(5)}
    whole = write(tmp_path / 'x.tar', files).read_bytes()
    path = tmp_path / 'cut.tar'
    for place in range(0, len(whole), 256):
        path.write_bytes(whole[:place])
        try:
            with open_source(path) as source:
                assert source.names == sorted(files), f'cut after {place} bytes'
        except UserError as error:
            assert 'download it again' in str(error)


def test_a_tar_that_is_damaged_inside_never_opens_with_fewer_files(tmp_path: Path) -> None:
    whole = write(tmp_path / 'x.tar', {f'{number}.bin': bytes(700) for number in range(5)}).read_bytes()
    third = whole.index(b'2.bin')
    damaged = {
        'header': whole[:third] + b'X' + whole[third + 1 :],
        'zeros': whole[:third] + bytes(512) + whole[third + 512 :],
        'two': whole + whole,
        'unfinished': whole[:third] + bytes(2 << 20),
        'negative': whole[: third + 124] + b'\xff' * 12 + whole[third + 136 :],
    }
    for name, data in damaged.items():
        (tmp_path / f'{name}.tar').write_bytes(data)
        with pytest.raises(UserError, match='download it again'):
            open_source(tmp_path / f'{name}.tar')


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / 'folder', FILES)
    scandir = os.scandir

    def denied(path: str) -> object:
        if str(path).endswith('/a'):
            raise PermissionError(13, 'Permission denied', path)
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', denied)
    with pytest.raises(UserError, match="/a' cannot be read: Permission denied"):
        open_source(tmp_path / 'folder')


def test_other_archives_are_to_be_unpacked(tmp_path: Path) -> None:
    for name in ('img_celeba.7z.001', 'x.7z', 'x.rar'):
        (tmp_path / name).write_bytes(b'7z')
        with pytest.raises(UserError, match='unpack it'):
            open_source(tmp_path / name)
    (tmp_path / 'x.tgz').write_bytes(b'no gzip')
    with pytest.raises(UserError, match='cannot be unpacked'):
        TarSource(tmp_path / 'x.tgz')


@pytest.mark.filterwarnings('ignore:Image size')
def test_a_picture_of_too_many_pixels_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    bomb = (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', 12_000, 12_000, 8, 2, 0, 0, 0))
        + chunk(b'IEND', b'')
    )
    small = cv2.imencode('.png', np.zeros((4, 6, 3), np.uint8))[1].tobytes()

    def decode(*_: object) -> None:
        raise AssertionError('it was decoded')

    with open_source(write(tmp_path / 'x.zip', {'bomb.png': bomb, 'small.png': small})) as source:
        assert source.image('small.png').shape == (4, 6, 3)
        monkeypatch.setattr(contract, 'decode_image', decode)
        with pytest.raises(UserError, match='claims 12000x12000 pixels'):
            source.image('bomb.png')


@pytest.mark.parametrize('name', ['party.jpg', 'notes'])
def test_a_file_that_is_no_archive_is_not_called_a_damaged_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'\xff\xd8\xff no archive')
    with pytest.raises(UserError, match=f"{name}' is one file and no archive .*; give the folder or the archive"):
        open_source(tmp_path / name)


def test_an_image_is_as_large_as_it_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (4, 8)).save(tmp_path / 'turned.jpg', exif=exif)
    source = open_source(tmp_path)
    assert source.image('turned.jpg', (4, 8)).shape == (4, 8, 3)
    with pytest.raises(UserError, match='is 8x4; images of 4x8 are expected'):
        source.image('turned.jpg', (8, 4))
