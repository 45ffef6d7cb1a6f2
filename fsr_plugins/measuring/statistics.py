"""How sure a mean and a difference of means are: bootstrap intervals and sign-flip tests, over people.

Images of one person resemble each other, and so do pairs that share a person. Resamples and signs are therefore drawn
for people, never for single images or pairs. Every function takes ``people``, integers that say whose a value is:
(n,) of images, (2, n) of pairs, one row a side. Equal numbers are one person. The order of the values does not matter.

``scipy.stats`` resamples single values and flips the signs of single values. Tests compare both where everybody has
one image.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import scipy.stats

Values = npt.NDArray[np.float64]
People = npt.NDArray[np.int64]

#: With fewer people than these a test is studentised: signs of few people are too coarse for sums of unequal size.
FEW_PEOPLE = 30
#: Numbers that are drawn at once.
_AT_ONCE = 1 << 22
#: Against rounding: the sums of the same numbers in another order must count as equal.
_ROUNDING = 1e-9


def bootstrap_interval(
    values: Values, people: People, *, seed: int, resamples: int, confidence: float
) -> tuple[Values, Values]:
    """Expanded percentile intervals of means, by resamples of people (Field & Welsh 2007; Hesterberg 2015).

    A person who is drawn brings all images along. A pair counts as often as the product of its two people's draws
    says, a pair of one person as often as that person's. Pairs of one person and pairs of two keep their shares, as a
    protocol fixes them. The percentiles lie further out for few people, as Student's t lies further out than the normal
    distribution. The same resamples serve every column, so that differences of columns have intervals that belong
    together.

    Args:
        values: (n, K), NaN where there is none; such are left out of their column.
        people: (n,) or (2, n).
        seed: of the resamples.
        resamples: how many.
        confidence: e.g. 0.95.

    Returns:
        Lower and upper ends, (K,) each; NaN for a column with the values of fewer than two people.
    """
    known = np.isfinite(values)
    people, count = _ranked(people)
    filled, weights = np.where(known, values, 0.0), known.astype(np.float64)
    means_of = (_means_of_images if people.ndim == 1 else _means_of_pairs)(filled, weights, people, count)
    random, means = np.random.default_rng(seed), []
    for rows in _portions(resamples, max(count, people.shape[-1] if people.ndim == 2 else 0)):
        drawn = random.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)
        with np.errstate(invalid='ignore', divide='ignore'):
            means.append(means_of(counts))
    joined = np.concatenate(means)
    low, high = np.full((2, values.shape[1]), np.nan)
    for column in range(values.shape[1]):
        number = people_of(values[:, column], people)
        if number >= 2:
            tail = 100 * _expanded_tail(number, confidence)
            low[column], high[column] = np.nanpercentile(joined[:, column], [tail, 100 - tail])
    return low, high


def sign_flip_test(differences: Values, people: People, *, seed: int, resamples: int) -> float:
    """The two-sided p-value of a mean difference: how often signs drawn for people give one as large.

    Under the hypothesis of no difference a person's two sets of values may be exchanged, which flips the sign of the
    person's sum of differences (Fisher's test). The observed signs count as one of the draws, so p is never 0 (Phipson
    & Smyth 2010). With fewer than :data:`FEW_PEOPLE` the sums are studentised by their cluster-robust deviation: the
    wild cluster bootstrap with Rademacher weights (Cameron, Gelbach & Miller 2008).

    A pair of two people adds to the sums of both. Its own square then counts twice in the variance of the flipped sum;
    the observed sum is set in proportion to the variance without that (Aronow, Samii & Assenova 2015).

    Args:
        differences: (n,), NaN where a value lacks; those are left out.
        people: (n,) or (2, n).
        seed: of the signs.
        resamples: random sets of signs.

    Returns:
        p in (0, 1]; NaN with the differences of fewer than two people.
    """
    known = np.isfinite(differences)
    if people_of(differences, people) < 2:
        return float('nan')
    differences = differences[known]
    people, count = _ranked(people[..., known])
    sums, sizes, two = _by_person(differences, people, count)
    squares = float(sums @ sums)
    observed = float(differences.sum())
    if two.any() and squares > 0:
        own = float(differences @ differences)
        observed *= np.sqrt(squares / np.clip(squares - float((differences[two] ** 2).sum()), min(own, squares), None))
    few = count < FEW_PEOPLE

    def statistic(signed: Values, total: Values) -> Values:
        if not few:
            return np.abs(total)
        mean = signed.sum(axis=1, keepdims=True) / sizes.sum()
        left = ((signed - sizes * mean) ** 2).sum(axis=1)
        # Without a spread the ratio is bounded, and only sums that are as one-sided as the observed ones reach it.
        return np.abs(total) / np.sqrt(np.maximum(left, max(_ROUNDING**2 * squares, np.finfo(np.float64).tiny)))

    bound = float(statistic(sums[None], np.array([observed]))[0]) * (1 - _ROUNDING)
    random, as_large = np.random.default_rng(seed), 0
    for rows in _portions(resamples, count):
        signs = np.asarray(random.integers(2, size=(rows, count), dtype=np.int8) * 2.0 - 1.0, np.float64)
        as_large += int((statistic(signs * sums if few else signs, signs @ sums) >= bound).sum())
    return (as_large + 1) / (resamples + 1)


def people_of(values: Values, people: People) -> int:
    """How many people have a finite value in a column (n,), on either side of a pair."""
    return len(np.unique(people[..., np.isfinite(values)]))


Key = TypeVar('Key', bound=Hashable)


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Holm's step-down correction (1979) of the p-values of one family; NaN stay out of it."""
    ordered = sorted(((p, name) for name, p in p_values.items() if np.isfinite(p)), key=lambda each: each[0])
    adjusted, largest = dict(p_values), 0.0
    for place, (p, name) in enumerate(ordered):
        largest = max(largest, min(1.0, p * (len(ordered) - place)))
        adjusted[name] = largest
    return adjusted


