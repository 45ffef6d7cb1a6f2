"""The tables of differences: every entry against the reference, and every ablation against what it is of."""

from __future__ import annotations

from fsr_plugins.bench.results import PairedDifference, Results
from fsr_plugins.bench.table import (
    NONE,
    ONE_PERSON,
    Cell,
    ReportTable,
    Row,
    digits_of,
    measured_metrics,
    metric_title,
    number,
    unit_of,
)
from fsr_plugins.measuring.statistics import FEW_PEOPLE


def against(results: Results) -> ReportTable | None:
    """Every entry's difference from the reference; None without one."""
    if results['reference'] is None:
        return None
    reference = results['entries'][results['reference']]['title']
    tested = [
        (about['title'], about['against_reference'])
        for about in results['entries'].values()
        if about['against_reference']
    ]
    metrics = [metric for metric in measured_metrics(results) if any(metric in found for _, found in tested)]
    if not metrics:
        return None
    rows = [
        Row(title, [_difference(results, metric, found.get(metric)) for metric in metrics]) for title, found in tested
    ]
    options = results['statistics']
    note = (
        f'Mean of the paired differences, entry minus {reference}; small: its bootstrap interval and p, two-sided, of '
        f"a sign-flip test on people's sums of differences, {options['resamples']:,} draws, seed {options['seed']}. "
        f'* p < 0.05, ** p < 0.01, *** p < 0.001.'
    )
    correction = (
        'All p-values of a metric are corrected together, over the entries, by Holm. Metrics are not corrected among '
        'each other: among many metrics some differences are below 0.05 by chance.'
    )
    studentised = [metric for metric in metrics if any(_few(found.get(metric)) for _, found in tested)]
    few = f'Fewer than {FEW_PEOPLE} people: p of {", ".join(studentised)} is of studentised sums (wild cluster).'
    columns = [(f'Δ {metric_title(results, metric)}', unit_of(results, metric)) for metric in metrics]
    return ReportTable(f'Against {reference}', columns, rows, [note, correction, *([few] if studentised else [])])


def ablations(results: Results) -> ReportTable | None:
    """Every ablation's difference from the entry that it is of; None without one."""
    found = [about for about in results['entries'].values() if about['of'] and about['against_of']]
    metrics = [
        name for name in measured_metrics(results) if any(name in (about['against_of'] or {}) for about in found)
    ]
    if not metrics:
        return None
    title = {name: about['title'] for name, about in results['entries'].items()}
    rows = [
        Row(
            f'{about["title"]} − {title[about["of"] or ""]}',
            [_difference(results, metric, (about['against_of'] or {}).get(metric)) for metric in metrics],
        )
        for about in found
    ]
    notes = [
        f'{about["title"]} is {title[about["of"] or ""]} with {"; ".join(about["changes"])}; nothing else differs.'
        for about in found
    ]
    columns = [(f'Δ {metric_title(results, metric)}', unit_of(results, metric)) for metric in metrics]
    return ReportTable('Ablations', columns, rows, notes)


def _few(found: PairedDifference | None) -> bool:
    return found is not None and 2 <= found['people'] < FEW_PEOPLE


def _difference(results: Results, metric: str, found: PairedDifference | None) -> Cell:
    if found is None:
        return Cell(NONE)
    digits, p = digits_of(results, metric), found['p_holm']
    if p is None:
        return Cell(number(found['difference'], digits, True), ONE_PERSON)
    stars = '*' * sum(p < bound for bound in (0.05, 0.01, 0.001))
    shown = 'p < 0.001' if p < 0.001 else f'p = {p:.3f}'
    small = f'{number(found["low"], digits, True)} to {number(found["high"], digits, True)}\n{shown}'
    return Cell(number(found['difference'], digits, True), small, stars=stars)
