"""Landmarks and parsing maps added to a prepared dataset, with engines that see what the image's first pixel says."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsr_plugins import lmdb_env
from fsr_plugins.errors import UserError
from fsr_plugins.faces import DETECTORS, Detection
from fsr_plugins.prepare import PREPARERS, annotating
from fsr_plugins.prepare.carry_out import carry_out
from fsr_plugins.prepare.landmarks import prepare_landmarks
from fsr_plugins.prepare.parsing import prepare_parsing
from fsr_plugins.prepare.plan import Item, PreparationPlan, Skip, one_by_one
from fsr_plugins.stores.lmdb_writer import write_lmdb
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.records import Face
from fsr_plugins.stores.verify import verify

COUNT = 70
#: On these no face is found.
BLIND = (7, 65)


class Engine:
    """A detector of two faces, of which the second is nearer to the centre; and a parser."""

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        return [self._faces(int(image[0, 0, 0])) for image in images]

    def _faces(self, value: int) -> list[Detection]:
        if value in BLIND:
            return []
        corner = Detection(np.array([0, 0, 2, 2], np.float32), 0.9, np.zeros((5, 2), np.float32))
        return [corner, Detection(np.array([2, 2, 6, 6], np.float32), 0.5, np.full((5, 2), value, np.float32))]

    def parse(self, images: Sequence[np.ndarray]) -> list[np.ndarray | None]:
        values = [int(image[0, 0, 0]) for image in images]
        return [None if value in BLIND else np.full((8, 8), value % 19, np.uint8) for value in values]


@pytest.fixture(autouse=True)
def _engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('fsr_plugins.faces.open_detector', lambda *_: Engine())
    monkeypatch.setattr('fsr_plugins.faces.open_parser', lambda *_: Engine())


def prepared(dst: Path) -> Path:
    items = [Item(f'{n:03d}', f'{n}.jpg', f'p{n // 2:02d}', n) for n in range(COUNT)]
    make = one_by_one(lambda item: Face(item.key, np.full((8, 8, 3), item.extra, np.uint8)))
    plan = PreparationPlan('toy', {'size': 8}, items, make, [Skip('x.jpg', 'corrupt', 'why')])
    carry_out(plan, dst, encoding='png' if dst.suffix else None)
    return dst


@pytest.mark.parametrize('name', ['set', 'set.lmdb'])
def test_points_and_maps_are_added(tmp_path: Path, name: str) -> None:
    dst = prepared(tmp_path / name)
    done = prepare_landmarks(dst, engine='mediapipe')
    assert (done.images, done.identities, done.left_out, done.skipped) == (68, 35, 2, {'no face': 2})
    done = prepare_parsing(dst)
    assert (done.images, done.left_out) == (68, 0)
    store = open_store(dst)
    numbers = [n for n in range(COUNT) if n not in BLIND]
    assert list(store.keys) == [f'{n:03d}' for n in numbers] and store.landmarks is not None
    assert store.landmarks[:, 0, 0].tolist() == numbers and store.identities is not None
    assert store.identities.tolist() == [n // 2 for n in numbers]
    assert all(
        (store.image(key) == int(key)).all() and (store.parsing(key) == int(key) % 19).all() for key in store.keys
    )
    verify(store)
    report = json.loads((dst / 'report.json').read_text())
    assert report['skipped'] == {'corrupt': 1, 'no face': 2} and report['images'][0]['detail'] == 'why'
    origin = store.manifest.origin
    assert origin is not None and origin.dataset == 'toy'
    assert origin.protocol == {
        'size': 8,
        'landmarks': {'engine': 'mediapipe', 'weights': None},
        'parsing': {'engine': 'bisenet', 'weights': None},
    }
    assert store.manifest.encoding == ('png' if name.endswith('.lmdb') else 'files')
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_faces_without_points_can_be_kept(tmp_path: Path) -> None:
    dst = prepared(tmp_path / 'set')
    assert prepare_landmarks(dst, keep=True).images == COUNT
    store = open_store(dst)
    assert store.landmarks is not None
    unknown = np.isnan(store.landmarks).all(axis=(1, 2))
    assert np.flatnonzero(unknown).tolist() == list(BLIND)


def test_faces_that_were_left_out_are_not_taken_for_kept_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dst = prepared(tmp_path / 'set')
    _end_before_the_move(dst, monkeypatch)
    assert prepare_landmarks(dst, keep=True).images == COUNT
    origin = open_store(dst).manifest.origin
    assert origin is not None and origin.protocol['landmarks'] == {
        'engine': 'retinaface_resnet50',
        'weights': None,
        'keep': True,
    }


def test_until_the_end_the_dataset_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dst = prepared(tmp_path / 'set.lmdb')
    before = (dst / 'data.mdb').read_bytes()
    moves: list[tuple[Path, Path]] = []
    rename = Path.rename

    def killed(self: Path, target: Path) -> Any:
        if target.name.startswith(('.old', 'set')):
            moves.append((self, target))
            if len(moves) in (1, 3):
                raise InterruptedError('killed')
        return rename(self, target)

    monkeypatch.setattr(Path, 'rename', killed)
    with pytest.raises(InterruptedError):
        prepare_landmarks(dst)
    assert (dst / 'data.mdb').read_bytes() == before  # the new one is whole, and nothing moved yet
    with pytest.raises(InterruptedError):
        prepare_landmarks(dst)
    assert not dst.exists()  # between the two renames
    monkeypatch.setattr(annotating, 'carry_out', None)  # what is made is not made again
    assert prepare_landmarks(dst).images == 68
    lmdb_env.release(dst)
    assert open_store(dst).landmarks is not None and {path.name for path in tmp_path.iterdir()} == {'set.lmdb'}


def test_an_unfinished_addition_is_not_taken_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dst = prepared(tmp_path / 'set')
    _end_before_the_move(dst, monkeypatch)
    prepare_parsing(dst)
    store = open_store(dst)
    assert store.has_parsing and store.landmarks is None


def _end_before_the_move(dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All points are found, and nothing is where it belongs."""
    with monkeypatch.context() as patch:
        patch.setattr(Path, 'rename', _refuse(dst))
        with pytest.raises(InterruptedError):
            prepare_landmarks(dst)


