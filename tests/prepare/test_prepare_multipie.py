"""Multi-PIE, on a small imitation of its names."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, reduced, written

from fsr_plugins.errors import UserError
from fsr_plugins.prepare import PREPARERS
from fsr_plugins.prepare.multipie import prepare_multipie
from fsr_plugins.stores.opening import open_store

KEYS = ['001_01_01_051_00', '001_01_01_051_07', '001_02_01_140_07', '346_04_02_051_07', '346_04_02_190_13']


def shown(key: str, shape: tuple[int, int]) -> np.ndarray:
    return picture(KEYS.index(key), *shape)


def write(src: Path, shape: tuple[int, int]) -> Path:
    """In the set's own folders."""
    files = {}
    for key in KEYS:
        person, session, recording, camera, _ = key.split('_')
        folder = f'session{session}/multiview/{person}/{recording}/{camera[:2]}_{camera[2]}'
        files[f'{folder}/{key}.png'] = png(shown(key, shape))
    return written(src, files)


def close(image: np.ndarray, whole: np.ndarray) -> bool:
    return bool(np.abs(image - reduced(whole, image.shape[0])).max() <= 0.51)


@pytest.mark.parametrize('dst', ['out', 'out.lmdb'])
def test_cropped_faces(tmp_path: Path, dst: str) -> None:
    done = prepare_multipie(write(tmp_path / 'src', (160, 160)), tmp_path / dst)
    assert (done.images, done.identities, done.left_out) == (5, 2, 0)
    store = open_store(tmp_path / dst)
    assert list(store.keys) == KEYS
    assert store.identities is not None and store.identities.tolist() == [0, 0, 0, 1, 1]
    assert all(close(store.image(key), shown(key, (160, 160))) for key in KEYS)


def test_cameras_and_lights(tmp_path: Path) -> None:
    src = write(tmp_path / 'src', (32, 32))
    for name, chosen, expected in (
        ('front', {'cameras': ['05_1']}, [KEYS[0], KEYS[1], KEYS[3]]),
        ('flash', {'cameras': ['051', '140'], 'illuminations': ['07']}, [KEYS[1], KEYS[2], KEYS[3]]),
    ):
        prepare_multipie(src, tmp_path / name, size=32, **chosen)
        assert list(open_store(tmp_path / name).keys) == expected
    with pytest.raises(UserError, match='nothing of cameras 240; there are 051, 140, 190'):
        prepare_multipie(src, tmp_path / 'none', cameras=['24_0'])
    with pytest.raises(UserError, match='nothing of illuminations 7; there are 00, 07, 13'):
        prepare_multipie(src, tmp_path / 'none', illuminations=['7'])
    with pytest.raises(UserError, match='there were none'):
        prepare_multipie(src, tmp_path / 'none', size=32, cameras=['190'], illuminations=['00'])


def test_boxes_of_a_face_of_a_recording_and_of_a_camera(tmp_path: Path) -> None:
    shape = (240, 320)
    src, boxes = write(tmp_path / 'src', shape), tmp_path / 'boxes.csv'
    boxes.write_text('image,x0,y0,x1,y1\n051,100,60,230,190\n001_01_01_051,90,50,220,180\n001_01_01_051_07,0,0,64,64\n')
    done = prepare_multipie(src, tmp_path / 'out', size=64, boxes=boxes)
    assert (done.images, done.skipped) == (3, {'no box': 2})
    store = open_store(tmp_path / 'out')
    assert close(store.image(KEYS[0]), shown(KEYS[0], shape)[50:180, 90:220])
    assert np.array_equal(store.image(KEYS[1]), shown(KEYS[1], shape)[:64, :64])
    assert close(store.image(KEYS[3]), shown(KEYS[3], shape)[60:190, 100:230])
    prepare_multipie(src, tmp_path / 'wider', size=64, boxes=boxes, margin=0.1)
    whole = np.pad(shown(KEYS[1], shape), ((6, 0), (6, 0), (0, 0)), mode='edge')
    assert close(open_store(tmp_path / 'wider').image(KEYS[1]), whole[:77, :77])
    for text in ('image,x0\n051,1\n', 'image,x0,y0,x1,y1\n051,a,0,1,1\n', 'image,x0,y0,x1,y1\n051,1\n'):
        boxes.write_text(text)
        with pytest.raises(UserError, match='need the columns image, x0, y0, x1, y1'):
            prepare_multipie(src, tmp_path / 'none', boxes=boxes)
    with pytest.raises(UserError, match='cannot be read'):
        prepare_multipie(src, tmp_path / 'none', boxes=tmp_path / 'missing.csv')


def test_what_is_not_cropped_is_said(tmp_path: Path) -> None:
    src = write(tmp_path / 'src', (48, 64))
    with pytest.raises(UserError, match='No image of multipie is left: 5 not cropped.*64x48; boxes'):
        prepare_multipie(src, tmp_path / 'out')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='is not Multi-PIE'):
        prepare_multipie(tmp_path / 'empty', tmp_path / 'out')
    for wrong in ({'size': 0}, {'margin': 5}):
        with pytest.raises(UserError, match='do not fit'):
            prepare_multipie(src, tmp_path / 'out', **wrong)


def test_damaged_and_hostile(tmp_path: Path) -> None:
    files = {
        f'{KEYS[0]}.png': png(picture(0, 64, 64)),
        f'{KEYS[1]}.png': b'\x89PNG broken',
        f'{KEYS[2]}.png': png(picture(2, 63, 63)),
        f'../../{KEYS[0]}.png': png(picture(3, 64, 64)),
    }
    done = prepare_multipie(written(tmp_path / 'faces.zip', files), tmp_path / 'd' / 'out', size=64)
    assert (done.images, done.skipped) == (1, {'corrupt': 1, 'duplicate': 1, 'too small': 1})
    assert {path.name for path in tmp_path.iterdir()} == {'faces.zip', 'd'}


def test_on_the_command_line(tmp_path: Path) -> None:
    src, boxes = write(tmp_path / 'src', (48, 64)), tmp_path / 'boxes.csv'
    boxes.write_text('image,x0,y0,x1,y1\n051,8,8,40,40\n')
    parser = argparse.ArgumentParser()
    PREPARERS['multipie'].add_arguments(parser)
    command = [str(src), str(tmp_path / 'o.lmdb'), '--size', '16', '--cameras', '05_1', '--illuminations', '07', '00']
    args = parser.parse_args([*command, '--boxes', str(boxes), '--margin', '0.1'])
    assert PREPARERS['multipie'].run(args).images == 3
