"""FFHQ, on small imitations of its layouts."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, reduced, written

from fsr_plugins.errors import UserError
from fsr_plugins.prepare import PREPARERS
from fsr_plugins.prepare.ffhq import prepare_ffhq
from fsr_plugins.stores.opening import open_store

KEYS = ['00000', '00001', '41999', '59999', '60000', '69999']


def face(key: str, side: int) -> np.ndarray:
    return picture(int(key), side, side)


def write(src: Path, folder: str, side: int, nested: bool = True) -> None:
    inside = {key: f'{folder}/{key[:2]}000/{key}.png' if nested else f'{folder}/{key}.png' for key in KEYS}
    written(src, {name: png(face(key, side)) for key, name in inside.items()})


@pytest.mark.parametrize(
    ('folder', 'side', 'nested', 'inside'),
    [
        ('images1024x1024', 256, True, False),
        ('images1024x1024', 256, True, True),
        ('images512x512', 160, False, True),
        ('thumbnails128x128', 128, True, False),
        ('thumbnails128x128', 128, True, True),
    ],
)
def test_layouts(tmp_path: Path, folder: str, side: int, nested: bool, inside: bool) -> None:
    write(tmp_path / 'ffhq', folder, side, nested)
    done = prepare_ffhq(tmp_path / 'ffhq' / (folder if inside else ''), tmp_path / 'out', size=64)
    assert (done.images, done.identities, done.left_out) == (6, 0, 0)
    store = open_store(tmp_path / 'out')
    assert list(store.keys) == KEYS
    for key in KEYS:
        assert np.abs(store.image(key) - reduced(face(key, side), 64)).max() <= 0.51


def test_of_several_sizes_the_largest(tmp_path: Path) -> None:
    for folder, side in (('images1024x1024', 96), ('thumbnails128x128', 64), ('in-the-wild-images', 80)):
        write(tmp_path / 'ffhq', folder, side)
    assert prepare_ffhq(tmp_path / 'ffhq', tmp_path / 'out', size=96).left_out == 0
    assert np.array_equal(open_store(tmp_path / 'out').image(KEYS[0]), face(KEYS[0], 96))
    write(tmp_path / 'wild', 'in-the-wild-images', 64)
    with pytest.raises(UserError, match='is not FFHQ'):
        prepare_ffhq(tmp_path / 'wild', tmp_path / 'other')


def test_splits_and_number(tmp_path: Path) -> None:
    write(tmp_path / 'src', 'thumbnails128x128', 32)
    for name, split, number, expected in (
        ('train', 'train', None, KEYS[:4]),
        ('val', 'val', None, KEYS[4:]),
        ('few', 'train', 2, KEYS[:2]),
    ):
        prepare_ffhq(tmp_path / 'src', tmp_path / name, size=32, split=split, number=number)
        assert list(open_store(tmp_path / name).keys) == expected
    with pytest.raises(UserError, match='has 4 images of the split train; 5 are asked for'):
        prepare_ffhq(tmp_path / 'src', tmp_path / 'more', size=32, split='train', number=5)
    for wrong in ({'size': 0}, {'number': 0}):
        with pytest.raises(UserError, match='do not fit'):
            prepare_ffhq(tmp_path / 'src', tmp_path / 'more', **wrong)


def test_what_is_left_out_of_a_hostile_zip(tmp_path: Path) -> None:
    files = {
        '00000/00000.png': png(picture(0, 64, 64)),
        '00000/00001.png': png(picture(1, 63, 64)),
        '00000/00002.png': b'\x89PNG broken',
        '../../00000.png': png(picture(4, 64, 64)),
    }
    done = prepare_ffhq(written(tmp_path / 'images.zip', files), tmp_path / 'd' / 'out.lmdb', size=64)
    assert (done.images, done.skipped) == (1, {'corrupt': 1, 'duplicate': 1, 'too small': 1})
    assert {path.name for path in tmp_path.iterdir()} == {'images.zip', 'd'}


def test_on_the_command_line(tmp_path: Path) -> None:
    write(tmp_path / 'src', 'thumbnails128x128', 32)
    parser = argparse.ArgumentParser()
    PREPARERS['ffhq'].add_arguments(parser)
    command = [str(tmp_path / 'src'), str(tmp_path / 'o'), '--size', '16', '--split', 'val', '--number', '1']
    assert PREPARERS['ffhq'].run(parser.parse_args(command)).images == 1
