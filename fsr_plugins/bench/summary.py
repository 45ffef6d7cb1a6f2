"""From values of images and pairs to figures: means with intervals, and tests against a reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fsr_plugins.bench.options import Statistics
from fsr_plugins.bench.people import TestPeople
from fsr_plugins.bench.results import Figures, Measured, PairedDifference, PairedDifferences, Unit
from fsr_plugins.measuring.statistics import People, Values, bootstrap_interval, holm, people_of, sign_flip_test
from fsr_plugins.models.evaluation import HR

UNITS: tuple[Unit, ...] = ('images', 'pairs')


def figures(
    measured: Mapping[str, Measured], metrics: Sequence[str], options: Statistics, people: TestPeople
) -> Figures:
    """By entry and metric ``{"mean", "low", "high", "unit", "n", "people", "left_out"}``, what there is a value of.

    The mean is the metric's own figure; of a value that each image has, the mean of those that are finite, and
    ``left_out`` counts the others. ``low`` and ``high`` are None of a metric without values of its own for images or
    pairs, and where all values are one person's. ``people`` counts whose the finite values are.
    """
    found: Figures = {name: {} for name in measured}
    for metric in metrics:
        for unit in UNITS:
            columns = {name: _column(content, unit, metric) for name, content in measured.items()}
            columns = {name: column for name, column in columns.items() if len(column)}
            alike: dict[bytes, dict[str, Values]] = {}  # one resampling serves columns of the same images or pairs
            whose = {name: _people(measured[name], unit, metric, people) for name in columns}
            for name, column in columns.items():
                alike.setdefault(whose[name].tobytes(), {})[name] = column
            for group in alike.values():
                _intervals(found, metric, unit, group, whose[next(iter(group))], options)
        for name, content in measured.items():
            value = content['figures'].get(metric)
            if metric in found[name]:
                if found[name][metric]['unit'] == 'pairs' and value is not None:
                    found[name][metric]['mean'] = value  # of the folds, which need not be of one size
            elif metric in content['figures']:
                found[name][metric] = {
                    'mean': value, 'low': None, 'high': None, 'unit': None, 'n': None, 'people': None, 'left_out': 0,
                }  # fmt: skip
    return found


def _column(content: Measured, unit: Unit, metric: str) -> Values:
    """The values of images or pairs (n,); none of pairs of which the metric does not say whose they are."""
    if unit == 'pairs' and metric not in content['pair_keys']:
        return np.empty(0)
    return np.array(content[unit].get(metric, []), dtype=np.float64)  # None becomes NaN


def _people(content: Measured, unit: Unit, metric: str, people: TestPeople) -> People:
    """Whose the values of a column are: (n,) of images, (2, n) of pairs."""
    if unit == 'images':
        return people.of(content['keys'])
    return np.stack([people.of(side) for side in content['pair_keys'][metric]])


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _intervals(
    found: Figures, metric: str, unit: Unit, columns: Mapping[str, Values], people: People, options: Statistics
) -> None:
    low, high = bootstrap_interval(
        np.stack(list(columns.values()), axis=1),
        people,
        seed=options.seed,
        resamples=options.resamples,
        confidence=options.confidence,
    )
    for place, (name, column) in enumerate(columns.items()):
        finite = column[np.isfinite(column)]
        found[name][metric] = {
            'mean': float(finite.mean()) if len(finite) else None,
            'low': _finite(low[place]),
            'high': _finite(high[place]),
            'unit': unit,
            'n': len(column),
            'people': people_of(column, people),
            'left_out': len(column) - len(finite),
        }


def against(
    reference: str,
    measured: Mapping[str, Measured],
    metrics: Sequence[str],
    options: Statistics,
    people: TestPeople,
) -> PairedDifferences:
    """Every entry's paired differences from the reference, by entry and metric.

    Entries of which other pairs were compared than of the reference are left out.

    Returns:
        ``{"difference", "low", "high", "p", "p_holm", "people"}``: mean of entry minus reference with its bootstrap
        interval, the p-value of the sign-flip test, the same yet to be corrected (:func:`correct`), and whose the
        differences are. Interval and p are None where all are one person's.
    """
    found: PairedDifferences = {}
    for metric in metrics:
        for unit in UNITS:
            base = _column(measured[reference], unit, metric)
            if not len(base):
                continue
            differences = {
                name: _column(content, unit, metric) - base
                for name, content in measured.items()
                if name not in (reference, HR) and _same(content, measured[reference], unit, metric)
            }
            differences = {name: column for name, column in differences.items() if np.isfinite(column).any()}
            if differences:
                whose = _people(measured[reference], unit, metric, people)
                _differences(found, metric, differences, whose, options)
    return found


def _same(one: Measured, other: Measured, unit: Unit, metric: str) -> bool:
    """Whether two columns have a value each of the same images or pairs."""
    if len(_column(one, unit, metric)) != len(_column(other, unit, metric)):
        return False
    if unit == 'images':
        return one['keys'] == other['keys']
    return one['pair_keys'].get(metric) == other['pair_keys'].get(metric)


def _differences(
    found: PairedDifferences, metric: str, differences: Mapping[str, Values], people: People, options: Statistics
) -> None:
    low, high = bootstrap_interval(
        np.stack(list(differences.values()), axis=1),
        people,
        seed=options.seed,
        resamples=options.resamples,
        confidence=options.confidence,
    )
    raw = {
        name: sign_flip_test(column, people, seed=options.seed, resamples=options.resamples)
        for name, column in differences.items()
    }
    for place, (name, column) in enumerate(differences.items()):
        found.setdefault(name, {})[metric] = {
            'difference': float(np.nanmean(column)),
            'low': _finite(low[place]),
            'high': _finite(high[place]),
            'p': _finite(raw[name]),
            'p_holm': _finite(raw[name]),
            'people': people_of(column, people),
        }


def correct(compared: Sequence[tuple[str, PairedDifferences]]) -> None:
    """Corrects all p-values of a report by Holm, those of a metric together, whatever is compared with what.

    Two entries are one comparison, in however many tables it stands and whichever comes first.

    Args:
        compared: an entry, and by name those that were compared with it.
    """
    by_metric: dict[str, dict[frozenset[str], list[PairedDifference]]] = {}
    for base, name, found in ((base, name, found) for base, group in compared for name, found in group.items()):
        for metric, difference in found.items():
            by_metric.setdefault(metric, {}).setdefault(frozenset((base, name)), []).append(difference)
    for pairs in by_metric.values():
        raw = {pair: differences[0]['p'] for pair, differences in pairs.items()}
        for pair, p in holm({pair: p for pair, p in raw.items() if p is not None}).items():
            for difference in pairs[pair]:
                difference['p_holm'] = _finite(p)
