"""Statistics by person: what is said of many images of few people, and of pairs that share them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fsr_plugins.bench import differences, summary, table, words
from fsr_plugins.bench.options import Statistics
from fsr_plugins.bench.people import TestPeople, people_by
from fsr_plugins.measuring.statistics import People, Values, bootstrap_interval, sign_flip_test

DRAWS = 400
RESAMPLES = 600


def images(seed: int, number: int) -> tuple[Values, People]:
    """Values of mean 0 of 1 to 20 images a person, which have half of their variance in common."""
    random = np.random.default_rng(seed)
    people = np.repeat(np.arange(number), random.integers(1, 21, number))
    return random.normal(0, 1, number)[people] + random.normal(0, 1, len(people)), people


def pairs(seed: int, number: int) -> tuple[Values, People]:
    """Values of mean 0 of 300 genuine and about 300 impostor pairs, which have their people in common."""
    random = np.random.default_rng(seed)
    genuine, one, other = random.integers(number, size=(3, 300))
    first, second = np.concatenate([genuine, one]), np.concatenate([genuine, other])
    people = np.stack([first, second])[:, (np.arange(600) < 300) | (first != second)]
    effect = random.normal(0, 1, number)
    common = np.where(people[0] == people[1], effect[people[0]], effect[people].sum(axis=0))
    return common + random.normal(0, 1, len(common)), people


def alone(values: Values) -> People:
    """Everything a person of its own, as if values were independent."""
    return np.arange(len(values), dtype=np.int64)


@pytest.mark.parametrize('number', [100, 12])
def test_intervals_hold_the_truth_of_images_that_people_share(number: int) -> None:
    held = np.zeros(2)
    for seed in range(DRAWS):
        values, people = images(seed, number)
        for way, whose in enumerate((people, alone(values))):
            low, high = bootstrap_interval(values[:, None], whose, seed=seed, resamples=RESAMPLES, confidence=0.95)
            held[way] += low[0] <= 0 <= high[0]
    assert 0.93 <= held[0] / DRAWS <= 0.97
    assert held[1] / DRAWS < 0.7


def test_intervals_hold_the_truth_of_pairs_that_people_share() -> None:
    held = np.zeros(2)
    for seed in range(DRAWS):
        values, people = pairs(seed, 100)
        for way, whose in enumerate((people, alone(values))):
            low, high = bootstrap_interval(values[:, None], whose, seed=seed, resamples=RESAMPLES, confidence=0.95)
            held[way] += low[0] <= 0 <= high[0]
    assert 0.93 <= held[0] / DRAWS <= 0.985  # the noise of a pair alone is overstated
    assert held[1] / DRAWS < 0.7


@pytest.mark.parametrize(('draw', 'number'), [(images, 100), (images, 12), (pairs, 100)])
def test_no_difference_is_found_as_often_as_the_level_says(draw: Any, number: int) -> None:
    found = np.zeros(2)
    for seed in range(DRAWS):
        differences, people = draw(seed, number)
        for way, whose in enumerate((people, alone(differences))):
            found[way] += sign_flip_test(differences, whose, seed=seed, resamples=RESAMPLES) < 0.05
    assert 0.03 <= found[0] / DRAWS <= 0.07
    assert found[1] / DRAWS > 0.3


@pytest.mark.parametrize('draw', [images, pairs])
@pytest.mark.parametrize('number', [8, 60])
def test_the_order_does_not_matter(draw: Any, number: int) -> None:
    values, people = draw(0, number)
    order = np.random.default_rng(1).permutation(len(values))
    found = []
    for rows in (np.arange(len(values)), order):
        low, high = bootstrap_interval(values[rows, None], people[..., rows], seed=2, resamples=99, confidence=0.9)
        found.append((low[0], high[0], sign_flip_test(values[rows], people[..., rows], seed=2, resamples=99)))
    assert found[0] == pytest.approx(found[1], rel=1e-12)


def test_resamples_are_those_of_people_by_hand() -> None:
    """All 27 resamples of three people, of images and of pairs, give the distribution that is drawn from."""
    values, people = np.array([1.0, 2.0, 6.0, 0.0, 3.0]), np.array([0, 0, 1, 2, 2])
    both = np.stack([people, np.array([0, 1, 1, 1, 0])])  # genuine, impostor, genuine, impostor, impostor
    by_images, by_pairs = [], []
    for drawn in itertools.product(range(3), repeat=3):
        images_drawn = np.concatenate([values[people == person] for person in drawn])
        by_images.append(images_drawn.mean())
        count = np.bincount(drawn, minlength=3)
        genuine, impostor = np.array([count[0], count[1]]), np.array([count[0] * count[1], count[2] * count[1], 0])
        impostor[2] = count[2] * count[0]
        if genuine.sum() and impostor.sum():
            by_pairs.append(
                2 / 5 * (genuine @ values[[0, 2]]) / genuine.sum()
                + 3 / 5 * (impostor @ values[[1, 3, 4]]) / impostor.sum()
            )
    for whose, exact in ((people, by_images), (both, by_pairs)):
        low, high = bootstrap_interval(values[:, None], whose, seed=0, resamples=2000, confidence=0.99)
        assert (low[0], high[0]) == pytest.approx((min(exact), max(exact)))


def test_few_people_are_studentised_as_by_hand() -> None:
    """All signs of nine people, by the formula of the wild cluster bootstrap on the images themselves."""
    differences, people = images(5, 9)
    differences = differences + 0.5

    def t(values: Values) -> float:
        left = values - values.mean()
        return abs(values.sum()) / np.sqrt(sum(left[people == person].sum() ** 2 for person in range(9)))

    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=9)))
    exact = np.mean([t(each[people] * differences) >= t(differences) - 1e-9 for each in signs])
    assert 0.01 < exact < 0.99
    assert sign_flip_test(differences, people, seed=0, resamples=50_000) == pytest.approx(exact, abs=0.008)


def test_a_clear_difference_of_pairs_is_found() -> None:
    differences, people = pairs(0, 100)
    assert sign_flip_test(differences + 1, people, seed=0, resamples=2000) < 0.01


@pytest.mark.parametrize(
    ('keys', 'groups'),
    [
        (['Al_Gore/Al_Gore_0001', 'Al_Gore/Al_Gore_0002', 'Al_Pacino/Al_Pacino_0001'], [0, 0, 1]),
        (['0/Al_Gore_0001', '1/Al_Gore_0002', '1/Bono_0001'], [0, 0, 1]),
        (['yaleB01_P00A+000E+00', 'yaleB11_P00A+000E+00', 'yaleB01_P05A+010E-20'], [0, 1, 0]),
        (['IMG_0001', 'IMG_0002', 'face_0001', 'face_0002'], [1, 2, 3, 4]),
        (['00001', '00002'], [0, 1]),
    ],
)
def test_people_are_told_by_keys_that_name_them(keys: list[str], groups: list[int]) -> None:
    found = people_by(keys)
    assert found.source == 'keys'
    same = np.equal.outer(groups, groups)
    assert (np.equal.outer(found.of(keys), found.of(keys)) == same).all()
    assert found.count == len(set(groups)) and sorted(set(found.index.values())) == list(range(found.count))
    shuffled = people_by(keys[::-1])
    assert shuffled.index == found.index


def test_identities_of_the_store_come_before_keys() -> None:
    found = people_by(['Al_Gore_0001', 'Al_Gore_0002', 'x'], np.array([7, 3, 7]))
    assert (found.source, found.alone, found.count) == ('identities', 0, 2)
    assert found.as_dict()['index'] == [1, 0, 1]


def measured(values: npt.ArrayLike, **verified: Any) -> Any:
    content = {'figures': {'psnr': 0.0}, 'keys': list('abcdef'), 'images': {'psnr': list(np.asarray(values))}}
    return {**content, 'pairs': {}, 'pair_keys': {}, **verified}


def results_of(people: TestPeople, entries: dict[str, Any]) -> Any:
    options = Statistics(resamples=200)
    figures = summary.figures({**entries, 'HR': measured([])}, ['psnr'], options, people)
    tested = summary.against('a', entries, ['psnr'], options, people)
    summary.correct([('a', tested)])
    about = {'type': 'PSNR', 'better': 'higher', 'absent': None, 'convention': 'RGB'}
    return {
        'metrics': {'psnr': about},
        'statistics': {'confidence': 0.95, 'resamples': 200, 'seed': 0},
        'test': {'images': 6, 'people': people.as_dict()},
        'reference': 'a',
        'HR': {'figures': {}},
        'quality': 'psnr',
        'entries': {
            name: {
                'title': name,
                'unfair': None,
                'kind': 'checkpoint',
                'arch': None,
                'seeds': [],
                'spread': {},
                'figures': figures[name],
                'against_reference': tested.get(name),
            }
            for name in entries
        },
    }


def test_one_person_has_no_interval_and_the_report_says_so() -> None:
    entries = {'a': measured([1, 2, 3, 4, 5, 6]), 'b': measured([2, 4, 3, 5, 6, 9])}
    results = results_of(people_by(list('abcdef'), np.zeros(6, np.int64)), entries)
    figure, difference = (
        results['entries']['b']['figures']['psnr'],
        results['entries']['b']['against_reference']['psnr'],
    )
    assert (figure['low'], figure['high'], figure['people']) == (None, None, 1)
    assert (difference['low'], difference['p'], difference['p_holm']) == (None, None, None)
    quality, against = table.quality(results), differences.against(results)
    assert against is not None
    assert quality.notes[0].startswith('No intervals: the 6 test images of 1 person')
    assert [row.cells[0].small for row in (*quality.rows, *against.rows)] == ['no interval: one person'] * 3
    assert against.rows[0].cells[0].stars == ''


def test_the_report_says_how_many_people_and_what_is_corrected() -> None:
    entries = {name: measured(np.arange(6) + shift) for name, shift in (('a', 0), ('b', 1), ('c', 2))}
    results = results_of(people_by(list('abcdef'), np.array([0, 0, 1, 1, 2, 2])), entries)
    found = results['entries']['b']['figures']['psnr']
    assert (found['n'], found['people']) == (6, 3) and found['low'] < found['mean'] < found['high']
    against = differences.against(results)
    assert against is not None
    assert 'over the people of the 6 test images of 3 people' in table.quality(results).notes[0]
    assert any('Metrics are not corrected among each other' in note for note in against.notes)
    assert any('Fewer than 30 people: p of psnr' in note for note in against.notes)
    assert words.people_in_words(results['test']['people']) == '3, by the identities of the store'
    for about in (results['entries'][name]['against_reference']['psnr'] for name in 'bc'):
        assert about['p_holm'] == pytest.approx(min(1, 2 * about['p']))


def test_pairs_are_of_the_people_of_their_keys() -> None:
    people = people_by(list('abcdef'), np.array([0, 0, 1, 1, 2, 2]))
    pair_keys = {'verification': [list('abca'), list('bdde')]}

    def entry(right: list[float], **others: Any) -> Any:
        verified = {'pairs': {'verification': right}, 'pair_keys': pair_keys, **others}
        return measured([], figures={'verification': np.mean(right)}, images={}, **verified)

    entries = {'a': entry([1, 0, 1, 0]), 'b': entry([1, 1, 1, 0]),
               'c': entry([1, 1, 1, 0], pair_keys={'verification': [list('abca'), list('bddf')]})}  # fmt: skip
    options = Statistics(resamples=300)
    figure = summary.figures(entries, ['verification'], options, people)['a']['verification']
    whose = np.array([[0, 0, 1, 0], [0, 1, 1, 2]])
    low, high = bootstrap_interval(
        np.array([[1.0], [0], [1], [0]]), whose, seed=options.seed, resamples=300, confidence=options.confidence
    )
    assert (figure['unit'], figure['n'], figure['people']) == ('pairs', 4, 3)
    assert (figure['low'], figure['high']) == (low[0], high[0])
    tested = summary.against('a', entries, ['verification'], options, people)
    assert list(tested) == ['b'] and tested['b']['verification']['people'] == 3  # other pairs are not compared


def test_pairs_of_unknown_people_have_no_interval() -> None:
    """A metric that does not name its pairs' images keeps its figure."""
    content = measured([], figures={'own': 0.75}, images={}, pairs={'own': [1.0, 1.0, 1.0, 0.0]})
    people = people_by(list('abcdef'))
    figure = summary.figures({'a': content}, ['own'], Statistics(), people)['a']['own']
    assert (figure['mean'], figure['low'], figure['people']) == (0.75, None, None)
    assert summary.against('a', {'a': content, 'b': content}, ['own'], Statistics(), people) == {}
