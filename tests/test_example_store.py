"""The example of a store from outside: images in a zip archive, read by threads and processes, and trained on."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from outside import EXAMPLES, check_small_and_unknown, entry_points, fsr, install, python

from fsr_plugins.stores.images import read_image

pytestmark = pytest.mark.long

OPTIONS = EXAMPLES / 'fsr_zip_store' / 'options' / 'zipped.yml'
SETTINGS = (
    'train.total_iter=2', 'val.val_freq=2', 'num_gpu=0', 'datasets.train.batch_size_per_gpu=2',
    'datasets.train.gt_size=16',
)  # fmt: skip


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the store, and nothing else, is installed."""
    return install('fsr_zip_store', tmp_path_factory.mktemp('outside'))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with faces in ``faces/``, and the same zipped where the option file looks for them."""
    generator = np.random.default_rng(0)
    (tmp_path / 'faces').mkdir()
    (tmp_path / 'datasets').mkdir()
    with zipfile.ZipFile(tmp_path / 'datasets' / 'faces.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('set/readme.txt', 'not an image')
        archive.writestr('__MACOSX/set/._3.png', b'not an image either')
        for number in range(12):
            file = tmp_path / 'faces' / f'{number}.png'
            cv2.imwrite(str(file), generator.integers(0, 256, (24, 24, 3), np.uint8))
            archive.write(file, f'set/{number % 3}/{number}.png')
    (tmp_path / 'datasets' / 'held_out.zip').write_bytes((tmp_path / 'datasets' / 'faces.zip').read_bytes())
    return tmp_path


def train(site: Path, place: Path, *more: str):
    settings = [word for each in (*SETTINGS, *more) for word in ('--set', each)]
    return fsr(site, place, 'train', '-opt', OPTIONS, *settings)


def test_it_is_small_and_unknown_to_the_repository() -> None:
    check_small_and_unknown('fsr_zip_store', 'zipstore')


def test_it_brings_one_entry_point(site: Path) -> None:
    assert entry_points(site) == [('fsr_plugins', 'zip_store', 'fsr_zip_store')]


def test_it_trains_and_validates_as_the_folder_does(site: Path, place: Path) -> None:
    done = train(site, place)
    assert done.returncode == 0, done.stderr
    roots = ('datasets.train.dataroot_gt=faces', 'datasets.val.dataroot_gt=faces')
    done = train(site, place, 'name=plain', *roots)
    assert done.returncode == 0, done.stderr
    zipped, plain = (
        json.loads((place / 'experiments' / name / 'summary.json').read_text()) for name in ('zipped', 'plain')
    )
    assert {stage['iterations'] for stage in zipped['stages'].values()} == {2}
    assert zipped['validation'] == plain['validation']
    (used,) = (place / 'experiments' / 'zipped').rglob('images/gt.txt')
    assert used.read_text().split() == sorted(str(number) for number in range(12))
    assert not list(place.glob('datasets/*/')), 'something was unpacked'


def test_checksum_and_cache_go_by_the_archive(site: Path, place: Path) -> None:
    code = """
import json, zipfile
from fsr_plugins.stores import open_store, store_checksum
def look():
    store = open_store('zip://datasets/faces.zip')
    read = []
    store.content = lambda key: read.append(key) or type(store).content(store, key)
    return store_checksum(store), store.sizes().tolist(), len(read)
found = [look(), look()]
# Another archive under the same name: nothing that is remembered of the old one is used.
with zipfile.ZipFile('datasets/faces.zip', 'w') as archive:
    for key in range(12):
        archive.write('faces/7.png', f'{key}.png')
print(json.dumps([*found, look(), store_checksum(open_store('faces'))]))
"""
    first, again, changed, of_folder = json.loads(python(site, place, code))
    assert first == [of_folder, [[24, 24]] * 12, 24]
    assert again == [*first[:2], 0]
    assert changed[0] != first[0] and changed[1:] == first[1:]


def test_threads_forks_and_pickles_read_the_same(site: Path, place: Path) -> None:
    code = """
import hashlib, json, multiprocessing, pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from fsr_plugins.stores import open_store
store = open_store('zip://datasets/faces.zip')
keys = list(store.keys) * 20
def seen(key):
    return hashlib.sha256(store.image(key).tobytes()).hexdigest()
def in_threads(number=0):
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(seen, keys))
found = [in_threads()]
with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context('fork')) as pool:
    found += pool.map(in_threads, range(3))
store = pickle.loads(pickle.dumps(store))
found.append(in_threads())
print(json.dumps([keys, found]))
"""
    keys, found = json.loads(python(site, place, code))
    files = {key: read_image(place / 'faces' / f'{key}.png') for key in set(keys)}
    expected = [hashlib.sha256(files[key].tobytes()).hexdigest() for key in keys]
    assert found == [expected] * 5


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    start = content.index(b'set/1/7.png') + 60
    content[start : start + 20] = bytes(20)
    file.write_bytes(content)


def same_key(file: Path) -> None:
    with zipfile.ZipFile(file, 'a') as archive:
        archive.writestr('other/7.png', b'')


def no_image(file: Path) -> None:
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('7.txt', b'')


def test_a_damaged_archive_is_refused_before_anything_is_trained(site: Path, place: Path) -> None:
    damage(place / 'datasets' / 'faces.zip')
    done = train(site, place)
    assert done.returncode == 2
    assert "'datasets/faces.zip/set/1/7.png' cannot be read" in done.stderr
    assert 'download the archive again' in done.stderr and 'Traceback' not in done.stderr
    assert not (place / 'experiments').exists()


def test_what_is_no_archive_of_images_is_refused(site: Path, place: Path) -> None:
    (place / 'datasets' / 'page.zip').write_bytes(b'<html>')
    same_key(place / 'datasets' / 'faces.zip')
    no_image(place / 'datasets' / 'held_out.zip')
    code = """
from fsr_plugins.errors import UserError
from fsr_plugins.stores import open_store
for name in ('absent', 'page', 'faces', 'held_out'):
    try:
        open_store(f'zip://datasets/{name}.zip')
    except UserError as error:
        print(error)
"""
    absent, page, faces, held_out = python(site, place, code).splitlines()
    assert absent.startswith("'zip://datasets/absent.zip' cannot be opened as a zip archive: ")
    assert page.startswith("'zip://datasets/page.zip' cannot be opened as a zip archive: ")
    assert faces == "'other/7.png' and 'set/1/7.png' in 'datasets/faces.zip' have the same key."
    assert held_out.startswith("'datasets/held_out.zip' holds no images")


def test_without_it_the_scheme_is_refused(tmp_path: Path) -> None:
    done = fsr(tmp_path / 'nothing', tmp_path, 'train', '-opt', OPTIONS)
    assert done.returncode == 2
    assert "no store has the scheme 'zip'" in done.stderr and 'Traceback' not in done.stderr
