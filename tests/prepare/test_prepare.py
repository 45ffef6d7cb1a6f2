"""Preparers, on a small imitation of LFW and a few built-in faces."""

from __future__ import annotations

import argparse
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.utils.matlab_functions import imresize

from fsr_plugins.degradations import NeutralCamera
from fsr_plugins.errors import UserError
from fsr_plugins.prepare import PREPARERS
from fsr_plugins.prepare.camera import image_seed, prepare_camera
from fsr_plugins.prepare.lfw import prepare_lfw
from fsr_plugins.prepare.portraits import prepare_portraits
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.records import Face

PEOPLE = {'Ada_Lovelace': 2, 'Alan_Turing': 1, 'Emmy_Noether': 3, 'Kurt_Goedel': 1}
KEYS = [f'{person}_{number + 1:04d}' for person, count in PEOPLE.items() for number in range(count)]


def jpeg(seed: int, side: int = 250) -> bytes:
    image = cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8), (7, 7), 0)
    return cv2.imencode('.jpg', image)[1].tobytes()


@pytest.fixture
def lfw(tmp_path: Path) -> Path:
    """A folder as the official archive unpacks to, with a stray file."""
    for seed, key in enumerate(KEYS):
        file = tmp_path / 'src' / 'lfw' / key.rpartition('_')[0] / f'{key}.jpg'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(seed))
    (tmp_path / 'src' / 'lfw' / 'readme.jpg').write_bytes(b'not a face')
    return tmp_path / 'src'


def zipped(folder: Path, extra: dict[str, bytes] | None = None) -> Path:
    path = folder.parent / 'lfw.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        for file in sorted(folder.rglob('*.jpg')):
            archive.write(file, file.relative_to(folder).as_posix())
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize('from_zip', [False, True])
@pytest.mark.parametrize('dst', ['out', 'out.lmdb'])
def test_lfw_is_cut_at_61(lfw: Path, tmp_path: Path, from_zip: bool, dst: str) -> None:
    done = prepare_lfw(zipped(lfw) if from_zip else lfw, tmp_path / dst)
    assert (done.images, done.identities, done.left_out) == (7, 4, 0)
    store = open_store(tmp_path / dst)
    assert list(store.keys) == sorted(KEYS) and store.identities.tolist() == [0, 0, 1, 2, 2, 2, 3]
    for key in KEYS:
        path = lfw / 'lfw' / key.rpartition('_')[0] / f'{key}.jpg'
        assert np.array_equal(store.image(key), cv2.imread(str(path))[61:189, 61:189, ::-1])


def test_lfw_reduced_with_points_and_maps(lfw: Path, tmp_path: Path) -> None:
    table, maps = tmp_path / 'points.csv', tmp_path / 'maps' / 'any'
    names = ('left_eye', 'right_eye', 'nose', 'mouth_left', 'mouth_right')
    columns = [f'{name}_{axis}' for name in names for axis in 'xy']
    rows = [','.join(['image', 'score', *columns])]
    for key in KEYS[:-1]:
        rows.append(','.join([f'{key.rpartition("_")[0]}/{key}.jpg', '1', *(str(100 + i) for i in range(10))]))
        labels = np.zeros((250, 250), np.uint8)
        labels[62:66, 70:74] = 4
        (maps / key).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(maps / f'{key}.png'), labels)
    table.write_text('\n'.join(rows))
    done = prepare_lfw(lfw, tmp_path / 'out.lmdb', size=64, landmarks=table, parsing=maps.parent)
    assert (done.images, done.left_out) == (6, 1)
    store = open_store(tmp_path / 'out.lmdb')
    # A pixel's centre at 100 of 250 is 39 of the crop; of two pixels made one, the centre lies between.
    np.testing.assert_allclose(store.landmarks[0, 0], [(39 + 0.5) / 2 - 0.5, (40 + 0.5) / 2 - 0.5])
    ys, xs = np.nonzero(store.parsing(KEYS[0]) == 4)
    assert (xs.min(), xs.max(), len(xs)) == (4, 6, 6) or (xs.min(), xs.max(), len(xs)) == (4, 5, 4)
    assert ys.max() <= 2
    cut = cv2.imread(str(lfw / 'lfw' / 'Ada_Lovelace' / f'{KEYS[0]}.jpg'))[61:189, 61:189, ::-1]
    expected = np.clip(imresize(cut.astype(np.float32) / 255, 0.5), 0, 1) * 255
    assert np.abs(store.image(KEYS[0]).astype(float) - expected).max() <= 0.51


