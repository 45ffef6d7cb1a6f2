"""Several stores seen as one: keys, what is held, messages that name the part; and checksums of stores."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.data.loader import TrainLoader
from fsr_plugins.errors import UserError
from fsr_plugins.stores.checksum import store_checksum
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.records import Face
from fsr_plugins.stores.store import Store
from fsr_plugins.stores.union import UnionStore
from fsr_plugins.stores.verify import verify

SPECS = ('a.lmdb', 'b', 'c.lmdb')


pytestmark = pytest.mark.usefixtures('own_cache')


def faces(seed: int, number: int = 3, size: int = 16, lacks: str = '') -> list[Face]:
    """Faces k0, k1 … with all there is, except what ``lacks`` names."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(number):
        image = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        points = rng.uniform(0, size - 1, (5, 2)).astype(np.float32).round(2)
        labels = rng.integers(0, 19, (size, size), dtype=np.uint8)
        face = Face(f'k{index}', image, 10 * seed + index, points, labels)
        made.append(face._replace(**{lacks: None}) if lacks else face)
    return made


def plain_folder(path: Path, those: list[Face]) -> None:
    """As a user lays it out: without a manifest."""
    write_folder(path, those)
    (path / 'manifest.json').unlink()


def write_parts(folder: Path, **more: Any) -> list[str]:
    for seed, name in enumerate(SPECS):
        (write_lmdb if name.endswith('.lmdb') else plain_folder)(folder / name, faces(seed, **more))
    return [str(folder / name) for name in SPECS]


def make(root: str | list[str], **more: Any) -> FaceDataset:
    block = {'name': 'faces', 'type': 'FaceDataset', 'phase': 'train', 'scale': 4, 'dataroot_gt': root}
    return FaceDataset({**block, **more})


