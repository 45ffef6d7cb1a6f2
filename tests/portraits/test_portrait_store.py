"""The built-in faces as a store: specs, drawn once, by processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from fsr_plugins.cli import main
from fsr_plugins.errors import RunError, UserError
from fsr_plugins.lmdb_env import release
from fsr_plugins.portraits import iterate, render
from fsr_plugins.portraits.spec import PortraitSpec, parse_spec
from fsr_plugins.portraits.workers import draw
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.once import built_in
from fsr_plugins.stores.opening import open_store


@pytest.mark.parametrize(
    ('spec', 'message'),
    [
        ('portraits://studo/train', "Did you mean 'studio'"),
        ('portraits://studio/trian', "Did you mean 'train'"),
        ('portraits://studio/train?numbr=3', "Did you mean 'number'"),
        ('portraits://studio/train?number=many', 'whole number'),
        ('portraits://harsh/train?azimuth=120&elevation=0', 'from -95 to 95'),
        ('portraits://harsh/train?azimuth=20', 'both together'),
        ('portraits://studio/train?azimuth=20&elevation=0', "domain 'harsh'"),
        ('portraits://studio/train?number=0', 'at least 1'),
    ],
)
def test_portrait_specs_are_checked(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_spec(spec)


def test_portraits_are_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv('FSR_DATASETS', str(tmp_path))
    spec = 'portraits://studio/val?number=3&size=16&seed=5'
    store = open_store(spec)
    for face in iterate('studio', 'val', 3, 16, 5):
        assert np.array_equal(store.image(face.key), face.image)
        assert np.array_equal(store.parsing(face.key), face.parsing)
    assert len(store) == 3
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.mdb')}
    assert len(times) == 1 and len(open_store(spec)) == 3
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.mdb')}


def test_portraits_of_another_number_or_version_are_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv('FSR_DATASETS', str(tmp_path))
    spec = 'portraits://studio/val?number=3&size=16'
    path = Path(open_store(spec).path)
    shutil.rmtree(path)
    write_lmdb(path, render('studio', 'val', [0, 1], 16))
    assert len(open_store(spec)) == 3 and 'does not hold 3 faces' in caplog.text
    monkeypatch.setattr('fsr_plugins.portraits.spec.RENDERER_VERSION', 1_000_000)
    assert open_store(spec).path != str(path) and path.exists()


@pytest.mark.long
def test_portraits_are_drawn_by_processes_from_standard_input(tmp_path: Path) -> None:
    # Neither a main script to import nor a guard: what multiprocessing's children would need.
    code = (
        'from fsr_plugins.portraits.spec import PortraitSpec\n'
        'from fsr_plugins.portraits.workers import draw\n'
        "faces = list(draw(PortraitSpec('studio', 'val', 70, 16, 5), processes=2))\n"
        'print(*(face.key for face in faces), faces[68].image.tobytes().hex())\n'
    )
    done = subprocess.run([sys.executable], input=code, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *keys, pixels = done.stdout.split()
    assert keys == [f'{index:06d}' for index in range(70)]
    assert bytes.fromhex(pixels) == render('studio', 'val', [68], 16, 5)[0].image.tobytes()


def test_a_drawing_process_that_dies_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'executable', shutil.which('false'))
    spec = PortraitSpec('studio', 'val', 70, 16, 5)
    with pytest.raises(RunError, match='ended with status 1'):
        list(draw(spec, processes=2))


def test_a_few_drawings_stand_for_all_where_nothing_may_be_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FSR_DATASETS', str(tmp_path / 'datasets'))
    spec = 'portraits://studio/train?number=40&size=16'
    (tmp_path / 'there').mkdir()
    with built_in(tmp_path / 'there'):
        few = open_store(spec)
        images = [few.image(key) for key in few.keys]
    assert not (tmp_path / 'datasets').exists()
    whole = open_store(spec)
    assert list(few.keys) == list(whole.keys)
    assert few.identities is not None
    assert whole.identities is not None
    assert few.identities.tolist() == whole.identities.tolist()
    assert few.holds == whole.holds
    np.testing.assert_array_equal(images[15], whole.image('000015'))
    np.testing.assert_array_equal(images[16], whole.image('000000'))


@pytest.mark.parametrize('damage', ['short', 'zeros', 'pages', 'gone', 'manifest', 'empty'])
def test_damaged_drawings_are_drawn_anew_once_they_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    values = tiny.options('portraits://studio/val?number=3&size=16')
    command = ['doctor', '-opt', str(tiny.write_options(tmp_path / 'o.yml', values))]
    path = Path(open_store(values['datasets']['train']['dataroot_gt']).path)
    release(path)
    data, manifest = path / 'data.mdb', path / 'manifest.json'
    content = data.read_bytes()
    if damage in ('gone', 'empty'):
        data.unlink()
    if damage == 'empty':
        manifest.unlink()
    if damage == 'manifest':
        manifest.write_text('{')
    changed = {'short': content[:3000], 'zeros': bytes(len(content)), 'pages': content[:8192]}
    if damage in changed:
        data.write_bytes(changed[damage].ljust(len(content) if damage == 'pages' else 0, b'\0'))
    assert main(command) == 2
    # Two sets of the experiment are these faces.
    said = capsys.readouterr().out
    assert 'remove it, and the faces are drawn anew' in said and 'prepare' not in said
    assert main(['train', *command[1:]]) == 2
    assert capsys.readouterr().err.count('drawn anew') == 1
    shutil.rmtree(path)
    assert main(command) == 0