def _ranked(people: People) -> tuple[People, int]:
    """People as numbers from 0 on in the order of the given ones, and how many they are."""
    names, ranks = np.unique(people, return_inverse=True)
    return ranks.reshape(people.shape).astype(np.int64), len(names)


def _portions(number: int, width: int) -> Iterator[int]:
    """Numbers of rows of ``width`` that are drawn at once, ``number`` together."""
    step = max(1, _AT_ONCE // max(width, 1))
    yield from (min(step, number - start) for start in range(0, number, step))


def _expanded_tail(people: int, confidence: float) -> float:
    """The share of resamples beyond one end."""
    t = scipy.stats.t.ppf((1 - confidence) / 2, people - 1)
    return float(scipy.stats.norm.cdf(np.sqrt(people / (people - 1)) * t))


def _by_person(values: Values, people: People, count: int) -> tuple[Values, Values, npt.NDArray[np.bool_]]:
    """Sums (count,) and numbers (count,) of the values that a person has part in, and which values (n,) two have."""
    first, second = (people, people) if people.ndim == 1 else people
    two = first != second
    summed: list[Values] = []
    for each in (values, np.ones(len(values))):
        of_second: Values = np.bincount(second[two], each[two], count).astype(np.float64)
        summed.append(np.bincount(first, each, count).astype(np.float64) + of_second)
    return summed[0], summed[1], np.asarray(two, np.bool_)


def _means_of_images(filled: Values, weights: Values, people: People, count: int) -> Callable[[Values], Values]:
    """Means (rows, K) as a function of how often each person is drawn (rows, count)."""
    sums, sizes = np.zeros((2, count, filled.shape[1]))
    np.add.at(sums, people, filled)
    np.add.at(sizes, people, weights)
    return lambda counts: (counts @ sums) / (counts @ sizes)


def _means_of_pairs(filled: Values, weights: Values, people: People, count: int) -> Callable[[Values], Values]:
    """As :func:`_means_of_images`; each kind of pairs has its own mean, and they are joined by their shares."""
    first, second = people
    kinds = [kind for kind in (first == second, first != second) if kind.any()]
    shares = [weights[kind].sum(axis=0) / np.maximum(weights.sum(axis=0), 1) for kind in kinds]

    def means(counts: Values) -> Values:
        total = np.zeros((len(counts), filled.shape[1]))
        for kind, share in zip(kinds, shares, strict=True):
            drawn = counts[:, first[kind]]
            if (first[kind] != second[kind]).any():
                drawn = drawn * counts[:, second[kind]]
            total += np.where(share > 0, share * (drawn @ filled[kind]) / (drawn @ weights[kind]), 0.0)
        return total

    return means
