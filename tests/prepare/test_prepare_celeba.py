"""CelebA, on a small imitation of its archive and its lists."""

from __future__ import annotations

import argparse
import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, reduced, report, written

from fsr_plugins.errors import UserError
from fsr_plugins.prepare import PREPARERS
from fsr_plugins.prepare.celeba import prepare_celeba
from fsr_plugins.stores.opening import open_store

KEYS = [f'{number:06d}' for number in range(1, 7)]
SPLIT = dict(zip(KEYS, [0, 0, 0, 1, 2, 2], strict=True))
PERSON = dict(zip(KEYS, [2880, 7, 7, 31, 4, 2880], strict=True))
#: As CelebA's own lists begin: the image-left eye first.
POINTS = [69, 109, 106, 113, 77, 142, 73, 152, 108, 154]
WILD_SHAPE = (420, 409)
WILD = [165, 184, 244, 176, 196, 249, 194, 271, 266, 260]


def lines(rows: dict[str, list[int]], head: str = '') -> str:
    top = f'{len(rows)}\r\n{head} \r\n' if head else ''
    return top + ''.join(f'{key}.jpg  {"  ".join(map(str, row))}\r\n' for key, row in rows.items())


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """The folder with the downloaded zip, the unpacked images in the wild and the lists."""
    src = tmp_path / 'CelebA'
    aligned = {f'img_align_celeba/{key}.jpg': png(picture(int(key), 218, 178)) for key in KEYS}
    written(src / 'img_align_celeba.zip', aligned)
    written(src, {f'img_celeba/{key}.jpg': png(picture(int(key), *WILD_SHAPE)) for key in KEYS})
    points = 'lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y'
    texts = {
        'Eval/list_eval_partition.txt': lines({key: [SPLIT[key]] for key in KEYS}),
        'Anno/identity_CelebA.txt': lines({key: [PERSON[key]] for key in KEYS}),
        'Anno/list_landmarks_align_celeba.txt': lines(dict.fromkeys(KEYS, POINTS), points),
        'Anno/list_landmarks_celeba.txt': lines(dict.fromkeys(KEYS, WILD), points),
        'Anno/list_bbox_celeba.txt': lines(dict.fromkeys(KEYS, [95, 71, 226, 313]), 'image_id x_1 y_1 width height'),
    }
    return written(src, {name: text.encode() for name, text in texts.items()})


def close(image: np.ndarray, whole: np.ndarray) -> bool:
    return bool(np.abs(image - reduced(whole, image.shape[0])).max() <= 0.51)


@pytest.mark.parametrize('dst', ['out', 'out.lmdb'])
def test_the_centre_of_the_aligned_images(celeba: Path, tmp_path: Path, dst: str) -> None:
    done = prepare_celeba(celeba, tmp_path / dst, split='train')
    assert (done.images, done.identities, done.left_out) == (3, 2, 0)
    store = open_store(tmp_path / dst)
    assert list(store.keys) == KEYS[:3]
    assert store.identities is not None and store.identities.tolist() == [2880, 7, 7]
    for key in store.keys:
        assert close(store.image(key), picture(int(key), 218, 178)[20:198])
    expected = [(np.array([x, y - 20]) + 0.5) * 128 / 178 - 0.5 for x, y in zip(POINTS[::2], POINTS[1::2], strict=True)]
    np.testing.assert_allclose(store.landmarks[0], expected, rtol=1e-5)
    left, right = store.landmarks[0, [0, 3]], store.landmarks[0, [1, 4]]
    assert (left[:, 0] < right[:, 0]).all()
    origin = store.manifest.origin
    assert origin is not None and origin.protocol == {'split': 'train', 'crop': 'isrkd', 'size': 128}


def test_the_plain_centre(celeba: Path, tmp_path: Path) -> None:
    done = prepare_celeba(celeba, tmp_path / 'out', split='test', crop='centre128')
    assert done.images == 2
    store = open_store(tmp_path / 'out')
    assert np.array_equal(store.image('000005'), picture(5, 218, 178)[45:173, 25:153])
    np.testing.assert_allclose(store.landmarks[0, 0], [69 - 25, 109 - 45])


def test_around_the_face_in_the_wild(celeba: Path, tmp_path: Path) -> None:
    done = prepare_celeba(celeba, tmp_path / 'out', split='val', crop='pkdn')
    assert (done.images, done.identities) == (1, 1)
    # The points lie in columns 165 to 266 and rows 176 to 271: 101 * 2.6 is 263, and 263 around the centre 216, 224
    # begins at 84.5 and 92.5, which Python rounds to even numbers.
    left, top = 84, 92
    store = open_store(tmp_path / 'out')
    assert close(store.image('000004'), picture(4, *WILD_SHAPE)[top : top + 263, left : left + 263])
    moved = (np.array([165 - left, 184 - top]) + 0.5) * 128 / 263 - 0.5
    np.testing.assert_allclose(store.landmarks[0, 0], moved, rtol=1e-5)
    origin = store.manifest.origin
    assert origin is not None and 'deviation' in origin.protocol and origin.protocol['margin'] == 0.8


def test_around_the_annotated_box_beyond_the_border(celeba: Path, tmp_path: Path) -> None:
    prepare_celeba(celeba, tmp_path / 'out', crop='pkdn', box='annotated', margin=0.1, size=64)
    # 226x313 at 95, 71: centre 208, 227.5 and side 375.6; the square begins at 20, 40 and ends at 396, 416.
    whole = np.pad(picture(1, *WILD_SHAPE), ((100, 100), (100, 100), (0, 0)), mode='edge')
    assert close(open_store(tmp_path / 'out').image('000001'), whole[140:516, 120:496])


