"""Stages of one-shot adaptation against each other, exemplar by exemplar."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fsr_plugins.measuring.statistics import bootstrap_interval, sign_flip_test
from fsr_plugins.models.evaluation import Results
from fsr_plugins.values import Record

#: Of the intervals and tests.
SEED, RESAMPLES, CONFIDENCE = 0, 10_000, 0.95
#: What a difference is, for readers.
HOW = (
    'A difference is between two stages with the same exemplar, on the same test images. Its interval (95 %, '
    'bootstrap) and p (two-sided, random signs) are over the splits, whose exemplars count together, or over the '
    'exemplars where there is one split. They say how much depends on the choice of splits and exemplars, not on '
    'the people of the test images.'
)


def paired_differences(
    figures: Mapping[str, Mapping[str, Sequence[Results]]], network: str, metrics: Sequence[str]
) -> list[Record]:
    """Every further stage minus the first.

    Args:
        figures: by stage and split, those of each exemplar in the order drawn, which is the same in every stage.
        network: whose figures they are, as validation calls it.
        metrics: names of figures.
    Returns:
        ``{"stage", "minus", "figures": {metric: {"mean", "low", "high", "p", "splits", "exemplars"}}}``, a record a
        further stage; the mean is that of the splits' means. Interval and p are None with one exemplar in all.
    """
    first, *others = figures
    return [
        {
            'stage': stage,
            'minus': first,
            'figures': {
                metric: _difference(_values(figures[stage], network, metric), _values(figures[first], network, metric))
                for metric in metrics
                if _has(figures[first], network, metric) and _has(figures[stage], network, metric)
            },
        }
        for stage in others
    ]


def _has(by_split: Mapping[str, Sequence[Results]], network: str, metric: str) -> bool:
    return all(metric in results.get(network, {}) for split in by_split.values() for results in split)


def _values(by_split: Mapping[str, Sequence[Results]], network: str, metric: str) -> list[np.ndarray]:
    return [np.array([results[network][metric] for results in split], np.float64) for split in by_split.values()]


def _difference(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> Record:
    differences = [mine - theirs for mine, theirs in zip(one, other, strict=True)]
    units = np.array([split.mean() for split in differences]) if len(differences) > 1 else differences[0]
    whose = np.arange(len(units), dtype=np.int64)
    low, high = bootstrap_interval(units[:, None], whose, seed=SEED, resamples=RESAMPLES, confidence=CONFIDENCE)
    found = {
        'mean': float(units.mean()),
        'low': float(low[0]),
        'high': float(high[0]),
        'p': sign_flip_test(units, whose, seed=SEED, resamples=RESAMPLES),
    }
    return {
        **{name: value if math.isfinite(value) else None for name, value in found.items()},
        'splits': len(differences),
        'exemplars': sum(len(split) for split in differences),
    }


def cells(summary: Record, titles: Mapping[str, str]) -> list[dict[str, str]]:
    """The differences in words: rows of named cells, as those of the table.

    Args:
        titles: of the columns, by figure.
    """
    return [
        {
            '': f'{row["stage"]} − {row["minus"]}',
            **{title: _cell(row['figures'].get(key)) for key, title in titles.items()},
        }
        for row in summary['differences']
    ]


def _cell(found: Mapping[str, float | None] | None) -> str:
    if found is None:
        return '-'
    mean, low, high, p = (found[key] for key in ('mean', 'low', 'high', 'p'))
    if mean is None:
        return 'not finite'
    interval = '' if low is None or high is None else f' ({low:+.4f} to {high:+.4f}, p = {p:.3f})'
    return f'{mean:+.4f}{interval}'.replace('-', '−')
