"""How sure a mean and a difference of means are: bootstrap intervals and sign-flip tests, over images or pairs.

``scipy.stats`` draws the same resamples, but it gives no interval to a set of one image, nor to a column of which a
resample has no value. Its permutation test draws other signs. Tests compare both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

#: Numbers that are drawn at once.
_AT_ONCE = 1 << 22


def bootstrap_interval(values: Values, *, seed: int, resamples: int, confidence: float) -> tuple[Values, Values]:
    """Percentile intervals of means (Efron & Tibshirani 1993, Sec. 13.3).

    The same resamples serve every column, so that differences of columns have intervals that belong together.

    Args:
        values: (n, K), NaN where there is none; such are left out of their column.
        seed: of the resamples.
        resamples: how many.
        confidence: e.g. 0.95.

    Returns:
        Lower and upper ends, (K,) each; NaN for a column without values.
    """
    known = np.isfinite(values)
    filled, weights = np.where(known, values, 0.0), known.astype(np.float64)
    random, means, count = np.random.default_rng(seed), [], len(values)
    step = max(1, _AT_ONCE // max(count, 1))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = random.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)
        with np.errstate(invalid='ignore', divide='ignore'):
            means.append((counts @ filled) / (counts @ weights))
    tail = 100 * (1 - confidence) / 2
    joined = np.concatenate(means)
    if not known.any(axis=0).all():
        joined = np.where(known.any(axis=0), joined, 0.0)
    low, high = np.nanpercentile(joined, [tail, 100 - tail], axis=0)
    absent = ~known.any(axis=0)
    return np.where(absent, np.nan, low), np.where(absent, np.nan, high)


def sign_flip_test(differences: Values, *, seed: int, resamples: int) -> float:
    """The two-sided p-value of a mean difference of pairs: how often flipped signs give one as large.

    Under the hypothesis of no difference a pair's two values may be exchanged, which flips the sign of its difference
    (Fisher's test). The observed signs count as one of the draws, so p is never 0 (Phipson & Smyth 2010).

    Args:
        differences: (n,), NaN where a pair lacks a value; those are left out.
        seed: of the signs.
        resamples: random sets of signs.

    Returns:
        p in (0, 1]; NaN without any pair.
    """
    known = differences[np.isfinite(differences)]
    if not len(known):
        return float('nan')
    random, count = np.random.default_rng(seed), len(known)
    # Against rounding: the sums of the same numbers in another order must count as equal.
    observed = abs(known.sum()) * (1 - 1e-12)
    step, as_large = max(1, _AT_ONCE // count), 0
    for start in range(0, resamples, step):
        signs = random.integers(2, size=(min(step, resamples - start), count), dtype=np.int8) * 2.0 - 1.0
        as_large += int((np.abs(signs @ known) >= observed).sum())
    return (as_large + 1) / (resamples + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction (1979) of the p-values of one family; NaN stay out of it."""
    ordered = sorted((p, name) for name, p in p_values.items() if np.isfinite(p))
    adjusted, largest = dict(p_values), 0.0
    for place, (p, name) in enumerate(ordered):
        largest = max(largest, min(1.0, p * (len(ordered) - place)))
        adjusted[name] = largest
    return adjusted
