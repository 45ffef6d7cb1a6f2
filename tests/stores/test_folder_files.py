"""What a data folder leaves out is said; folders below it are taken where that is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, written

from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.errors import UserError
from fsr_plugins.stores import folder_files, open_store, store_checksum
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.records import Face
from fsr_plugins.stores.verify import verify


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(folder_files, '_said', set())
    names = ['a.png', 'b.png', 'one/a.png', 'one/two/c.png', '.hidden/d.png']
    files = {name: png(picture(number, 8, 8)) for number, name in enumerate(names)}
    return written(tmp_path / 'faces', files | {'more.tar': b'', 'e.gif': b'GIF'})


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the stores of folders warn of, whatever handlers there are."""
    messages: list[str] = []
    monkeypatch.setattr(folder_files.logger, 'warning', lambda text, *values: messages.append(text % values))
    return messages


def test_what_is_left_out_is_said_once(folder: Path, told: list[str]) -> None:
    for _ in range(2):
        assert open_store(folder).keys == ['a', 'b']
    (said,) = told
    assert '2 images in folders below it' in said and 'recursive: true' in said
    assert '1 archive (' in said and 'e.gif' in said
    for name in ('a.png', 'b.png'):
        (folder / name).unlink()
    with pytest.raises(UserError, match='holds no images.*2 images in folders below it'):
        open_store(folder)


def test_images_beside_the_folder_of_images_are_left_out_too(folder: Path, told: list[str]) -> None:
    written(folder / 'images', {'x.png': png(picture(9, 8, 8))})
    assert open_store(folder).keys == ['x']
    assert "2 images beside the folder 'images'" in told[0]


def test_folders_below_are_taken_where_that_is_asked_for(folder: Path) -> None:
    store = open_store(folder, recursive=True)
    assert store.keys == ['a', 'b', 'one/a', 'one/two/c']
    assert np.array_equal(store.image('one/two/c'), picture(3, 8, 8))
    assert verify(store).tolist() == [[8, 8]] * 4 == verify(store).tolist()
    before = store_checksum(store)
    assert before == store_checksum(open_store(folder, recursive=True)) != store_checksum(open_store(folder))
    (folder / 'one/two/c.png').write_bytes(png(picture(7, 9, 8)))
    assert store_checksum(open_store(folder, recursive=True)) != before
    assert verify(open_store(folder, recursive=True)).tolist()[-1] == [9, 8]


def test_datasets_take_them(folder: Path, tmp_path: Path) -> None:
    block = {'type': 'FaceDataset', 'dataroot_gt': str(folder), 'scale': 2, 'phase': 'val'}
    faces = FaceDataset({**block, 'recursive': True})
    faces.check(2)
    assert len(faces) == 4 and faces.lists()['gt'][-1] == 'one/two/c' and len(FaceDataset(block)) == 2
    write_lmdb(tmp_path / 'x.lmdb', [Face('a', picture(0, 8, 8))], 'png')
    with pytest.raises(UserError, match="'recursive: true', but .* is no folder of images"):
        FaceDataset({**block, 'dataroot_gt': str(tmp_path / 'x.lmdb'), 'recursive': True})


def test_loops_end_and_names_that_are_no_keys_are_named(folder: Path) -> None:
    (folder / 'one/up').symlink_to('..', target_is_directory=True)
    assert len(open_store(folder, recursive=True)) == 4
    Path(os.fsdecode(os.fsencode(folder) + b'/\xff.png')).write_bytes(png(picture(0, 8, 8)))
    with pytest.raises(UserError, match=r'\\xff\.png.*not UTF-8'):
        open_store(folder)
    with pytest.raises(UserError, match='does not exist'):
        open_store('x' * 300)


@pytest.mark.parametrize('table', [b'\xff\xfe', b'key,identity\n', b'', b'key\0'])
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, table: bytes) -> None:
    written(tmp_path / 'set', {'images/a.png': png(picture(0, 8, 8)), 'faces.csv': table})
    with pytest.raises(UserError, match=r'faces\.csv'):
        open_store(tmp_path / 'set')
