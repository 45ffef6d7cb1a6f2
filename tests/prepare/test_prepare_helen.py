"""Helen, on a small imitation of its archives and annotations."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np
import pytest
from prepared import picture, png, reduced, written

from fsr_plugins.errors import UserError
from fsr_plugins.prepare import PREPARERS
from fsr_plugins.prepare import helen as module
from fsr_plugins.prepare.helen import prepare_helen
from fsr_plugins.stores.opening import open_store

KEYS = ['100032540_1', '100040721_1', '232194_1', '2948_2', '30844800_1']
SHAPE = (300, 240)


def photograph(key: str) -> np.ndarray:
    return picture(int(key.replace('_', '')), *SHAPE)


def annotation(key: str, x: tuple[float, float] = (60, 180), y: tuple[float, float] = (80, 230)) -> str:
    points = np.random.default_rng(0).uniform((x[0], y[0]), (x[1], y[1]), (192, 2))
    rows = [(x[0], y[1]), (x[1], y[0]), *points]
    return '\r\n'.join([key, *(f'{px:.6f} , {py:.6f}' for px, py in rows), ''])


@pytest.fixture
def helen(tmp_path: Path) -> Path:
    """The zips and lists as downloaded."""
    src = tmp_path / 'Helen'
    src.mkdir()
    for number, keys in (('1', KEYS[:3]), ('2', KEYS[3:])):
        written(src / f'helen_{number}.zip', {f'helen_{number}/{key}.jpg': png(photograph(key)) for key in keys})
    points = {f'annotation/{number}.txt': annotation(key).encode() for number, key in enumerate(KEYS, 1)}
    written(src / 'annotation.zip', points)
    (src / 'trainnames.txt').write_text('\r\n'.join(reversed(KEYS[:4])) + '\r\n')
    (src / 'testnames.txt').write_text(KEYS[4] + '\n')
    return src


@pytest.mark.parametrize('dst', ['out', 'out.lmdb'])
def test_the_annotated_face(helen: Path, tmp_path: Path, dst: str) -> None:
    done = prepare_helen(helen, tmp_path / dst)
    assert (done.images, done.identities, done.left_out) == (5, 0, 0)
    store = open_store(tmp_path / dst)
    assert list(store.keys) == sorted(KEYS) and store.landmarks is None
    # The points lie in columns 60 to 180 and rows 80 to 230: 150 and a tenth at both ends are 180, from 30.5 and 65.5.
    for key in KEYS:
        assert np.abs(store.image(key) - reduced(photograph(key)[66:246, 30:210], 128)).max() <= 0.51
    origin = store.manifest.origin
    assert origin is not None and "DIC's boxes" in origin.protocol['deviation']


def test_splits(helen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, 'VALIDATION', 1)
    names = sorted(KEYS[:4])
    for split, expected in (('train', names[:-1]), ('val', names[-1:]), ('test', KEYS[4:])):
        prepare_helen(helen, tmp_path / split, split=split)
        assert list(open_store(tmp_path / split).keys) == expected
    with (helen / 'testnames.txt').open('a') as file:
        file.write('999_1\n')
    assert prepare_helen(helen, tmp_path / 'more', split='test').skipped == {'listed, not there': 1}
    (helen / 'testnames.txt').unlink()
    with pytest.raises(UserError, match=r"needs one testnames.txt, Helen's list"):
        prepare_helen(helen, tmp_path / 'none', split='test')


def test_without_points(helen: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(helen / 'annotation.zip', 'w') as archive:
        archive.writestr('annotation/1.txt', annotation(KEYS[0]))
        archive.writestr('annotation/2.txt', annotation(KEYS[1]).replace(' , ', ' ', 1))
        archive.writestr('annotation/3.txt', KEYS[2] + '\n1 , 2\n')
        archive.writestr('annotation/4.txt', annotation(KEYS[3], (60, 100), (80, 120)))
    done = prepare_helen(helen, tmp_path / 'out')
    assert (done.images, done.skipped) == (1, {'no points': 3, 'too small': 1})
    (helen / 'annotation.zip').unlink()
    with pytest.raises(UserError, match=r'--crop centre'):
        prepare_helen(helen, tmp_path / 'none')
    prepare_helen(helen, tmp_path / 'centre', crop='centre', size=240)
    assert np.array_equal(open_store(tmp_path / 'centre').image(KEYS[0]), photograph(KEYS[0])[30:270])


def test_damaged_and_hostile(helen: Path, tmp_path: Path) -> None:
    more = {'../../7_1.jpg', f'helen_3/{KEYS[0]}.jpg'}
    files = dict.fromkeys(more, png(photograph(KEYS[0]))) | {'helen_3/8_1.jpg': b'\xff\xd8broken'}
    written(helen / 'helen_3.zip', files)
    with zipfile.ZipFile(helen / 'annotation.zip', 'a') as archive:
        archive.writestr('annotation/8.txt', annotation('8_1'))
        archive.writestr('annotation/9.txt', '')
    done = prepare_helen(helen, tmp_path / 'd' / 'out')
    assert (done.images, done.skipped) == (5, {'corrupt': 1, 'duplicate': 1, 'no points': 1})
    assert {path.name for path in tmp_path.iterdir()} == {'Helen', 'd'}


def test_what_is_refused(helen: Path, tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='is not Helen'):
        prepare_helen(tmp_path / 'empty', tmp_path / 'out')
    for wrong in ({'size': 0}, {'margin': -0.5}, {'margin': float('nan')}):
        with pytest.raises(UserError, match='do not fit'):
            prepare_helen(helen, tmp_path / 'out', **wrong)


def test_on_the_command_line(helen: Path, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    PREPARERS['helen'].add_arguments(parser)
    command = [str(helen), str(tmp_path / 'o'), '--split', 'test', '--crop', 'centre', '--size', '32']
    assert PREPARERS['helen'].run(parser.parse_args(command)).images == 1
