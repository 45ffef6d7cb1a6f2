"""Stores: bit-equal images through every encoding, BasicSR's LMDBs both ways, processes, damage."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import socket
import subprocess
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
import tiny
from basicsr.utils import FileClient, imfrombytes
from basicsr.utils.lmdb_util import make_lmdb_from_imgs

from fsr_plugins.errors import DamagedError, UserError
from fsr_plugins.lmdb_env import release
from fsr_plugins.stores.folder import FolderStore
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.lmdb import LmdbStore
from fsr_plugins.stores.lmdb_writer import LmdbWriter, write_lmdb
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.records import Face
from fsr_plugins.stores.store import Store
from fsr_plugins.stores.verify import verify

pytestmark = pytest.mark.usefixtures('own_cache')


def make_faces(number: int = 6, size: tuple[int, int] = (20, 16), full: bool = True) -> list[Face]:
    rng = np.random.default_rng(0)
    faces = []
    for index in reversed(range(number)):
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        points = rng.uniform(0, 15, (5, 2)).astype(np.float32).round(2)
        labels = rng.integers(0, 19, size, dtype=np.uint8)
        faces.append(Face(f'f{index:03d}', image, index // 2, points, labels) if full else Face(f'f{index:03d}', image))
    return faces


def written(folder: Path, how: str, faces: list[Face]) -> Store:
    path = folder / ('faces' if how == 'folder' else f'{how}.lmdb')
    if how == 'folder':
        write_folder(path, faces)
    else:
        write_lmdb(path, faces, how)
    return open_store(str(path))


@pytest.mark.parametrize('how', ['folder', 'png', 'raw'])
@pytest.mark.parametrize('full', [True, False])
def test_everything_comes_back_bit_equal(tmp_path: Path, how: str, full: bool) -> None:
    faces = {face.key: face for face in make_faces(full=full)}
    store = written(tmp_path, how, list(faces.values()))
    assert list(store.keys) == sorted(faces)
    held = [store.has_parsing, store.identities is not None, store.landmarks is not None]
    assert held == [full] * 3
    with store.reader() as read:
        for place, key in enumerate(store.keys):
            face = faces[key]
            assert np.array_equal(store.image(key), face.image) and np.array_equal(read(key), face.image)
            if full:
                assert np.array_equal(store.parsing(key), face.parsing)
                assert store.identities[place] == face.identity
                np.testing.assert_allclose(store.landmarks[place], face.landmarks, atol=1e-4)
    assert store.manifest.count == len(faces)
    assert verify(store).tolist() == store.sizes().tolist() == [[20, 16]] * len(faces)


def test_colours_are_those_of_opencv(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    for name, content in (('a.png', image), ('b.jpg', image), ('c.bmp', image[..., 0])):
        cv2.imwrite(str(tmp_path / name), content)
    store = FolderStore(tmp_path)
    for key, name in (('a', 'a.png'), ('b', 'b.jpg'), ('c', 'c.bmp')):
        expected = cv2.cvtColor(cv2.imread(str(tmp_path / name), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        assert np.array_equal(store.image(key), expected)


def test_a_raw_image_is_its_readers_own(tmp_path: Path) -> None:
    store = written(tmp_path, 'raw', make_faces())
    image = store.image('f000')
    image[:] = 0
    assert store.image('f000').any()


def test_basicsr_reads_our_png_lmdb(tmp_path: Path) -> None:
    faces = make_faces()
    write_lmdb(tmp_path / 'ours.lmdb', faces, 'png')
    keys = [line.split('.')[0] for line in (tmp_path / 'ours.lmdb' / 'meta_info.txt').read_text().splitlines()]
    assert keys == sorted(face.key for face in faces)
    client = FileClient('lmdb', db_paths=[str(tmp_path / 'ours.lmdb')], client_keys=['gt'])
    for face in faces:
        assert np.array_equal(imfrombytes(client.get(face.key, 'gt'))[..., ::-1], face.image)


def test_we_read_basicsrs_lmdb(tmp_path: Path) -> None:
    faces = make_faces(full=False)
    for face in faces:
        cv2.imwrite(str(tmp_path / f'{face.key}.png'), face.image[..., ::-1])
    names = sorted(f'{face.key}.png' for face in faces)
    path = tmp_path / 'theirs.lmdb'
    make_lmdb_from_imgs(str(tmp_path), str(path), names, [name[:-4] for name in names])
    store = open_store(path)
    assert verify(store).tolist() == [[20, 16]] * len(faces)
    assert all(np.array_equal(store.image(face.key), face.image) for face in faces)
    # BasicSR cuts keys at the first dot when it reads meta_info.txt, and so do we.
    text = (path / 'meta_info.txt').read_text().replace('f000.png', 'f000.x.png')
    (path / 'meta_info.txt').write_text(text)
    assert open_store(path).keys[0] == 'f000'


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_forked_and_spawned_processes_read_too(tmp_path: Path, method: str) -> None:
    stores = [written(tmp_path, how, make_faces()) for how in ('folder', 'raw')]
    expected = stores[0].image('f002')
    assert np.array_equal(stores[1].image('f002'), expected)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        for store in stores:
            assert np.array_equal(pool.submit(store.image, 'f002').result(timeout=100), expected)
    assert np.array_equal(stores[1].image('f002'), expected)


def test_one_environment_serves_two_stores_and_a_pickled_one(tmp_path: Path) -> None:
    first = written(tmp_path, 'raw', make_faces())
    second = LmdbStore(first.path)
    third = pickle.loads(pickle.dumps(first))
    assert np.array_equal(first.image('f001'), second.image('f001'))
    assert np.array_equal(first.image('f001'), third.image('f001'))


@pytest.mark.parametrize('keep_manifest', [True, False])
def test_a_truncated_lmdb_is_refused(tmp_path: Path, keep_manifest: bool) -> None:
    path = tmp_path / 'cut.lmdb'
    write_lmdb(path, make_faces(60, full=False), 'png')
    release(path)
    if not keep_manifest:
        (path / 'manifest.json').unlink()
    data = path / 'data.mdb'
    for share in (0.6, 0.01):
        with data.open('r+b') as file:
            file.truncate(int(data.stat().st_size * share))
        with pytest.raises(UserError, match='damaged|truncated'):
            open_store(path)


def test_changed_pixels_are_found(tmp_path: Path) -> None:
    path = tmp_path / 'raw.lmdb'
    faces = make_faces(full=False)
    write_lmdb(path, faces, 'raw')
    content = (path / 'data.mdb').read_bytes()
    pixels = faces[0].image.tobytes()
    # Wherever they stand: LMDB may leave a stale copy in a page it has used before.
    (path / 'data.mdb').write_bytes(content.replace(pixels, bytes([pixels[0] ^ 255]) + pixels[1:]))
    with pytest.raises(UserError, match='checksum'):
        verify(open_store(path))


def test_a_manifest_of_other_data_is_refused(tmp_path: Path) -> None:
    store = written(tmp_path, 'raw', make_faces(full=False))
    manifest = json.loads((Path(store.path) / 'manifest.json').read_text())
    manifest['keys'].append('more')
    manifest['count'] += 1
    (Path(store.path) / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(UserError, match='records'):
        open_store(store.path)
    (Path(store.path) / 'manifest.json').write_text('{')
    with pytest.raises(UserError, match='manifest'):
        open_store(store.path)


def test_the_map_grows(tmp_path: Path) -> None:
    faces = make_faces(40, (64, 64), full=False)
    with LmdbWriter(tmp_path / 'g.lmdb', 'raw', map_size=1 << 16) as writer:
        for face in faces:
            writer.add(face)
    store = open_store(tmp_path / 'g.lmdb')
    assert all(np.array_equal(store.image(face.key), face.image) for face in faces)


def test_interrupted_writing_leaves_nothing(tmp_path: Path) -> None:
    def broken():
        yield from make_faces()
        raise RuntimeError('power cut')

    with pytest.raises(RuntimeError, match='power cut'):
        write_lmdb(tmp_path / 'x.lmdb', broken())
    with pytest.raises(RuntimeError, match='power cut'):
        write_folder(tmp_path / 'x', broken())
    assert not (tmp_path / 'x.lmdb').exists() and not (tmp_path / 'x').exists()


@pytest.mark.parametrize('write', [write_folder, write_lmdb])
def test_writers_refuse(tmp_path: Path, write) -> None:
    path = tmp_path / 'w.lmdb'
    face = make_faces()[0]
    with pytest.raises(UserError, match='twice'):
        write(path, [face, face])
    with pytest.raises(UserError, match='no faces'):
        write(path, [])
    with pytest.raises(ValueError, match='brings'):
        write(path, [face, Face('other', face.image)])
    with pytest.raises(ValueError, match='uint8'):
        write(path, [Face('grey', face.image[..., 0])])
    assert write(path, [face]) == 1
    with pytest.raises(UserError, match='exists already'):
        write(path, [face])


def test_a_png_lmdb_has_no_keys_that_basicsr_would_cut(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='dot'):
        write_lmdb(tmp_path / 'd.lmdb', [Face('a.b', make_faces()[0].image)], 'png')


def test_folders_are_looked_at_closely(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='does not exist'):
        open_store(tmp_path / 'missing')
    with pytest.raises(UserError, match='no images'):
        open_store(tmp_path)
    image = make_faces()[0].image
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    with pytest.raises(UserError, match='is a file'):
        open_store(tmp_path / 'a.png')
    cv2.imwrite(str(tmp_path / 'a.jpg'), image)
    with pytest.raises(UserError, match=r'a\.jpg.*a\.png.*same key'):
        open_store(tmp_path)


def test_deep_and_damaged_images_are_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'good.png'), make_faces()[0].image)
    cv2.imwrite(str(tmp_path / 'deep.png'), np.full((8, 8, 3), 40000, np.uint16))
    with pytest.raises(UserError, match=r'deep\.png.*16 bits a channel'):
        verify(open_store(tmp_path))
    (tmp_path / 'deep.png').write_bytes((tmp_path / 'good.png').read_bytes()[:60])
    with pytest.raises(UserError, match=r'deep\.png.*cannot be decoded'):
        verify(open_store(tmp_path))


def test_verify_names_what_is_too_small_and_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / 'set', [*make_faces(3, (32, 32), False), Face('zz', np.zeros((8, 40, 3), np.uint8))])
    store = open_store(tmp_path / 'set')
    with pytest.raises(UserError, match=r'zz\.png.*40x8'):
        verify(store, min_size=16)

    def decoded_again(path: str) -> None:
        raise AssertionError(path)

    monkeypatch.setattr('fsr_plugins.stores.folder.read_image', decoded_again)
    assert verify(store, min_size=8).tolist() == [[32, 32]] * 3 + [[8, 40]]
    (tmp_path / 'set' / 'images' / 'zz.png').touch()
    with pytest.raises(AssertionError, match='png'):
        verify(store)


def test_tables_must_fit(tmp_path: Path) -> None:
    write_folder(tmp_path / 'set', make_faces())
    table = tmp_path / 'set' / 'faces.csv'
    lines = table.read_text().splitlines()
    table.write_text('\n'.join(lines[:-1]))
    with pytest.raises(UserError, match='no row for the image'):
        open_store(tmp_path / 'set')
    table.write_text('\n'.join(['key,who', *lines[1:]]))
    with pytest.raises(UserError, match='header'):
        open_store(tmp_path / 'set')
    table.write_text('\n'.join([*lines[:-1], lines[-1].rpartition(',')[0] + ',far']))
    with pytest.raises(UserError, match='does not fit'):
        open_store(tmp_path / 'set')


@pytest.mark.parametrize('name', ['faces', 'faces.lmdb'])
def test_what_a_killed_process_left_is_removed(tmp_path: Path, name: str) -> None:
    ended = subprocess.Popen(['true'])
    ended.wait()
    left, living = (tmp_path / f'.{name}.{socket.gethostname()}.{pid}.partial' for pid in (ended.pid, 1))
    left.mkdir()
    elsewhere = tmp_path / f'.{name}.elsewhere.99.partial'
    (tmp_path / f'.of_another_target.{socket.gethostname()}.{ended.pid}.partial').mkdir()
    living.mkdir()
    elsewhere.mkdir()
    (write_lmdb if name.endswith('.lmdb') else write_folder)(tmp_path / name, make_faces(2))
    assert {path.name for path in tmp_path.iterdir()} == {name, living.name, elsewhere.name}


def test_every_image_that_cannot_be_used_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    folder = tiny.write_faces(tmp_path / 'faces', 9, 8)
    for name in ('1', '4'):
        (folder / f'{name}.png').write_bytes(b'no image')
    with pytest.raises(UserError, match=r'^2 of 9 images cannot be used\. .*1\.png.*4\.png.*') as told:
        verify(open_store(folder))
    assert 'more' not in str(told.value)
    for name in range(9):
        (folder / f'{name}.png').write_bytes(b'no image')
    with pytest.raises(UserError, match=r'^9 of 9 images .*0\.png.*4\.png.* … and 4 more\.$') as told:
        verify(open_store(folder))
    assert '5.png' not in str(told.value)


def test_a_list_of_basicsrs_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'theirs.lmdb').mkdir()
    (tmp_path / 'theirs.lmdb' / 'meta_info.txt').write_bytes(b'\xff.png (8,8,3) 1\n')
    with pytest.raises(UserError, match=r'meta_info\.txt. is no text'):
        open_store(tmp_path / 'theirs.lmdb')


@pytest.mark.parametrize(('key', 'each'), [(b'\0identities', 8), (b'\0landmarks', 40)])
@pytest.mark.parametrize('off', [-3, -40, 40])
def test_a_record_that_does_not_fit_the_images_is_damage(tmp_path: Path, key: bytes, each: int, off: int) -> None:
    faces = [Face(f'{n}', np.zeros((4, 4, 3), np.uint8), n, np.zeros((5, 2), np.float32)) for n in range(6)]
    write_lmdb(tmp_path / 'a.lmdb', faces)
    release(tmp_path / 'a.lmdb')
    with lmdb.open(str(tmp_path / 'a.lmdb'), lock=False) as env, env.begin(write=True) as transaction:
        transaction.put(key, bytes(each * len(faces) + off))
    changed_manifest(tmp_path / 'a.lmdb', bytes=(tmp_path / 'a.lmdb' / 'data.mdb').stat().st_size)
    with pytest.raises(DamagedError, match=f"its record '{key.decode()[1:]}' has"):
        open_store(tmp_path / 'a.lmdb')


@pytest.mark.parametrize(
    'change', [{'sizes': [[-4, 4]]}, {'sizes': [[2**40, 4]]}, {'keys': ['1', '0']}, {'keys': ['0', '0']}]
)
@pytest.mark.parametrize('name', ['a.lmdb', 'a'])
def test_a_manifest_that_no_writer_makes_is_refused(tmp_path: Path, name: str, change: dict[str, object]) -> None:
    faces = [Face(f'{n}', np.zeros((4, 4, 3), np.uint8)) for n in range(2)]
    (write_lmdb if name == 'a.lmdb' else write_folder)(tmp_path / name, faces)
    release(tmp_path / name)
    changed_manifest(tmp_path / name, **change)
    with pytest.raises(UserError, match='manifest'):
        open_store(tmp_path / name)


def changed_manifest(folder: Path, **change: object) -> None:
    file = folder / 'manifest.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | change))


def test_a_table_with_more_points_than_its_header_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / 'a', [Face('0', np.zeros((4, 4, 3), np.uint8), 0, np.zeros((5, 2), np.float32))])
    table = tmp_path / 'a' / 'faces.csv'
    header, row = table.read_text().splitlines()
    table.write_text(f'{header}\n{row}{",0" * 10}\n')
    with pytest.raises(UserError, match='a row that does not fit its header'):
        open_store(tmp_path / 'a')


def test_a_list_of_basicsrs_with_an_empty_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'theirs.lmdb').mkdir()
    (tmp_path / 'theirs.lmdb' / 'meta_info.txt').write_text('a.png (0,8,3) 1\n')
    with pytest.raises(UserError, match=r'a line that is not'):
        open_store(tmp_path / 'theirs.lmdb')