def _refuse(dst: Path) -> Any:
    rename = Path.rename

    def refused(self: Path, target: Path) -> Any:
        if self == dst:
            raise InterruptedError('killed')
        return rename(self, target)

    return refused


def test_what_was_not_prepared_here_is_refused(tmp_path: Path) -> None:
    write_lmdb(tmp_path / 'other.lmdb', [Face('a', np.zeros((8, 8, 3), np.uint8))])
    with pytest.raises(UserError, match='was not prepared by this toolkit'):
        prepare_parsing(tmp_path / 'other.lmdb')
    with pytest.raises(UserError, match='does not exist'):
        prepare_landmarks(tmp_path / 'nowhere')
    assert {'landmarks', 'parsing'} <= set(PREPARERS)


def test_a_link_to_a_dataset_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / 'disk').mkdir()
    prepared(tmp_path / 'disk' / 'set')
    link = tmp_path / 'link'
    link.symlink_to(tmp_path / 'disk' / 'set')
    assert prepare_landmarks(link, engine='mediapipe').path == str(link)
    assert prepare_parsing(link).images == 68
    assert link.is_symlink() and {file.name for file in tmp_path.iterdir()} == {'disk', 'link'}
    store = open_store(tmp_path / 'disk' / 'set')
    assert store.landmarks is not None and store.has_parsing


def test_the_working_directory_may_be_the_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared(tmp_path / 'set'))
    assert prepare_landmarks(Path('.'), engine='mediapipe').images == 68


def test_the_help_names_the_engines_that_there_are() -> None:
    parser = ArgumentParser()
    PREPARERS['landmarks'].add_arguments(parser)
    said = next(action.help for action in parser._actions if action.dest == 'engine')
    assert said is not None and set(said.rpartition(' of ')[2].split(', ')) == set(DETECTORS)
