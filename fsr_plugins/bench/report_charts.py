"""The charts of a report and their captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fsr_plugins.bench import charts, table
from fsr_plugins.bench.curves import Line
from fsr_plugins.bench.results import Results


@dataclass(frozen=True)
class Chart:
    """A drawing that stands in a page as it is, and its caption."""

    svg: Markup
    caption: str


def quality_charts(results: Results) -> list[Chart]:
    """Every entry's quality with its interval, the best first; empty if no entry has a value."""
    metric = results['quality']
    points = _points(results, dict.fromkeys(results['entries'], 1.0))  # there is no other axis
    if not points:
        return []
    points.sort(key=lambda point: point.y, reverse=results['metrics'][metric]['better'] == 'higher')
    title = table.metric_title(results, metric)
    description = f'{metric} of every entry with its interval, the best first.'
    drawn = charts.interval_plot(points, title, table.digits_of(results, metric), description)
    confidence = results['statistics']['confidence'] * 100
    caption = f'{title} with its {confidence:g} % interval, the best first; the reference in another colour.'
    return [Chart(Markup(drawn), caption + _outliers(points))]


def cost_charts(results: Results) -> list[Chart]:
    """Quality against multiply-adds, and against images a second at each batch size."""
    metric, entries = results['quality'], results['entries']
    title = table.metric_title(results, metric)
    costs = {name: cost for name, about in entries.items() if (cost := about['cost']) and about['arch'] is not None}
    axes: dict[str, dict[str, float]] = {
        'MACs an image in G': {name: cost['macs'] / 1e9 for name, cost in costs.items() if cost['macs']}
    }
    for batch in dict.fromkeys(batch for cost in costs.values() for batch in cost['speed']):
        axes[f'images a second at batch {batch}'] = {
            name: cost['speed'][batch]['images_per_second'] for name, cost in costs.items()
        }
    without_network = [
        (about['title'], about['figures'].get(metric)) for about in entries.values() if not about['arch']
    ]
    baselines = {name: figure['mean'] for name, figure in without_network if figure and figure['mean'] is not None}
    found = []
    for name, values in axes.items():
        points = _points(results, values)
        if points:
            description = f'{metric} against {name}, a point an entry.'
            drawn = charts.scatter(points, name, title, description, baselines)
            caption = f'{title} against {name}. Dashed: without a network here.{_outliers(points)}'
            found.append(Chart(Markup(drawn), caption))
    return found


def curve_charts(curves: Mapping[str, Line], caption: str) -> list[Chart]:
    """A small chart for each learning curve, by the entries' titles, among all the others.

    Args:
        caption: what the curves show, and over what.
    """
    if not curves:
        return []
    y, x = charts.curve_axes(curves)
    return [
        Chart(Markup(charts.curves(curves, name, y, x, f'{caption}: {name}, ending at {line[-1][1]:.4g}.')), name)
        for name, line in curves.items()
    ]


def _points(results: Results, x: Mapping[str, float]) -> list[charts.Point]:
    metric = results['quality']
    points = []
    for name, about in results['entries'].items():
        figure = about['figures'].get(metric)
        if figure is not None and figure['mean'] is not None and name in x:
            strong = name == results['reference']
            points.append(charts.Point(about['title'], x[name], figure['mean'], figure['low'], figure['high'], strong))
    return points


def _outliers(points: Sequence[charts.Point]) -> str:
    return ' Triangle: outside the axis.' if charts.outliers([point.y for point in points]) else ''