@pytest.mark.parametrize('again', [lambda store: store, lambda store: pickle.loads(pickle.dumps(store))])
def test_the_parts_one_after_the_other(tmp_path: Path, again: Any) -> None:
    specs = write_parts(tmp_path)
    parts = [open_store(spec) for spec in specs]
    union = again(open_store(specs))
    assert list(union.keys) == [f'{part}/k{index}' for part in range(3) for index in range(3)] == sorted(union.keys)
    assert len(union.parts) == 3 and parts[0].parts == (parts[0],)
    with union.reader() as read:
        for place, key in enumerate(union.keys):
            part, own = parts[place // 3], f'k{place % 3}'
            assert np.array_equal(union.image(key), part.image(own)) and np.array_equal(read(key), part.image(own))
            assert np.array_equal(union.parsing(key), part.parsing(own)) and union.where(key) == part.where(own)
    assert union.identities.tolist() == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    assert np.array_equal(union.landmarks, np.concatenate([part.landmarks for part in parts]))
    assert union.sizes().tolist() == verify(union).tolist() == [[16, 16]] * 9
    with pytest.raises(KeyError):
        union.image('3/k0')


def test_more_than_ten_parts_stay_in_order(tmp_path: Path) -> None:
    write_lmdb(tmp_path / 'a.lmdb', faces(0))
    union = open_store([str(tmp_path / 'a.lmdb')] * 11)
    assert list(union.keys) == sorted(union.keys) and union.keys[-1] == '10/k2' and union.keys[0] == '00/k0'


@pytest.mark.parametrize('lacks', ['identity', 'landmarks', 'parsing'])
def test_held_is_what_every_part_holds(tmp_path: Path, lacks: str) -> None:
    write_lmdb(tmp_path / 'a.lmdb', faces(0))
    write_lmdb(tmp_path / 'poor.lmdb', faces(1, lacks=lacks))
    specs = [str(tmp_path / 'a.lmdb'), str(tmp_path / 'poor.lmdb')]
    union = open_store(specs)
    held = {
        'identity': union.identities is not None,
        'landmarks': union.landmarks is not None,
        'parsing': union.has_parsing,
    }
    assert [name for name, there in held.items() if not there] == [lacks]
    assert set(union.manifest.holds) == set(held) - {lacks}
    with pytest.raises(UserError, match=rf"view '{lacks}', which '[^']*poor\.lmdb' does not hold"):
        make(specs, views=[lacks])


def test_the_manifest_is_made_of_the_parts(tmp_path: Path) -> None:
    folder_and_lmdb = write_parts(tmp_path)
    write_lmdb(tmp_path / 'large.lmdb', faces(4, number=2, size=20))
    large = str(tmp_path / 'large.lmdb')
    mixed = open_store(folder_and_lmdb).manifest
    assert (mixed.kind, mixed.encoding, mixed.count) == ('union', 'mixed', 9)
    assert mixed.checksum is None and mixed.sizes == []  # a folder without a manifest knows neither
    both = open_store([folder_and_lmdb[0], folder_and_lmdb[2]]).manifest
    assert both.encoding == 'raw' and both.sizes == [(16, 16)]
    checksums = [open_store(folder_and_lmdb[place]).manifest.checksum for place in (0, 2)]
    assert both.checksum == hashlib.sha256('\n'.join(checksums).encode()).hexdigest()
    sizes = open_store([folder_and_lmdb[0], large]).manifest.sizes
    assert sizes == [(16, 16)] * 3 + [(20, 20)] * 2


def test_datasets_take_a_list(tmp_path: Path) -> None:
    specs = write_parts(tmp_path)
    small = [face._replace(image=face.image[::4, ::4], parsing=None, landmarks=None) for face in faces(7)]
    for name in 'xyz':
        write_folder(tmp_path / name, small)
    dataset = make(specs, dataroot_lq=[str(tmp_path / name) for name in 'xyz'], views=['identity', 'parsing'])
    dataset.check(4)
    sample = dataset[4]
    assert sample['gt_path'] == sample['lq_path'] == '1/k1' and sample['identity'] == 11
    assert np.array_equal(sample['gt'], open_store(specs[1]).image('k1'))
    assert dataset.lists()['gt'] == list(open_store(specs).keys)
    with TrainLoader(dataset, 9, threads=2) as loader:
        batch = next(iter(loader))
    assert sorted(batch['identity'].tolist()) == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    assert len(make(specs, max_images=4, subset_seed=1)) == 4


def test_messages_name_the_part(tmp_path: Path) -> None:
    specs = write_parts(tmp_path)
    with pytest.raises(UserError, match=r"type 'lmdb', but '[^']*/b' is 'disk'"):
        make(specs, io_backend={'type': 'lmdb'})
    with pytest.raises(UserError, match=r"folder '[^']*nowhere' does not exist"):
        make([specs[0], str(tmp_path / 'nowhere')])
    (tmp_path / 'b' / 'images' / 'k1.png').write_bytes(b'no picture')
    with pytest.raises(UserError, match=r'b/images/k1\.png.*cannot be decoded'):
        make(specs).check(4)
    write_folder(tmp_path / 'small', faces(5, size=8))
    with pytest.raises(UserError, match=r'small/images/k0\.png.*8x8'):
        verify(open_store([specs[0], str(tmp_path / 'small')]), min_size=16)


@pytest.mark.parametrize('root', [[], 3, ['a', 3], None])
def test_other_than_stores_are_refused(root: Any) -> None:
    with pytest.raises(UserError, match="'dataroot_gt'.*or a list of at least one"):
        make(root)


def test_an_empty_list_is_no_store() -> None:
    with pytest.raises(UserError, match='list of stores is empty'):
        UnionStore([])


# ---- checksums -----------------------------------------------------------------------------------------------------


def folder_store(path: Path, seed: int = 0) -> Store:
    plain_folder(path, [Face(face.key, face.image) for face in faces(seed)])
    return open_store(path)


def test_a_folders_checksum_is_its_contents(tmp_path: Path) -> None:
    store = folder_store(tmp_path / 'one')
    found = store_checksum(store)
    shutil.copytree(tmp_path / 'one', tmp_path / 'two')
    assert store_checksum(open_store(tmp_path / 'two')) == found
    assert store_checksum(folder_store(tmp_path / 'other', 1)) != found
    image = tmp_path / 'two' / 'images' / 'k1.png'
    image.rename(image.with_name('k7.png'))
    assert store_checksum(open_store(tmp_path / 'two')) != found


def test_a_checksum_is_remembered_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = store_checksum(folder_store(tmp_path / 'set'))

    def read_again(*_: Any) -> str:
        raise AssertionError('read again')

    monkeypatch.setattr('fsr_plugins.stores.folder.FolderStore.content_checksum', read_again)
    assert store_checksum(open_store(tmp_path / 'set')) == found
    (tmp_path / 'set' / 'images' / 'k1.png').touch()
    with pytest.raises(AssertionError, match='read again'):
        store_checksum(open_store(tmp_path / 'set'))


def test_an_lmdbs_checksum_is_its_manifests_or_found(tmp_path: Path) -> None:
    write_lmdb(tmp_path / 'a.lmdb', [Face(face.key, face.image) for face in faces(0)], 'png')
    written = store_checksum(open_store(tmp_path / 'a.lmdb'))
    assert written == open_store(tmp_path / 'a.lmdb').manifest.checksum
    (tmp_path / 'a.lmdb' / 'manifest.json').unlink()  # as BasicSR's
    assert store_checksum(open_store(tmp_path / 'a.lmdb')) == written


def test_a_unions_checksum_knows_the_order(tmp_path: Path) -> None:
    specs = write_parts(tmp_path)
    assert store_checksum(open_store(specs)) != store_checksum(open_store(specs[::-1]))
    lmdbs = open_store([specs[0], specs[2]])
    assert store_checksum(lmdbs) == lmdbs.manifest.checksum
