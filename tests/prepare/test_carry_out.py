"""Carrying out plans: every item accounted for, resumed after a kill to the same files, by one process at a time."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsr_plugins import lmdb_env
from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.errors import Interrupted, UserError
from fsr_plugins.prepare import carry_out as module
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.parts import PART, Parts
from fsr_plugins.prepare.plan import Item, ItemResult, PreparationPlan, Skip
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.records import Face
from fsr_plugins.stores.verify import verify


def face(key: str, value: int) -> Face:
    return Face(key, np.full((8, 8, 3), value, np.uint8), None, np.full((5, 2), value, np.float32))


def make(items: Sequence[Item]) -> Iterable[ItemResult]:
    """Item n gives n % 3 faces and n % 3 == 0 a reason."""
    for item in items:
        count = item.extra % 3
        yield [face(f'{item.key}_{n}', item.extra) for n in range(count)] or [Skip(item.name, 'no face')]


def plan(count: int = 150, **more: object) -> PreparationPlan:
    items = [Item(f'{n:03d}', f'src/{n}.jpg', f'person{n // 10:02d}', n) for n in range(count)]
    return PreparationPlan('test', {'size': 8}, items, **{'make': make, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize('dst', ['out', 'out.lmdb'])
def test_every_item_is_accounted_for(tmp_path: Path, dst: str) -> None:
    done = carry_out(plan(skipped=[Skip('src/link', 'link')]), tmp_path / dst, threads=3)
    assert (done.images, done.identities, done.left_out) == (150, 15, 51)
    assert done.skipped == {'link': 1, 'no face': 50}
    store = open_store(tmp_path / dst)
    assert list(store.keys) == [f'{n:03d}_{m}' for n in range(150) for m in range(n % 3)]
    assert store.identities is not None and store.landmarks is not None
    for place, key in enumerate(store.keys):
        number = int(key[:3])
        assert (store.image(key) == number).all() and store.identities[place] == number // 10
        assert (store.landmarks[place] == number).all()
    verify(store)
    report = json.loads((tmp_path / dst / 'report.json').read_text())
    assert report['found'] == 201 and len(report['images']) == 51 and report['images'][0]['name'] == 'src/link'
    assert store.manifest.origin is not None and store.manifest.origin.protocol == {'size': 8}
    assert {path.name for path in tmp_path.iterdir()} == {dst}


def test_an_item_of_which_nothing_is_said_is_a_defect(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'src/0\.jpg' has neither a face nor a reason"):
        carry_out(plan(make=lambda items: ([] for _ in items)), tmp_path / 'out')
    with pytest.raises(ValueError, match='zip'):
        carry_out(plan(make=lambda items: [[face('x', 0)]]), tmp_path / 'other')


def test_twins_are_left_out_where_asked(tmp_path: Path) -> None:
    def alike(items: Sequence[Item]) -> Iterable[ItemResult]:
        return ([face(item.key, item.extra // 2)] for item in items)

    assert carry_out(plan(10, make=alike), tmp_path / 'all').images == 10
    done = carry_out(plan(10, make=alike, unique=True), tmp_path / 'unique')
    assert done.images == 5 and done.skipped == {'duplicate': 5}
    assert list(open_store(tmp_path / 'unique').keys) == ['000', '002', '004', '006', '008']
    with pytest.raises(UserError, match=r"another image have the key 'x'"):
        carry_out(plan(2, make=lambda items: [[face('x', 0)] for _ in items]), tmp_path / 'twice')


def test_nothing_left_is_said_with_an_example(tmp_path: Path) -> None:
    nothing = plan(3, make=lambda items: [[Skip(item.name, 'corrupt', 'no header')] for item in items])
    with pytest.raises(UserError, match=r'No image of test is left: 3 corrupt\. For instance src/0\.jpg: no header'):
        carry_out(nothing, tmp_path / 'out')
    assert list(tmp_path.iterdir()) == []


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out(plan(), tmp_path / 'undisturbed.lmdb')
    seen: list[str] = []

    def breaking(items: Sequence[Item]) -> Iterable[ItemResult]:
        seen.append(items[0].key)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return make(items)

    with pytest.raises(Interrupted, match='Give the same command again'):
        carry_out(plan(make=breaking), tmp_path / 'out.lmdb', threads=1)
    assert seen == ['000', f'{PART:03d}', f'{2 * PART:03d}'] and not (tmp_path / 'out.lmdb').exists()
    with pytest.raises(UserError, match='the beginning of another preparation'):
        carry_out(plan(140), tmp_path / 'out.lmdb')
    carry_out(plan(make=breaking), tmp_path / 'out.lmdb', threads=1)
    assert seen[3:] == [f'{2 * PART:03d}']
    assert_same(tmp_path / 'out.lmdb', tmp_path / 'undisturbed.lmdb')


def test_one_process_at_a_time(tmp_path: Path) -> None:
    parts = Parts(tmp_path / 'out', plan().fingerprint('folder png'))
    with parts.held(), pytest.raises(UserError, match='Another process is preparing'):
        carry_out(plan(), tmp_path / 'out')
    carry_out(plan(), tmp_path / 'out')
    with pytest.raises(UserError, match='exists already'):
        carry_out(plan(), tmp_path / 'out')


#: Holds a place, says so, and dies without a word when it is told to.
HOLDER = """
import os, signal, sys
from pathlib import Path
from fsr_plugins.prepare.parts import Parts

