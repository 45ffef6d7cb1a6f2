"""``fsr prepare widerface``, on two photographs laid out as the official archives."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, reduced, report, written

from fsr_plugins.errors import UserError
from fsr_plugins.prepare import PREPARERS
from fsr_plugins.prepare.widerface import prepare_widerface
from fsr_plugins.prepare.widerface_annotations import FaceFilter, read_annotations
from fsr_plugins.stores.opening import open_store

PARADE, NOBODY, MEETING = '0--Parade/0_Parade_a_0_1.jpg', '0--Parade/0_Parade_b_0_2.jpg', '11--Meeting/11_M.e_3.jpg'
#: As in the official file: x y w h blur expression illumination invalid occlusion pose. Its blanks at the end are
#: added where it is written.
LINES = f"""{PARADE}
7
30 20 20 25 0 0 0 0 0 0
70 40 10 10 2 0 0 0 0 0
90 10 9 9 2 0 0 0 0 0
10 60 20 20 1 0 0 1 0 0
10 60 20 20 1 0 0 0 2 0
10 60 20 20 1 0 0 0 0 1
1 2 0 30 1 0 0 0 0 0
{NOBODY}
0
0 0 0 0 0 0 0 0 0 0
{MEETING}
2
100 60 30 20 1 0 0 0 0 0
5 5 60 60 0 0 0 0 0 0
"""
PHOTOGRAPHS = {PARADE: picture(1, 100, 120), NOBODY: picture(2, 50, 50), MEETING: picture(3, 90, 120)}
KEYS = ['0_Parade_a_0_1_0001', '0_Parade_a_0_1_0002', '11_M_e_3_0001']


def files(split: str = 'train') -> tuple[dict[str, bytes], dict[str, bytes]]:
    photographs = {f'WIDER_{split}/images/{name}': png(image) for name, image in PHOTOGRAPHS.items()}
    return photographs, {f'wider_face_split/wider_face_{split}_bbx_gt.txt': LINES.replace(' 0\n', ' 0 \n').encode()}


@pytest.fixture
def wider(tmp_path: Path) -> Path:
    photographs, lists = files()
    written(tmp_path / 'src' / 'WIDER_train.zip', photographs)
    written(tmp_path / 'src' / 'wider_face_split.zip', lists)
    return tmp_path / 'src'


def test_squares_round_boxes_are_reduced(wider: Path, tmp_path: Path) -> None:
    done = prepare_widerface(wider, tmp_path / 'out')
    assert (done.images, done.identities, done.skipped) == (3, 0, {'invalid': 1})
    store = open_store(tmp_path / 'out')
    assert list(store.keys) == KEYS and store.landmarks is None
    # A box of 20x25 at (30, 20): the square of 25 * 1.6 = 40 round (40, 32.5).
    first = reduced(PHOTOGRAPHS[PARADE][12:52, 20:60], 16)
    assert np.abs(store.image(KEYS[0]) - first).max() <= 0.51
    # 10 * 1.6 = 16: not reduced.
    assert np.array_equal(store.image(KEYS[1]), PHOTOGRAPHS[PARADE][37:53, 67:83])
    # 30 * 1.6 = 48 round (115, 70): 91 to 139 of 120 columns, 46 to 94 of 90 rows, the border repeated.
    last = np.pad(PHOTOGRAPHS[MEETING][46:, 91:], ((0, 4), (0, 19), (0, 0)), 'edge')
    assert np.abs(store.image(KEYS[2]) - reduced(last, 16)).max() <= 0.51
    assert store.manifest.origin is not None and store.manifest.origin.protocol['margin'] == 0.3


def test_faces_are_chosen_by_size_and_judgement(wider: Path, tmp_path: Path) -> None:
    def keys(name: str, **wanted: object) -> list[str]:
        prepare_widerface(wider, tmp_path / name, face_filter=FaceFilter(**wanted))  # type: ignore[arg-type]
        return [key[-6:] for key in open_store(tmp_path / name).keys]

    assert keys('large', min_size=30, max_size=60) == ['3_0001', '3_0002']
    assert keys('blurred', blur=(2,)) == ['1_0002']
    assert keys('hidden', occlusion=(2,)) == ['1_0005'] and keys('turned', pose=(1,)) == ['1_0006']
    # Boxes of 9 are asked for and give squares of 14: said. One without width is never a face.
    assert keys('tiny', min_size=1, blur=(2,)) == ['1_0002']
    assert report(tmp_path / 'tiny')['images'][0]['detail'] == 'face 3 gives a square of 14'


def test_a_number_of_faces_is_drawn_by_a_seed(wider: Path, tmp_path: Path) -> None:
    drawn = set()
    for seed in range(8):
        prepare_widerface(wider, tmp_path / str(seed), number=2, seed=seed)
        drawn.add(tuple(open_store(tmp_path / str(seed)).keys))
    assert drawn == {(KEYS[0], KEYS[1]), (KEYS[0], KEYS[2]), (KEYS[1], KEYS[2])}
    with pytest.raises(UserError, match='There are 3 such faces, not 4'):
        prepare_widerface(wider, tmp_path / 'none', number=4)


def test_what_is_damaged_or_missing_is_said(tmp_path: Path) -> None:
    photographs, lists = files('val')
    del photographs[f'WIDER_val/images/{MEETING}']
    photographs[f'WIDER_val/images/{PARADE}'] = b'\xff\xd8broken'
    # A box beyond the photograph.
    lists = {name: text.replace(b'\n0\n0 0 0 0 ', b'\n1\n400 0 20 20 ') for name, text in lists.items()}
    src = written(tmp_path / 'src', photographs | lists)
    with pytest.raises(
        UserError, match='No image of widerface is left: 1 bad box, 1 corrupt, 1 invalid, 1 listed, not there'
    ):
        prepare_widerface(src, tmp_path / 'out', split='val')
    with pytest.raises(UserError, match='is not the train part of WIDER FACE'):
        prepare_widerface(src, tmp_path / 'out')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a/b.jpg\nmany\n', "there is 'many'"),
        ('a/b.jpg\n', "there is ''"),
        ('a/b.jpg\n3\n1 2 3 4 0 0 0 0 0 0\n', "'' is no face"),
        ('a/b.jpg\n1\n1 2 3 4\n', 'ten whole numbers'),
        ('a/b.jpg\n99999999999\n1 2 3 4 0 0 0 0 0 0\n', 'ten whole numbers'),
        ('a/b.jpg\n1\n1 2 3 ' + '4' * 400 + ' 0 0 0 0 0 0\n', 'beyond any photograph'),
    ],
)
def test_annotations_of_another_form_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_annotations(text.splitlines())


def test_a_hostile_name_leads_nowhere(tmp_path: Path) -> None:
    photographs, lists = files()
    lists = {name: text + b'../../etc/passwd\n1\n1 1 20 20 0 0 0 0 0 0\n' for name, text in lists.items()}
    done = prepare_widerface(written(tmp_path / 'src', photographs | lists), tmp_path / 'd' / 'out')
    assert done.images == 3 and done.skipped['listed, not there'] == 1
    assert {path.name for path in tmp_path.iterdir()} == {'src', 'd'}


def test_on_the_command_line(wider: Path, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    PREPARERS['widerface'].add_arguments(parser)
    command = [str(wider), str(tmp_path / 'o.lmdb'), '--size', '8', '--margin', '0', '--occlusion', '0', '2']
    assert PREPARERS['widerface'].run(parser.parse_args(command)).images == 4
    assert open_store(tmp_path / 'o.lmdb').image(KEYS[0]).shape == (8, 8, 3)
    for more, message in (
        (['--min-size', '40'], '0 < min <= max'),
        (['--size', '64'], 'give no square of 64'),
        (['--margin', '-1'], 'do not fit'),
    ):
        with pytest.raises(UserError, match=message):
            PREPARERS['widerface'].run(parser.parse_args([str(wider), str(tmp_path / 'none'), *more]))