def test_landmarks_of_a_spreadsheet_are_read_and_a_field_without_end_is_a_message(lfw: Path, tmp_path: Path) -> None:
    table = tmp_path / 'points.csv'
    names = ('left_eye', 'right_eye', 'nose', 'mouth_left', 'mouth_right')
    head = ','.join(['image', *(f'{name}_{axis}' for name in names for axis in 'xy')])
    row = ','.join([f'{KEYS[0]}.jpg', *(str(100 + i) for i in range(10))])
    table.write_text(f'{head}\n{row}\n', encoding='utf-8-sig')
    assert prepare_lfw(lfw, tmp_path / 'out', landmarks=table).images == 1
    table.write_text(f'{head}\n{"a" * 200_000},1\n')
    with pytest.raises(UserError, match='need numbers in the columns image, left_eye_x'):
        prepare_lfw(lfw, tmp_path / 'other', landmarks=table)


def test_lfw_people_are_chosen(lfw: Path, tmp_path: Path) -> None:
    listed = tmp_path / 'people.txt'
    listed.write_text('Emmy_Noether\nKurt_Goedel\n')
    assert prepare_lfw(lfw, tmp_path / 'listed', people=listed).images == 4
    listed.write_text('2\nEmmy_Noether\t3\nKurt_Goedel\t1\n')  # as peopleDevTest.txt
    assert prepare_lfw(lfw, tmp_path / 'as_published', people=listed).images == 4
    halves = []
    for place, fraction in enumerate([(0.0, 0.5), (0.5, 1.0)]):
        prepare_lfw(lfw, tmp_path / f'half{place}', fraction=fraction)
        halves.append({key.rpartition('_')[0] for key in open_store(tmp_path / f'half{place}').keys})
    assert not halves[0] & halves[1] and halves[0] | halves[1] == set(PEOPLE)
    listed.write_text('Nobody')
    with pytest.raises(UserError, match="lists 'Nobody'"):
        prepare_lfw(lfw, tmp_path / 'none', people=listed)
    with pytest.raises(UserError, match='ascending'):
        prepare_lfw(lfw, tmp_path / 'none', fraction=(0.5, 0.2))
    with pytest.raises(UserError, match='crop'):
        prepare_lfw(lfw, tmp_path / 'none', crop=300)


def test_lfw_from_another_row(lfw: Path, tmp_path: Path) -> None:
    prepare_lfw(lfw, tmp_path / 'low', crop=74, top=101)
    path = lfw / 'lfw' / KEYS[0].rpartition('_')[0] / f'{KEYS[0]}.jpg'
    cut = cv2.imread(str(path))[101:175, 88:162, ::-1]
    assert np.array_equal(open_store(tmp_path / 'low').image(KEYS[0]), cut)
    with pytest.raises(UserError, match='row 0 to 176'):
        prepare_lfw(lfw, tmp_path / 'none', crop=74, top=177)


def test_a_hostile_archive_writes_nowhere_else(lfw: Path, tmp_path: Path) -> None:
    outside = '../../../../Eve_Evil/Eve_Evil_0001.jpg'
    archive = zipped(lfw, {outside: jpeg(9), '../evil.jpg': b'x', '/abs/run.sh': b'x'})
    done = prepare_lfw(archive, tmp_path / 'd' / 'out')
    assert done.images == 8
    assert {path.name for path in tmp_path.iterdir()} == {'src', 'lfw.zip', 'd'}
    assert sorted(path.name for path in (tmp_path / 'd' / 'out' / 'images').iterdir())[2].startswith('Alan')
    assert not list(tmp_path.parent.rglob('run.sh'))