with Parts(Path(sys.argv[1]), sys.argv[2]).held():
    print('held', flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_dies_gives_its_place_back(tmp_path: Path) -> None:
    command = [sys.executable, '-c', HOLDER, str(tmp_path / 'out'), plan().fingerprint('folder png')]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == 'held\n'
        with pytest.raises(UserError, match='Another process is preparing'):
            carry_out(plan(), tmp_path / 'out')
        holder.stdin.close()
        assert holder.wait(60) == -signal.SIGKILL
    assert carry_out(plan(), tmp_path / 'out').images == 150
    assert {path.name for path in tmp_path.iterdir()} == {'out'}


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match=r"file' cannot be written .*: choose another place"):
        carry_out(plan(), tmp_path / 'file' / 'out')
    # The lock's own place is taken by a folder.
    (tmp_path / '.out.parts' / 'lock').mkdir(parents=True)
    with pytest.raises(UserError, match=r'cannot be written \(Is a directory\): choose another place'):
        carry_out(plan(), tmp_path / 'out')


def assert_same(one: Path, other: Path) -> None:
    """File for file the same bytes."""
    lmdb_env.release(one)
    names = [sorted(path.relative_to(root).as_posix() for path in root.rglob('*')) for root in (one, other)]
    assert names[0] == names[1] and names[0]
    for name in names[0]:
        if (one / name).is_file():
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


#: Imports once, then prepares in forked processes that are killed after the seconds given; 0 lets one finish.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from fsr_plugins.cli import main
from fsr_plugins.prepare import PREPARERS

source, *jobs = sys.argv[1:]
for job in jobs:
    seconds, _, dst = job.partition('=')
    child = os.fork()
    if not child:
        os._exit(main(['prepare', 'lfw', source, dst, '--size', '64']))
    if float(seconds):
        parts = Path(dst).parent / f'.{Path(dst).name}.parts'
        while not parts.exists() and not Path(dst).exists():
            time.sleep(0.001)
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.long
@pytest.mark.parametrize('dst', ['out', 'out.lmdb'])
def test_killed_at_random_moments_it_ends_in_the_same_files(tmp_path: Path, dst: str) -> None:
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / 'lfw.zip', 'w') as archive:
        for number in range(640):
            person = f'Person_{number // 3:03d}'
            small = rng.integers(0, 256, (25, 25, 3), dtype=np.uint8)
            content = cv2.imencode('.jpg', cv2.resize(small, (250, 250)))[1].tobytes() if number % 100 else b'broken'
            archive.writestr(f'lfw/{person}/{person}_{number % 3 + 1:04d}.jpg', content)
    draw = random.Random(1)
    undisturbed, killed = tmp_path / f'undisturbed_{dst}', tmp_path / 'killed' / dst
    kills = [f'{draw.uniform(0.01, longest):.3f}={killed}' for longest in (0.05, 0.1, 0.2, 0.3, 0.5)]
    command = [sys.executable, '-c', KILLER, str(tmp_path / 'lfw.zip'), f'0={undisturbed}', *kills, f'0={killed}']
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    ended = [line for line in done.stdout.split() if line.lstrip('-').isdecimal()]
    assert str(-signal.SIGKILL) in ended, done.stderr
    assert_same(killed, undisturbed)
    assert {path.name for path in (tmp_path / 'killed').iterdir()} == {dst}


def test_a_dataset_says_where_its_images_come_from(tmp_path: Path) -> None:
    carry_out(plan(9), tmp_path / 'out.lmdb')
    dataset = FaceDataset(
        {'name': 'x', 'type': 'FaceDataset', 'phase': 'val', 'dataroot_gt': str(tmp_path / 'out.lmdb')}
    )
    (facts,) = dataset.provenance()
    assert facts['origin'] == {'dataset': 'test', 'protocol': {'size': 8}, 'found': 12, 'skipped': {'no face': 3}}
    assert facts['checksum'] == open_store(tmp_path / 'out.lmdb').manifest.checksum
    assert facts['count'] == 9 and not facts.keys() & {'keys', 'sizes'}


