"""CASIA-WebFace, on a small imitation."""

from __future__ import annotations

import argparse
import tarfile
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, reduced, written

from fsr_plugins.errors import UserError
from fsr_plugins.prepare import PREPARERS
from fsr_plugins.prepare.casia import prepare_casia
from fsr_plugins.stores.opening import open_store

PEOPLE = {'0000045': 2, '0000099': 1, '6573786': 2}
KEYS = [f'{person}_{number + 1:03d}' for person, count in PEOPLE.items() for number in range(count)]


def write(src: Path, side: int = 250) -> Path:
    pictures = {f'{key.replace("_", "/")}.jpg': png(picture(seed, side, side)) for seed, key in enumerate(KEYS)}
    return written(src, pictures)


@pytest.mark.parametrize('dst', ['out', 'out.lmdb'])
def test_the_centre_with_identities(tmp_path: Path, dst: str) -> None:
    write(tmp_path / 'CASIA-WebFace')
    done = prepare_casia(tmp_path, tmp_path / dst)
    assert (done.images, done.identities, done.left_out) == (5, 3, 0)
    store = open_store(tmp_path / dst)
    assert list(store.keys) == KEYS
    assert store.identities is not None and store.identities.tolist() == [0, 0, 1, 2, 2]
    for seed, key in enumerate(KEYS):
        assert np.array_equal(store.image(key), picture(seed, 250, 250)[61:189, 61:189])


def test_reduced_and_aligned_faces(tmp_path: Path) -> None:
    src = write(tmp_path / 'casia-112x112', 112)
    prepare_casia(src, tmp_path / 'out', crop=112, size=56)
    assert np.abs(open_store(tmp_path / 'out').image(KEYS[0]) - reduced(picture(0, 112, 112), 56)).max() <= 0.51
    with pytest.raises(UserError, match='No image of casia is left: 5 too small'):
        prepare_casia(src, tmp_path / 'other')


def test_people_who_are_left_out(tmp_path: Path) -> None:
    src, without = write(tmp_path / 'src'), tmp_path / 'overlap.txt'
    without.write_text('0000045 Somebody Known\n\n1234567\n')
    done = prepare_casia(src, tmp_path / 'out', without=without)
    assert (done.images, done.identities, done.left_out) == (3, 2, 0)
    store = open_store(tmp_path / 'out')
    assert store.identities is not None and store.identities.tolist() == [0, 1, 1]
    origin = store.manifest.origin
    assert origin is not None and origin.protocol['people_left_out'] == 1
    for text, message in (
        ('Somebody', 'lists none of the people'),
        ('\n'.join(PEOPLE), 'lists all people'),
        ('\n', 'is empty'),
    ):
        without.write_text(text)
        with pytest.raises(UserError, match=message):
            prepare_casia(src, tmp_path / 'other', without=without)
    with pytest.raises(UserError, match='cannot be read'):
        prepare_casia(src, tmp_path / 'other', without=tmp_path / 'missing.txt')


def test_a_damaged_and_hostile_archive(tmp_path: Path) -> None:
    src = write(tmp_path / 'src')
    (src / '0000099' / '001.jpg').write_bytes(b'\xff\xd8broken')
    (src / '0000045' / '003.jpg').symlink_to('/etc/hostname')
    with tarfile.open(tmp_path / 'casia.tar', 'w') as archive:
        archive.add(src, 'CASIA-WebFace')
        archive.add(src / '0000045' / '001.jpg', '../../0000045/001.jpg')
    done = prepare_casia(tmp_path / 'casia.tar', tmp_path / 'd' / 'out')
    assert (done.images, done.identities) == (4, 2)
    assert done.skipped == {'corrupt': 1, 'duplicate': 1, 'link': 1}
    assert {path.name for path in tmp_path.iterdir()} == {'casia.tar', 'd', 'src'}


def test_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'src').mkdir()
    with pytest.raises(UserError, match='is not CASIA-WebFace'):
        prepare_casia(tmp_path / 'src', tmp_path / 'out')
    for wrong in ({'crop': 0}, {'crop': 64, 'size': 65}, {'size': -1}, {'size': 0}):
        with pytest.raises(UserError, match='do not fit'):
            prepare_casia(tmp_path / 'src', tmp_path / 'out', **wrong)


def test_on_the_command_line(tmp_path: Path) -> None:
    src, without = write(tmp_path / 'src'), tmp_path / 'overlap.txt'
    without.write_text('0000045')
    parser = argparse.ArgumentParser()
    PREPARERS['casia'].add_arguments(parser)
    command = [str(src), str(tmp_path / 'o.lmdb'), '--crop', '96', '--size', '32', '--without', str(without)]
    assert PREPARERS['casia'].run(parser.parse_args(command)).images == 3
    assert open_store(tmp_path / 'o.lmdb').image(KEYS[-1]).shape == (32, 32, 3)