@pytest.mark.parametrize(
    ('extra', 'reason', 'detail'),
    [
        ({'A_B/A_B_0001.jpg': jpeg(1, 200)}, 'corrupt', '200x200'),
        ({'A_B/A_B_0001.jpg': b'\xff\xd8broken'}, 'corrupt', 'cannot be decoded'),
        ({'A_B/A_B_0001.jpg': b'\0' * (65 << 20)}, 'corrupt', 'more than any file'),
        ({'other/Ada_Lovelace/Ada_Lovelace_0001.jpg': jpeg(1)}, 'duplicate', "has the key of 'lfw/Ada_Lovelace/"),
    ],
    ids=['size', 'broken', 'large', 'twice'],
)
def test_what_is_left_out_is_accounted_for(
    lfw: Path, tmp_path: Path, extra: dict[str, bytes], reason: str, detail: str
) -> None:
    done = prepare_lfw(zipped(lfw, extra), tmp_path / 'out')
    assert (done.images, done.left_out, done.skipped) == (7, 1, {reason: 1})
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert (report['found'], report['kept'], report['skipped']) == (8, 7, {reason: 1})
    assert [image['name'] for image in report['images']] == list(extra) and detail in report['images'][0]['detail']
    origin = open_store(tmp_path / 'out').manifest.origin
    assert origin is not None and (origin.dataset, origin.found, origin.skipped) == ('lfw', 8, {reason: 1})
    assert origin.protocol['crop'] == 128 and origin.protocol['top'] == 61


def test_what_is_not_lfw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='does not exist'):
        prepare_lfw(tmp_path / 'missing.zip', tmp_path / 'out')
    (tmp_path / 'text.zip').write_text('no archive')
    with pytest.raises(UserError, match='no readable zip'):
        prepare_lfw(tmp_path / 'text.zip', tmp_path / 'out')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='is not LFW: Name/Name_0001.jpg was looked for, nothing was found'):
        prepare_lfw(tmp_path / 'empty', tmp_path / 'out')
    for size in (0, 129):
        with pytest.raises(UserError, match=f'crop 128 and size {size} do not fit'):
            prepare_lfw(tmp_path / 'empty', tmp_path / 'out', size=size)


@pytest.mark.parametrize('dst', ['out', 'out.lmdb'])
def test_portraits_are_written(tmp_path: Path, dst: str) -> None:
    from fsr_plugins.portraits import iterate

    done = prepare_portraits('studio/test?number=2&size=16', tmp_path / dst)
    assert (done.images, done.identities) == (2, 1)
    store = open_store(tmp_path / dst)
    for face in iterate('studio', 'test', 2, 16):
        assert np.array_equal(store.image(face.key), face.image)


def test_the_command_line_reaches_the_functions(lfw: Path, tmp_path: Path) -> None:
    assert {'camera', 'lfw', 'portraits'} <= set(PREPARERS)
    for preparer in PREPARERS.values():
        assert preparer.summary and preparer.example.startswith(f'fsr prepare {preparer.name} ')
    parser = argparse.ArgumentParser()
    PREPARERS['lfw'].add_arguments(parser)
    options = ['--encoding', 'png', '--size', '32', '--people-fraction', '0', '1']
    done = PREPARERS['lfw'].run(parser.parse_args([str(lfw), str(tmp_path / 'out.lmdb'), *options]))
    assert done.as_dict() == {
        'path': str(tmp_path / 'out.lmdb'), 'images': 7, 'identities': 4, 'left_out': 0, 'skipped': {}
    }  # fmt: skip
    assert open_store(tmp_path / 'out.lmdb').manifest.encoding == 'png'
    with pytest.raises(UserError, match='rename it'):
        PREPARERS['lfw'].run(parser.parse_args([str(lfw), str(tmp_path / 'x.lmdb'), '--format', 'folder']))