def test_a_prepared_set_that_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    carry_out(plan(9), tmp_path / 'out')
    verify(open_store(tmp_path / 'out'))
    image = tmp_path / 'out' / 'images' / '001_0.png'
    image.write_bytes(cv2.imencode('.png', np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    with pytest.raises(UserError, match='do not have the checksum'):
        verify(open_store(tmp_path / 'out'))
    image.write_bytes(cv2.imencode('.png', np.zeros((8, 9, 3), np.uint8))[1].tobytes())
    with pytest.raises(UserError, match=r"001_0\.png' is not of the size"):
        verify(open_store(tmp_path / 'out'))
    image.unlink()
    with pytest.raises(UserError, match=r"holds 8 images and its manifest names 9; '001_0'"):
        open_store(tmp_path / 'out')


def test_a_full_disk_leaves_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsr_plugins.errors import RunError
    from fsr_plugins.prepare import parts

    whole, written = parts.write_atomically, []

    def write(path: Path, content: object) -> None:
        if len(written) == 2:
            raise RunError(f'Cannot write {path}: No space left on device.')
        written.append(path)
        whole(path, content)  # type: ignore[arg-type]

    monkeypatch.setattr(parts, 'write_atomically', write)
    with pytest.raises(RunError, match='No space left'):
        carry_out(plan(), tmp_path / 'out', threads=1)
    monkeypatch.undo()
    kept = {path.name: path.stat().st_mtime_ns for path in written}
    assert len(kept) == 2 and module.REPORT == 'report.json'
    assert all((tmp_path / '.out.parts' / name).stat().st_mtime_ns == time_ for name, time_ in kept.items())
    assert carry_out(plan(), tmp_path / 'out').images == 150


@pytest.mark.parametrize('dst', ['out', 'out.lmdb'])
def test_a_process_that_dies_when_all_is_written_leaves_what_the_next_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dst: str
) -> None:
    def die(self: Parts) -> None:
        raise SystemExit(137)

    with monkeypatch.context() as patched:
        patched.setattr(Parts, 'remove', die)
        with pytest.raises(SystemExit):
            carry_out(plan(), tmp_path / dst)
    assert {path.name for path in tmp_path.iterdir()} == {dst, f'.{dst}.parts'}
    before = {path: path.read_bytes() for path in (tmp_path / dst).rglob('*') if path.is_file()}
    assert carry_out(plan(), tmp_path / dst).images == 150
    assert {path.name for path in tmp_path.iterdir()} == {dst}
    assert before == {path: path.read_bytes() for path in (tmp_path / dst).rglob('*') if path.is_file()}


def test_something_else_in_its_place_is_never_taken_for_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(module, 'write_encoded_folder', fail)
        with pytest.raises(RuntimeError):
            carry_out(plan(), tmp_path / 'out')
    (tmp_path / 'out').mkdir()
    with pytest.raises(UserError, match='exists already'):
        carry_out(plan(), tmp_path / 'out')
    assert list((tmp_path / 'out').iterdir()) == [] and (tmp_path / '.out.parts').is_dir()


def test_keys_that_are_paths_need_an_lmdb(tmp_path: Path) -> None:
    items = [Item('a/0', 'src/0.jpg', None, 1)]
    nested = PreparationPlan('test', {}, items, make)
    with pytest.raises(UserError, match="'a/0' is a path"):
        carry_out(nested, tmp_path / 'out')
    assert list(tmp_path.iterdir()) == []
    assert carry_out(nested, tmp_path / 'out.lmdb').images == 1


@pytest.mark.parametrize(
    ('key', 'said'),
    [
        ('a\udcff', r"'src/0\.jpg' gives the key 'a\\xff', which is no plain text"),
        ('a\0b', 'no plain text'),
        ('', 'no plain text'),
        ('.a', 'as a file hidden'),
        ('k' * 251, 'too long a name'),
    ],
)
def test_keys_that_are_no_names_are_refused_before_the_work(tmp_path: Path, key: str, said: str) -> None:
    wrong = PreparationPlan('test', {}, [Item(key, 'src/0.jpg', None, 1)], make)
    for name in ('out', 'out.lmdb') if 'plain' in said else ('out',):
        with pytest.raises(UserError, match=said):
            carry_out(wrong, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