def test_faces_that_are_too_small(celeba: Path, tmp_path: Path) -> None:
    table = celeba / 'Anno' / 'list_landmarks_celeba.txt'
    text = table.read_text().replace('165  184', '225  236', 1).replace('196  249', '230  249', 1)
    table.write_text(text.replace('194  271', '240  271', 1).replace('244  176', '244  240', 1))
    done = prepare_celeba(celeba, tmp_path / 'out', crop='pkdn')
    assert (done.images, done.skipped) == (5, {'too small': 1})
    # 41 columns apart: 41 * 2.6.
    assert 'has 107 pixels, 128 are needed' in report(tmp_path / 'out')['images'][0]['detail']


def test_points_that_are_no_box(celeba: Path, tmp_path: Path) -> None:
    table = celeba / 'Anno' / 'list_bbox_celeba.txt'
    table.write_text(table.read_text().replace('95  71  226  313', '0  0  0  0', 1))
    table.write_text(table.read_text().replace('95  71  226  313', '0  0  999999  999999', 1))
    table.write_text(table.read_text().replace('95  71  226  313', '9000  9000  200  200', 1))
    done = prepare_celeba(celeba, tmp_path / 'out', crop='pkdn', box='annotated')
    assert (done.images, done.skipped) == (3, {'bad box': 3})


def test_lists_elsewhere_and_the_unpacked_folder_itself(celeba: Path, tmp_path: Path) -> None:
    images = written(tmp_path / 'unpacked', {f'{key}.png': png(picture(int(key), 218, 178)) for key in KEYS[:2]})
    done = prepare_celeba(images, tmp_path / 'out', split='train', annotations=celeba / 'Anno' / '..')
    assert (done.images, done.skipped) == (2, {'listed, not there': 1})
    assert report(tmp_path / 'out')['images'][0]['name'] == '000003'
    with pytest.raises(UserError, match=r'no list_eval_partition.txt, the official partition.*--annotations'):
        prepare_celeba(images, tmp_path / 'other', split='train')


def test_without_identities_and_points(celeba: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        done = prepare_celeba(celeba / 'img_align_celeba.zip', tmp_path / 'out', size=64)
    assert (done.images, done.identities) == (6, 0)
    assert 'no identity_CelebA.txt' in caplog.text and 'no list_landmarks_align_celeba.txt' in caplog.text
    store = open_store(tmp_path / 'out')
    assert store.landmarks is None and store.identities is None and store.image(KEYS[0]).shape == (64, 64, 3)


def test_images_that_lists_do_not_know(celeba: Path, tmp_path: Path) -> None:
    for name in ('Anno/identity_CelebA.txt', 'Eval/list_eval_partition.txt'):
        rows = (celeba / name).read_text().splitlines(keepends=True)
        (celeba / name).write_text(''.join(rows[1:] if 'identity' in name else rows[:-1]))
    assert prepare_celeba(celeba, tmp_path / 'out', split='train').skipped == {'no split': 1, 'not listed': 1}


@pytest.mark.parametrize(
    'line', ['000001.jpg', '000001.jpg 1 2', '../../x.jpg 0', '000001.jpg nan', '6', '000001.jpg ' + 9 * '9']
)
def test_a_damaged_list_is_refused(celeba: Path, tmp_path: Path, line: str) -> None:
    with (celeba / 'Eval' / 'list_eval_partition.txt').open('a') as file:
        file.write(line + '\n')
    with pytest.raises(UserError, match='line 7, is not'):
        prepare_celeba(celeba, tmp_path / 'out', split='train')


def test_damaged_and_hostile_images(celeba: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(celeba / 'img_align_celeba.zip', 'a') as archive:
        archive.writestr('img_align_celeba/000007.jpg', b'\xff\xd8broken')
        archive.writestr('img_align_celeba/000008.jpg', png(picture(8, 178, 218)))
        archive.writestr('../img_align_celeba/000001.jpg', png(picture(1, 218, 178)))
        archive.writestr('../../evil/000009.jpg', png(picture(9, 218, 178)))
    (celeba / 'Anno' / 'identity_CelebA.txt').unlink()
    (celeba / 'Anno' / 'list_landmarks_align_celeba.txt').unlink()
    done = prepare_celeba(celeba, tmp_path / 'd' / 'out')
    assert (done.images, done.skipped) == (6, {'corrupt': 2, 'duplicate': 1})
    assert {path.name for path in tmp_path.iterdir()} == {'CelebA', 'd'}


def test_what_is_refused(celeba: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='is not CelebA: img_celeba/000001.jpg was looked for'):
        prepare_celeba(celeba / 'img_align_celeba.zip', tmp_path / 'out', crop='pkdn')
    with pytest.raises(UserError, match=r'7z|kind that is not read'):
        (tmp_path / 'img_celeba.7z.001').write_bytes(b'7z')
        prepare_celeba(tmp_path / 'img_celeba.7z.001', tmp_path / 'out')
    for wrong in ({'size': 0}, {'size': 179}, {'crop': 'centre128', 'size': 129}, {'margin': -0.5}, {'margin': 9}):
        with pytest.raises(UserError, match='does not fit'):
            prepare_celeba(celeba, tmp_path / 'out', **wrong)
    assert not (tmp_path / 'out').exists()


def test_on_the_command_line(celeba: Path, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    PREPARERS['celeba'].add_arguments(parser)
    command = [str(celeba), str(tmp_path / 'o.lmdb'), '--split', 'val', '--crop', 'centre128', '--size', '32']
    assert PREPARERS['celeba'].run(parser.parse_args(command)).images == 1
    assert 'img_celeba.7z' in PREPARERS['celeba'].help()
