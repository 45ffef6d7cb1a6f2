"""Intervals and tests of people with one value each, against SciPy and against counting by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from fsr_plugins.measuring.statistics import People, bootstrap_interval, holm, sign_flip_test

RNG = np.random.default_rng(0)


def everybody(number: int) -> People:
    """People with one value each."""
    return np.arange(number, dtype=np.int64)


@pytest.mark.parametrize('number', [12, 150])
def test_intervals_agree_with_scipys(number: int) -> None:
    values = np.stack([RNG.normal(25, 3, number), RNG.exponential(1, number)], axis=1)
    low, high = bootstrap_interval(values, everybody(number), seed=0, resamples=20_000, confidence=0.9)
    # The percentile interval as wide as Student's t is: with the deviation of n - 1 instead of that of n.
    t = scipy.stats.t.ppf(0.95, number - 1) * np.sqrt(number / (number - 1))
    expanded = 1 - 2 * scipy.stats.norm.sf(t)
    for column in range(2):
        found = scipy.stats.bootstrap(
            (values[:, column],), np.mean, confidence_level=expanded, n_resamples=20_000, method='percentile', rng=1
        ).confidence_interval
        spread = found.high - found.low
        assert low[column] == pytest.approx(found.low, abs=0.03 * spread)
        assert high[column] == pytest.approx(found.high, abs=0.03 * spread)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(200):
        values = np.random.default_rng(seed).normal(1.0, 2.0, (60, 1))
        low, high = bootstrap_interval(values, everybody(60), seed=seed, resamples=400, confidence=0.9)
        held += int(low[0] <= 1.0 <= high[0])
    assert 165 <= held <= 195  # 180 are expected, with a deviation of 4


def test_missing_values_are_left_out_of_their_column_alone() -> None:
    values = RNG.normal(0, 1, (40, 3))
    values[::2, 1] = np.nan
    values[:, 2] = np.nan
    low, high = bootstrap_interval(values, everybody(40), seed=3, resamples=4000, confidence=0.95)
    alone = bootstrap_interval(values[1::2, 1:2], everybody(20), seed=4, resamples=4000, confidence=0.95)
    assert (low[1], high[1]) == pytest.approx((alone[0][0], alone[1][0]), abs=0.12)
    assert np.isnan([low[2], high[2]]).all() and np.isfinite(low[:2]).all()


def test_the_sign_flip_test_counts_as_by_hand() -> None:
    differences = RNG.normal(0.6, 1, 10)
    signs = np.array(list(itertools.product((-1, 1), repeat=10)))
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()
    assert sign_flip_test(differences, everybody(10), seed=0, resamples=50_000) == pytest.approx(exact, abs=0.006)
    found = scipy.stats.permutation_test(
        (differences,), np.mean, permutation_type='samples', n_resamples=np.inf, alternative='two-sided'
    )
    assert exact == pytest.approx(found.pvalue)


def test_the_sign_flip_test_agrees_with_the_t_test_on_many_pairs() -> None:
    for shift in (0.02, 0.1, 0.2):
        differences = RNG.normal(shift, 1, 400)
        t_test = scipy.stats.ttest_1samp(differences, 0).pvalue
        assert sign_flip_test(differences, everybody(400), seed=1, resamples=20_000) == pytest.approx(t_test, abs=0.02)


def test_no_difference_and_no_pairs() -> None:
    assert sign_flip_test(np.zeros(5), everybody(5), seed=0, resamples=100) == 1.0
    assert np.isnan(sign_flip_test(np.array([np.nan]), everybody(1), seed=0, resamples=100))
    assert sign_flip_test(np.full(30, 2.0), everybody(30), seed=0, resamples=999) == pytest.approx(1 / 1000)


def test_holm_by_hand() -> None:
    """The example of three: 0.01 times 3, 0.03 times 2, 0.04 times 1 but no less than the one before."""
    found = holm({'a': 0.04, 'b': 0.01, 'c': 0.03, 'd': float('nan')})
    assert [found[name] for name in 'abc'] == pytest.approx([0.06, 0.03, 0.06])
    assert np.isnan(found['d'])