def smooth_faces(folder: Path, number: int = 3, full: bool = True) -> Path:
    """Faces of two sizes with identities and landmarks."""
    faces = []
    for index in range(number):
        noise = np.random.default_rng(index).integers(0, 256, (32, 32 if index else 24, 3), dtype=np.uint8)
        points = np.full((5, 2), 9.5 + index, np.float32)
        faces.append(Face(f'k{index}', cv2.GaussianBlur(noise, (5, 5), 0), 7 * index, points if full else None))
    write_folder(folder, faces)
    return folder


@pytest.mark.parametrize('dst', ['out', 'out.lmdb'])
def test_camera_is_the_degradation_by_a_seed_of_the_key(tmp_path: Path, dst: str) -> None:
    src = smooth_faces(tmp_path / 'src')
    done = prepare_camera(str(src), tmp_path / dst, scale=4, seed=3, arguments={'jpeg_quality': None})
    assert (done.images, done.identities) == (3, 3)
    hr, lr = open_store(src), open_store(tmp_path / dst)
    assert list(lr.keys) == list(hr.keys) and lr.identities.tolist() == [0, 7, 14] and not lr.has_parsing
    # The centre of 4x4 pixels lies at 1.5: 9.5 is 8 further, two small pixels from the first one's centre.
    np.testing.assert_allclose(lr.landmarks[:, 0, 0], [2.0, 2.25, 2.5])
    camera = NeutralCamera(4, jpeg_quality=None)
    for key in hr.keys:
        gt = torch.from_numpy(hr.image(key)).permute(2, 0, 1)[None] / 255
        expected = camera(gt, torch.tensor([image_seed(3, key)])) * 255
        assert np.abs(lr.image(key) - expected[0].permute(1, 2, 0).numpy()).max() < 0.51
    assert len({image_seed(seed, key) for seed in (0, 1) for key in ('a', 'b', 'ab')}) == 6


def test_camera_sees_an_image_alike_in_any_set(tmp_path: Path) -> None:
    many, few = smooth_faces(tmp_path / 'many', 4), smooth_faces(tmp_path / 'few', 2)
    for src in (many, few):
        prepare_camera(str(src), tmp_path / f'{src.name}_lr')
    results = [open_store(tmp_path / f'{name}_lr').image('k1') for name in ('many', 'few')]
    assert np.array_equal(*results)
    prepare_camera(str(few), tmp_path / 'other_lr', seed=1)
    assert not np.array_equal(open_store(tmp_path / 'other_lr').image('k1'), results[0])


def test_camera_takes_arguments_from_the_command_line(tmp_path: Path) -> None:
    src = smooth_faces(tmp_path / 'src', full=False)
    parser = argparse.ArgumentParser()
    PREPARERS['camera'].add_arguments(parser)
    command = [str(src), str(tmp_path / 'out'), '--degradation', 'BicubicDown', '--scale', '2']
    done = PREPARERS['camera'].run(parser.parse_args([*command, '--argument', 'quantize=false']))
    assert done.images == 3 and open_store(tmp_path / 'out').landmarks is None
    for key in open_store(src).keys:
        expected = np.clip(imresize(open_store(src).image(key).astype(np.float32) / 255, 0.5), 0, 1) * 255
        assert np.abs(open_store(tmp_path / 'out').image(key) - expected).max() < 0.51
    for more, message in (
        (['--argument', 'quantize'], 'KEY=VALUE'),
        (['--argument', 'quantize=[1'], 'no YAML'),
        (['--argument', 'quantise=1'], 'quantise'),
        (['--degradation', 'RealWordCamera'], "Did you mean 'RealWorldCamera'"),
        (['--scale', '5'], r'k0\.png.*24x32.*multiple of the scale 5'),
    ):
        with pytest.raises(UserError, match=message):
            PREPARERS['camera'].run(parser.parse_args([str(src), str(tmp_path / 'none'), *more]))
        assert not (tmp_path / 'none').exists()
