"""``fsr prepare yale``, on a small archive laid out as the official one."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np
import pytest
from basicsr.utils.matlab_functions import imresize

from fsr_plugins.errors import UserError
from fsr_plugins.prepare import PREPARERS
from fsr_plugins.prepare.yale import prepare_yale
from fsr_plugins.stores.opening import open_store

#: Subject → its images; of yaleB12 one is marked as bad, and the ambient one is not cropped.
SUBJECTS = {
    'yaleB01': ('P00A+000E+00', 'P00A-110E+40', 'P00_Ambient'),
    'yaleB12': ('P00A+000E+00', 'P00A+035E+65', 'P00_Ambient'),
    'yaleB39': ('P00A+000E+00',),
}
LIT = [f'{subject}_{light}' for subject, lights in SUBJECTS.items() for light in lights if 'Ambient' not in light]


def pixels(key: str, shape: tuple[int, int] = (192, 168)) -> np.ndarray:
    """Smooth and of the key's own."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    phase = sum(map(ord, key)) % 7
    return (127 + 60 * np.sin(rows / 11 + phase) + 60 * np.cos(columns / 7 - phase)).astype(np.uint8)


def pgm(image: np.ndarray) -> bytes:
    return b'P5\n%d %d\n255\n' % (image.shape[1], image.shape[0]) + image.tobytes()


@pytest.fixture
def files() -> dict[str, bytes]:
    found = {}
    for subject, lights in SUBJECTS.items():
        folder = f'CroppedYale/{subject}/{subject}'
        for light in lights:
            shape = (480, 640) if (subject, light) == ('yaleB12', 'P00_Ambient') else (192, 168)
            found[f'{folder}_{light}.pgm'] = pgm(pixels(f'{subject}_{light}', shape))
        found[f'{folder}_P00.info'] = '\n'.join(f'{subject}_{light}.pgm' for light in lights).encode()
    found['CroppedYale/yaleB12/yaleB12_P00A+050E-40.pgm.bad'] = pgm(pixels('bad'))
    found['CroppedYale/yaleB12/DEADJOE'] = b'left behind by an editor'
    return found


def archive(tmp_path: Path, files: dict[str, bytes], folder: bool = False) -> Path:
    if folder:
        for name, content in files.items():
            (tmp_path / 'src' / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / 'src' / name).write_bytes(content)
        return tmp_path / 'src'
    with zipfile.ZipFile(tmp_path / 'CroppedYale.zip', 'w') as target:
        for name, content in files.items():
            target.writestr(name, content)
    return tmp_path / 'CroppedYale.zip'


@pytest.mark.parametrize('folder', [False, True])
@pytest.mark.parametrize('dst', ['out', 'out.lmdb'])
def test_the_centre_is_reduced(tmp_path: Path, files: dict[str, bytes], folder: bool, dst: str) -> None:
    done = prepare_yale(archive(tmp_path, files, folder), tmp_path / dst)
    assert (done.images, done.identities, done.left_out) == (5, 3, 3)
    assert done.skipped == {'bad': 1, 'under ambient light': 2}
    store = open_store(tmp_path / dst)
    assert list(store.keys) == sorted(LIT)
    assert store.identities is not None and store.identities.tolist() == [0, 0, 1, 1, 2]
    for key in LIT:
        image = store.image(key)
        assert image.shape == (128, 128, 3) and (image == image[..., :1]).all()
        grey = np.repeat(pixels(key)[12:180, :, None], 3, axis=2).astype(np.float32) / 255
        assert np.abs(image - np.clip(imresize(grey, 128 / 168), 0, 1) * 255).max() <= 0.51


def test_place_and_size_of_the_square(tmp_path: Path, files: dict[str, bytes]) -> None:
    prepare_yale(archive(tmp_path, files), tmp_path / 'out', top=24, size=168)
    assert np.array_equal(open_store(tmp_path / 'out').image(LIT[0])[..., 1], pixels(LIT[0])[24:])
    for wrong in ({'top': 25}, {'top': -1}, {'size': 0}, {'size': 169}):
        with pytest.raises(UserError, match='does not fit'):
            prepare_yale(tmp_path / 'CroppedYale.zip', tmp_path / 'other', **wrong)


def test_ambient_light_where_it_is_cropped(tmp_path: Path, files: dict[str, bytes]) -> None:
    done = prepare_yale(archive(tmp_path, files), tmp_path / 'out', ambient=True)
    assert (done.images, done.left_out) == (6, 2)
    assert 'yaleB01_P00_Ambient' in open_store(tmp_path / 'out').keys
    assert done.skipped == {'bad': 1, 'corrupt': 1} and '640x480' in (tmp_path / 'out' / 'report.json').read_text()


BODY = bytes(168 * 192)


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'P5\n168',
        b'P5\n168 192\n255\n' + BODY[:-1],
        b'P5\nab 192\n255\n' + BODY,
        b'P5\n168 192\n0\n' + BODY,
        b'P5\n168 192\n65535\n' + 2 * BODY,
        b'P5\n' + b'1' * 500 + b' 192\n255\n' + BODY,
        b'P5\n999999999 999999999\n255\n' + BODY,
        b'\0' * (17 << 20),
    ],
    ids=['empty', 'cut header', 'cut pixels', 'letters', 'no depth', '16 bits', 'long number', 'bomb', 'large'],
)
def test_damaged_images_are_left_out_and_said(tmp_path: Path, files: dict[str, bytes], content: bytes) -> None:
    files['CroppedYale/yaleB39/yaleB39_P00A+000E+00.pgm'] = content
    done = prepare_yale(archive(tmp_path, files), tmp_path / 'out.lmdb')
    # Of yaleB39 nothing is left, so it has no label either.
    assert (done.images, done.identities, done.left_out) == (4, 2, 4)
    assert (
        done.skipped['corrupt'] == 1 and 'yaleB39_P00A+000E+00.pgm' in (tmp_path / 'out.lmdb/report.json').read_text()
    )


def test_a_hostile_archive_writes_nowhere_else(tmp_path: Path, files: dict[str, bytes]) -> None:
    more = {'../../yaleB40_P00A+000E+00.pgm': pgm(pixels('x')), '/abs/run.sh': b'x'}
    done = prepare_yale(archive(tmp_path, files | more), tmp_path / 'd' / 'out')
    assert done.images == 6
    assert {path.name for path in tmp_path.iterdir()} == {'CroppedYale.zip', 'd'}
    twice = files | {'copy/yaleB01_P00A+000E+00.pgm': pgm(pixels('x'))}
    assert prepare_yale(archive(tmp_path, twice), tmp_path / 'other').skipped['duplicate'] == 1


def test_what_is_not_the_set_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(UserError, match='is not the cropped Extended Yale B'):
        prepare_yale(archive(tmp_path, {'a/b.pgm': pgm(pixels('x'))}), tmp_path / 'out')
    ambient = {name: content for name, content in files.items() if 'Ambient' in name}
    with pytest.raises(UserError, match='No image of yale is left: 2 under ambient light'):
        prepare_yale(archive(tmp_path, ambient), tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_on_the_command_line(tmp_path: Path, files: dict[str, bytes]) -> None:
    parser = argparse.ArgumentParser()
    PREPARERS['yale'].add_arguments(parser)
    source = str(archive(tmp_path, files))
    args = parser.parse_args([source, str(tmp_path / 'o.lmdb'), '--size', '32', '--top', '0', '--ambient'])
    assert PREPARERS['yale'].run(args).images == 6
    assert open_store(tmp_path / 'o.lmdb').image(LIT[0]).shape == (32, 32, 3)
