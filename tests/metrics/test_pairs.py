"""Lists of pairs: LFW's layout, CSV, lists that are none, and drawing."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fsr_plugins.errors import UserError
from fsr_plugins.metrics.pairs import Pairs, alike, draw_pairs, read_pairs, write_pairs

LFW = '2\t2\nAda\t1\t4\nBo_Li\t2\t3\nAda\t1\tBo_Li\t12\nCy\t10\tAda\t2\n' + 2 * 'Cy\t1\t2\n' + 2 * 'Cy\t1\tAda\t1\n'
PEOPLE = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4])
KEYS = [f'{letter}/1' for letter in 'kjihgfedcba']


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / 'pairs.txt'
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


@pytest.mark.parametrize('text', [LFW, LFW.replace('\n', '\r\n') + '\n\n', '\ufeff' + LFW.replace('\t', '  ')])
def test_lfws_layout(tmp_path: Path, text: str) -> None:
    pairs = read_pairs(written(tmp_path, text))
    assert pairs.first[:4] == ['Ada_0001', 'Bo_Li_0002', 'Ada_0001', 'Cy_0010']
    assert pairs.second[:4] == ['Ada_0004', 'Bo_Li_0003', 'Bo_Li_0012', 'Ada_0002']
    assert pairs.same.tolist() == [True, True, False, False] * 2
    assert pairs.fold.tolist() == [0] * 4 + [1] * 4 and len(pairs) == 8


def test_one_fold_has_one_number_above_it(tmp_path: Path) -> None:
    pairs = read_pairs(written(tmp_path, '1\nAda\t1\t4\nAda\t1\tBo\t2\n'))
    assert pairs.fold.tolist() == [0, 0] and pairs.same.tolist() == [True, False]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    keys = ['a,b', 'c"d', 'ü/1', 'e f']
    pairs = Pairs(keys, keys[::-1], np.array([True, False, False, True]), np.array([0, 3, 3, 9]))
    write_pairs(tmp_path / 'pairs.csv', pairs)
    assert (tmp_path / 'pairs.csv').read_text(encoding='utf-8').startswith('fold,first,second,same\n0,"a,b",e f,1\n')
    found = read_pairs(tmp_path / 'pairs.csv')
    assert (found.first, found.second) == (pairs.first, pairs.second)
    assert found.same.tolist() == pairs.same.tolist() and found.fold.tolist() == pairs.fold.tolist()
    with pytest.raises(UserError, match=r"pairs\.csv' exists"):
        write_pairs(tmp_path / 'pairs.csv', pairs)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'line 1: this is neither'),
        ('ten folds\n', 'line 1: this is neither'),
        ('0\t300\n', 'line 1: this is neither'),
        ('-1\nAda 1 2\n', 'line 1: this is neither'),
        ('fold;first;second;same\n', 'line 1: this is neither'),
        ('999999999\t999999999\nAda\t1\t2\n', 'ends after 1 of'),
        (LFW.replace('Bo_Li\t2\t3', 'Bo_Li\t2\t3\t4'), "line 3: this is not a genuine pair 'Name 1 2'"),
        (LFW.replace('Cy\t10\tAda\t2', 'Cy\t10\t3'), "line 5: this is not an impostor pair 'Name 1 Other 2'"),
        (LFW.replace('Bo_Li\t2\t3', 'Bo_Li\t2\t3.5'), 'line 3: this is not a genuine pair'),
        (LFW.replace('Bo_Li\t2\t3', 'Bo_Li\t2\t' + 5000 * '9'), 'line 3: this is not a genuine pair'),
        (LFW.replace('Bo_Li\t2\t3', 'Bo_Li\t2\t02'), 'line 3: this is one image twice'),
        (LFW.replace('Ada\t1\tBo_Li\t12', 'Ada\t1\tAda\t2'), 'line 4: this is a pair of one person'),
        (LFW[: LFW.rindex('Cy')], 'ends after 7 of 8 pairs'),
        (LFW + 'Cy\t1\t2\n', 'line 10: this is more than the 8 pairs'),
        ('fold,first,second,same\n', 'holds no pair'),
        ('fold,first,second,same\n0,a,b,1\n0,a,b\n', 'line 3: this is not'),
        ('fold,first,second,same\n0,a,b,yes\n', 'line 2: this is not'),
        ('fold,first,second,same\n0,a,b,1\n\n', 'line 3: this is not'),
        ('fold,first,second,same\n-1,a,b,1\n', 'line 2: this is not'),
        ('fold,first,second,same\n0,a,a,1\n', 'line 2: this is not a pair of two images'),
        ('fold,first,second,same\n0,"a"b,c,1\n', 'line 2: this is no CSV'),
        (f'fold,first,second,same\n0,{200_000 * "a"},c,1\n', 'line 2: this is no CSV'),
        (b'1\n\xff\xfe\t1\t2\n', 'no text in UTF-8'),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_list_of_pairs(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_pairs(written(tmp_path, text))
    assert str(tmp_path / 'pairs.txt') in str(caught.value) and '\n' not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / 'none.txt', tmp_path):
        with pytest.raises(UserError, match='There is no list of pairs'):
            read_pairs(path)
    with pytest.raises(UserError, match='cannot be written'):
        write_pairs(tmp_path / 'none' / 'pairs.csv', Pairs([], [], np.empty(0, bool), np.empty(0, int)))


def test_drawn_pairs_are_of_their_kind_and_distinct() -> None:
    person = dict(zip(KEYS, PEOPLE, strict=True))
    pairs = draw_pairs(KEYS, PEOPLE, folds=3, per_fold=3, seed=5)
    assert pairs.fold.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert pairs.same.tolist() == 3 * (3 * [True] + 3 * [False])
    same = [person[one] == person[other] for one, other in zip(pairs.first, pairs.second, strict=True)]
    assert same == pairs.same.tolist()
    assert len({frozenset(pair) for pair in zip(pairs.first, pairs.second, strict=True)}) == 18


def test_drawing_depends_on_seed_and_images_alone() -> None:
    def drawn(order: np.ndarray, seed: int) -> list[tuple[str, str]]:
        pairs = draw_pairs([KEYS[place] for place in order], PEOPLE[order], 2, 4, seed)
        return list(zip(pairs.first, pairs.second, strict=True))

    ahead = drawn(np.arange(11), 0)
    assert drawn(np.random.default_rng(0).permutation(11), 0) == ahead != drawn(np.arange(11), 1)


def test_all_pairs_of_a_kind_can_be_asked_for_and_no_more() -> None:
    """Ten genuine pairs in all: 6 + 3 + 1."""
    pairs = draw_pairs(KEYS, PEOPLE, 1, 10)
    chosen = {frozenset(pair) for pair in zip(pairs.first[:10], pairs.second[:10], strict=True)}
    groups = ([key for key, person in zip(KEYS, PEOPLE, strict=True) if person == wanted] for wanted in range(5))
    assert chosen == {frozenset(pair) for group in groups for pair in itertools.combinations(group, 2)}
    with pytest.raises(UserError, match='has 10 genuine pairs, but 11 are asked for'):
        draw_pairs(KEYS, PEOPLE, 11, 1)
    with pytest.raises(UserError, match='has 0 impostor pairs'):
        draw_pairs(KEYS[:3], [7, 7, 7], 1, 2)
    with pytest.raises(UserError, match='has 0 genuine pairs'):
        draw_pairs([], [], 1, 2)


def test_every_pair_is_as_likely() -> None:
    """One pair drawn of 10 genuine and one of 45 impostor ones, 1,500 times: chi-squared below its 99.9 % quantiles."""
    draws = [draw_pairs(KEYS, PEOPLE, 1, 1, seed) for seed in range(1500)]
    for place, number, quantile in ((0, 10, 27.9), (1, 45, 78.7)):
        counts = Counter(frozenset((pairs.first[place], pairs.second[place])) for pairs in draws)
        assert len(counts) == number
        assert sum((count - 1500 / number) ** 2 / (1500 / number) for count in counts.values()) < quantile


def test_impostors_among_people_who_look_alike() -> None:
    """People on a circle at 0, 10, 30, 100 and 180 degrees: the nearest of each are written down by hand."""
    degrees = np.radians(np.array([0, 10, 30, 100, 180])[PEOPLE])
    embeddings = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    embeddings[1] = np.nan
    assert list(zip(*alike(PEOPLE, embeddings, 1), strict=True)) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert len(alike(PEOPLE, embeddings, 9)[0]) == 10
    order = np.random.default_rng(0).permutation(11)
    keys, people = [KEYS[place] for place in order], PEOPLE[order]
    # 4 x 3 + 3 x 2 + 2 x 1 + 1 x 1 pairs of neighbours, and 10 genuine ones.
    number = {frozenset(one) for one in ((0, 1), (1, 2), (2, 3), (3, 4))}
    drawn: set[frozenset[str]] = set()
    person = dict(zip(KEYS, PEOPLE.tolist(), strict=True))
    for seed in range(30):
        pairs = draw_pairs(keys, people, 1, 10, seed, nearest=1, embeddings=embeddings[order])
        impostors = [{one, other} for one, other in zip(pairs.first[10:], pairs.second[10:], strict=True)]
        assert all(frozenset(person[key] for key in pair) in number for pair in impostors)
        assert len(set(map(frozenset, impostors))) == 10
        drawn |= set(map(frozenset, impostors))
    assert len(drawn) == 21
    with pytest.raises(UserError, match='has 4 impostor pairs, but 5 are asked for'):
        draw_pairs(KEYS[:5], [0, 0, 0, 0, 1], 1, 5, nearest=1, embeddings=embeddings[:5])
    with pytest.raises(UserError, match="'nearest' of a list of pairs is 0"):
        draw_pairs(KEYS, PEOPLE, 1, 1, nearest=0, embeddings=embeddings)


def test_a_large_set_takes_no_list_of_its_pairs() -> None:
    """100,000 images of one person and one of another: 5e9 genuine pairs."""
    keys = [f'{number:06d}' for number in range(100_001)]
    pairs = draw_pairs(keys, [0] * 100_000 + [1], 10, 300)
    assert len(set(zip(pairs.first, pairs.second, strict=True))) == 6000
    assert {second for second, same in zip(pairs.second, pairs.same, strict=True) if not same} == {'100000'}


@pytest.mark.parametrize(
    ('wrong', 'name'), [({'folds': 0}, 'folds'), ({'per_fold': 0}, 'per_fold'), ({'seed': -1}, 'seed')]
)
def test_arguments_out_of_range(wrong: dict[str, int], name: str) -> None:
    with pytest.raises(UserError, match=f"'{name}' of a list of pairs is"):
        draw_pairs(KEYS, PEOPLE, **wrong)
