"""Lists of pairs drawn from stores, through the command's own parser."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from fsr_plugins.errors import UserError
from fsr_plugins.metrics.pairs import read_pairs
from fsr_plugins.prepare import PREPARERS, Prepared
from fsr_plugins.stores.folder_writer import write_folder
from fsr_plugins.stores.records import Face

PEOPLE = {f'{person}_{number}': person for person in range(4) for number in range(person + 1)}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    image = np.zeros((4, 4, 3), np.uint8)
    write_folder(tmp_path / 'faces', [Face(key, image, person) for key, person in PEOPLE.items()])
    return tmp_path / 'faces'


def prepare(*arguments: str | Path) -> Prepared:
    parser = argparse.ArgumentParser()
    PREPARERS['pairs'].add_arguments(parser)
    return PREPARERS['pairs'].run(parser.parse_args([str(argument) for argument in arguments]))


def test_pairs_of_a_store(store: Path, tmp_path: Path) -> None:
    done = prepare(store, tmp_path / 'a.csv', '--folds', '2', '--number', '4', '--seed', '3')
    pairs = read_pairs(tmp_path / 'a.csv')
    used = {*pairs.first, *pairs.second}
    assert (done.images, done.left_out) == (len(used), len(PEOPLE) - len(used))
    assert done.identities == len({PEOPLE[key] for key in used})
    assert np.bincount(pairs.fold).tolist() == [8, 8]
    same = [PEOPLE[one] == PEOPLE[other] for one, other in zip(pairs.first, pairs.second, strict=True)]
    assert pairs.same.tolist() == same and sum(same) == 8
    prepare(store, tmp_path / 'b.csv', '--folds', '2', '--number', '4', '--seed', '3')
    prepare(store, tmp_path / 'c.csv', '--folds', '2', '--number', '4')
    a, b, c = ((tmp_path / f'{name}.csv').read_text() for name in 'abc')
    assert a == b != c


def test_what_cannot_be_drawn(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='has 10 genuine pairs, but 3000 are asked for'):
        prepare(store, tmp_path / 'a.csv')
    assert not (tmp_path / 'a.csv').exists()
    (tmp_path / 'a.csv').write_text('mine')
    with pytest.raises(UserError, match=r"a\.csv' exists"):
        prepare(store, tmp_path / 'a.csv', '--folds', '2', '--number', '4')
    (store / 'faces.csv').unlink()
    with pytest.raises(UserError, match='does not say whose its images are'):
        prepare(store, tmp_path / 'b.csv')
