"""From values of images and pairs to figures: means with intervals, and tests against a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fsr_plugins.bench.options import Statistics
from fsr_plugins.bench.results import Figures, Measured, PairedDifferences, Unit
from fsr_plugins.bench.statistics import Values, bootstrap_interval, holm, sign_flip_test
from fsr_plugins.models.evaluation import HR

UNITS: tuple[Unit, ...] = ('images', 'pairs')


def figures(measured: Mapping[str, Measured], metrics: Sequence[str], options: Statistics) -> Figures:
    """By entry and metric ``{"mean", "low", "high", "unit", "n", "left_out"}``; an entry lacks what it has no value of.

    The mean is the metric's own figure; of a value that each image has, the mean of those that are finite, and
    ``left_out`` counts the others. ``low`` and ``high`` are None of a metric without values of its own for images or
    pairs.
    """
    found: Figures = {name: {} for name in measured}
    for metric in metrics:
        for unit in UNITS:
            columns = {name: _column(content, unit, metric) for name, content in measured.items()}
            columns = {name: column for name, column in columns.items() if len(column)}
            for length in dict.fromkeys(map(len, columns.values())):  # one resampling serves columns of one length
                alike = {name: column for name, column in columns.items() if len(column) == length}
                _intervals(found, metric, unit, alike, options)
        for name, content in measured.items():
            value = content['figures'].get(metric)
            if metric in found[name]:
                if found[name][metric]['unit'] == 'pairs' and value is not None:
                    found[name][metric]['mean'] = value  # of the folds, which need not be of one size
            elif metric in content['figures']:
                found[name][metric] = {'mean': value, 'low': None, 'high': None, 'unit': None, 'n': None, 'left_out': 0}
    return found


def _column(content: Measured, unit: Unit, metric: str) -> Values:
    return np.array(content[unit].get(metric, []), dtype=np.float64)  # None becomes NaN


def _intervals(found: Figures, metric: str, unit: Unit, columns: Mapping[str, Values], options: Statistics) -> None:
    values = np.stack(list(columns.values()), axis=1)
    low, high = bootstrap_interval(
        values, seed=options.seed, resamples=options.resamples, confidence=options.confidence
    )
    for place, (name, column) in enumerate(columns.items()):
        finite = column[np.isfinite(column)]
        found[name][metric] = {
            'mean': float(finite.mean()) if len(finite) else None,
            'low': float(low[place]) if len(finite) else None,
            'high': float(high[place]) if len(finite) else None,
            'unit': unit,
            'n': len(column),
            'left_out': len(column) - len(finite),
        }


def against(
    reference: str, measured: Mapping[str, Measured], metrics: Sequence[str], options: Statistics
) -> PairedDifferences:
    """Every entry's paired differences from the reference, by entry and metric.

    Returns:
        ``{"difference", "low", "high", "p", "p_holm"}``: mean of entry minus reference with its bootstrap interval, the
        p-value of the sign-flip test, and that corrected by Holm over the entries.
    """
    found: PairedDifferences = {}
    for metric in metrics:
        for unit in UNITS:
            base = _column(measured[reference], unit, metric)
            others = {
                name: _column(content, unit, metric)
                for name, content in measured.items()
                if name not in (reference, HR)
            }
            paired = {name: column - base for name, column in others.items() if len(column) == len(base) > 0}
            differences = {name: column for name, column in paired.items() if np.isfinite(column).any()}
            if not differences:
                continue
            low, high = bootstrap_interval(
                np.stack(list(differences.values()), axis=1),
                seed=options.seed,
                resamples=options.resamples,
                confidence=options.confidence,
            )
            raw = {
                name: sign_flip_test(column, seed=options.seed, resamples=options.resamples)
                for name, column in differences.items()
            }
            corrected = holm(raw)
            for place, (name, column) in enumerate(differences.items()):
                found.setdefault(name, {})[metric] = {
                    'difference': float(np.nanmean(column)),
                    'low': float(low[place]),
                    'high': float(high[place]),
                    'p': raw[name],
                    'p_holm': corrected[name],
                }
    return found
