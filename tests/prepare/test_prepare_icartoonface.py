"""``fsr prepare icartoonface``, on a few pictures laid out as the recognition set."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, reduced, report, written

from fsr_plugins.errors import UserError
from fsr_plugins.prepare import PREPARERS
from fsr_plugins.prepare.icartoonface import prepare_icartoonface
from fsr_plugins.stores.opening import open_store

TOP = 'personai_icartoonface_rectrain/icartoonface_rectrain'
PEOPLE = [f'personai_icartoonface_rectrain_{number:05d}' for number in range(20)]
#: Of each character two pictures, by the name below the top folder.
PICTURES = {
    f'{person}/{person}_{number:07d}': picture(7 * place + number, 150 + number, 141 + place)
    for place, person in enumerate(PEOPLE)
    for number in range(2)
}
TEST_TOP = 'personai_icartoonface_rectest/icartoonface_rectest'


def rectrain() -> dict[str, bytes]:
    boxes = [f'{name}.jpg\t20\t30\t120\t110' for name in PICTURES]
    files = {f'{TOP}/{name}.jpg': png(image) for name, image in PICTURES.items()}
    return files | {'personai_icartoonface_rectrain/icartoonface_rectrain_det.txt': '\n'.join(boxes).encode()}


@pytest.fixture(scope='module')
def src(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('set')
    written(folder / 'personai_icartoonface_rectrain.zip', rectrain())
    test = {f'{TEST_TOP}/personai_icartoonface_rectest_{number:07d}.jpg': png(picture(number, 140, 200))
            for number in range(3)}  # fmt: skip
    written(folder / 'personai_icartoonface_rectest.zip', test)
    lines = [f'personai_icartoonface_rectest_{number:07d}.jpg 50 10 100 110 {number - 1}' for number in range(2)]
    pair = 'personai_icartoonface_rectest_0000000.jpg personai_icartoonface_rectest_0000001.jpg'
    (folder / 'icartoonface_rectest_info.txt').write_text('\n'.join([*lines, pair, '']))
    return folder


def test_train_and_test_have_no_character_in_common(src: Path, tmp_path: Path) -> None:
    keys = {}
    for split in ('train', 'test'):
        done = prepare_icartoonface(src, tmp_path / split, split=split, held_out=0.3)
        store = open_store(tmp_path / split)
        keys[split] = list(store.keys)
        assert done.identities == done.images / 2 and store.identities is not None
        assert store.identities.tolist() == [place // 2 for place in range(done.images)]
        origin = store.manifest.origin
        assert origin is not None and (origin.protocol['held_out'], origin.protocol['seed']) == (0.3, 0)
    assert sorted(keys['train'] + keys['test']) == [f'rectrain_{p:05d}_{n:07d}' for p in range(20) for n in range(2)]
    assert 2 <= len(keys['test']) <= 24
    for key in keys['test']:
        name = f'personai_icartoonface_{key[:14]}/personai_icartoonface_{key}'
        height, width = PICTURES[name].shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        cut = PICTURES[name][top : top + side, left : left + side]
        assert np.abs(open_store(tmp_path / 'test').image(key) - reduced(cut, 128)).max() <= 0.51


def test_who_is_held_out_does_not_depend_on_who_else_is_there(src: Path, tmp_path: Path) -> None:
    prepare_icartoonface(src, tmp_path / 'all', split='test', held_out=0.3)
    some = {name: data for name, data in rectrain().items() if '_0001' in name.partition('rectrain/')[2]}
    prepare_icartoonface(written(tmp_path / 'some.zip', some), tmp_path / 'out', split='test', held_out=0.3)
    everybody = [key for key in open_store(tmp_path / 'all').keys if key.startswith('rectrain_0001')]
    assert list(open_store(tmp_path / 'out').keys) == everybody
    prepare_icartoonface(src, tmp_path / 'other', split='test', held_out=0.3, seed=1)
    assert list(open_store(tmp_path / 'other').keys) != list(open_store(tmp_path / 'all').keys)


def test_squares_round_boxes(src: Path, tmp_path: Path) -> None:
    prepare_icartoonface(src, tmp_path / 'out', crop='box', margin=0.05, size=64)
    # The side is 100 * 1.1 = 110, the centre (70, 70).
    key = open_store(tmp_path / 'out').keys[-1]
    image = PICTURES[f'personai_icartoonface_{key[:14]}/personai_icartoonface_{key}']
    expected = reduced(image[15:125, 15:125], 64)
    assert np.abs(open_store(tmp_path / 'out').image(key) - expected).max() <= 0.51


def test_the_official_test_set(src: Path, tmp_path: Path) -> None:
    done = prepare_icartoonface(src, tmp_path / 'out', split='rectest')
    store = open_store(tmp_path / 'out')
    assert (done.images, store.identities) == (3, None)
    assert store.keys[0] == 'rectest_0000000'
    assert np.abs(store.image(store.keys[0]) - reduced(picture(0, 140, 200)[:, 30:170], 128)).max() <= 0.51
    done = prepare_icartoonface(src, tmp_path / 'boxes', split='rectest', crop='box', size=32, margin=0)
    assert (done.images, done.skipped) == (2, {'no box': 1})
    assert np.abs(open_store(tmp_path / 'boxes').image('rectest_0000001')
                  - reduced(picture(1, 140, 200)[10:110, 25:125], 32)).max() <= 0.51  # fmt: skip


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    more = {
        f'{TOP}/a.b/1.png': png(picture(0, 128, 300)),
        f'{TOP}/a.b/2.jpg': png(picture(0, 127, 300)),
        f'{TOP}/a.b/3.jpg': b'broken',
        f'copy/{TOP}/a.b/1.png': png(picture(0, 128, 300)),
        f'../../{TOP}/../evil/4.jpg': b'x',
    }
    done = prepare_icartoonface(written(tmp_path / 'set.zip', more), tmp_path / 'd' / 'out', held_out=1e-9)
    assert (done.images, done.skipped) == (1, {'corrupt': 1, 'duplicate': 1, 'too small': 1})
    assert list(open_store(tmp_path / 'd' / 'out').keys) == ['a_b_1']
    assert {path.name for path in tmp_path.iterdir()} == {'set.zip', 'd'}
    assert 'x127' in str([entry['detail'] for entry in report(tmp_path / 'd' / 'out')['images']])


def test_what_is_not_the_set_is_refused(src: Path, tmp_path: Path) -> None:
    other = written(tmp_path / 'other.zip', {'icartoonface_dettrain/1.jpg': png(picture(0, 9, 9))})
    for split in ('train', 'rectest'):
        with pytest.raises(UserError, match="is not iCartoonFace's recognition"):
            prepare_icartoonface(other, tmp_path / 'out', split=split)
    with pytest.raises(UserError, match='None of the 20 characters'):
        prepare_icartoonface(src, tmp_path / 'out', split='test', held_out=1e-9)
    files = {name: data for name, data in rectrain().items() if '_00000/' in name}
    with pytest.raises(UserError, match='has no list of boxes'):
        prepare_icartoonface(written(tmp_path / 'a.zip', files), tmp_path / 'out', crop='box')
    for lines, message in (('x.jpg 1 2 3 four', 'four whole numbers'), ('x.jpg 1 2 3 999999', 'in no picture')):
        files['icartoonface_rectrain_det.txt'] = lines.encode()
        with pytest.raises(UserError, match=message):
            prepare_icartoonface(written(tmp_path / 'b.zip', files), tmp_path / 'out', crop='box')


def test_on_the_command_line(src: Path, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    PREPARERS['icartoonface'].add_arguments(parser)
    command = [str(src), str(tmp_path / 'o.lmdb'), '--split', 'test', '--held-out', '0.3', '--seed', '1']
    done = PREPARERS['icartoonface'].run(parser.parse_args([*command, '--size', '32']))
    assert open_store(tmp_path / 'o.lmdb').image(open_store(tmp_path / 'o.lmdb').keys[0]).shape == (32, 32, 3)
    assert done.images >= 2
    with pytest.raises(UserError, match='0 < held-out < 1'):
        PREPARERS['icartoonface'].run(parser.parse_args([str(src), str(tmp_path / 'p'), '--held-out', '1']))
