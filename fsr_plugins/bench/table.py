"""The tables of a report, as words: laid out once, for Markdown and for HTML."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

#: Digits behind the point by a metric's class; four for others.
_DIGITS = {'PSNR': 2, 'FID': 2, 'NIQE': 2, 'FIQ': 3, 'IdentitySimilarity': 3}
ARROWS = {'higher': '↑', 'lower': '↓'}
#: What stands where there is nothing.
NONE = '–'

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One figure in words, what is written small beneath it (perhaps in lines), and its place in its column."""

    text: str
    small: str = ''
    rank: Literal[0, 1, 2] = 0  #: 1 best, 2 second best
    stars: str = ''  #: how sure a difference is


@dataclass(frozen=True)
class Row:
    """A named row; ``marks`` are short words beside the name."""

    name: str
    cells: Sequence[Cell]
    marks: Sequence[str] = ()


@dataclass(frozen=True)
class ReportTable:
    """``columns`` are (title, what is written small beneath it)."""

    title: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=tuple)


def number(value: float | None, digits: int, sign: bool = False) -> str:
    """A figure with a fixed number of digits behind the point, a proper minus, and thousands apart."""
    if value is None or not math.isfinite(value):
        return NONE
    return f'{value:{"+" if sign else ""},.{digits}f}'.replace('-', '−')


def digits_of(results: Results, metric: str) -> int:
    """How many digits a metric's figures have."""
    return _DIGITS.get(results['metrics'][metric]['type'], 4)


def metric_title(results: Results, metric: str) -> str:
    """A metric's name with the direction of improvement."""
    return f'{metric} {ARROWS[results["metrics"][metric]["better"]]}'


def measured_metrics(results: Results) -> list[str]:
    """The metrics that are not absent."""
    return [name for name, about in results['metrics'].items() if about['absent'] is None]


def quality(results: Results) -> ReportTable:
    """Every entry's figures with their intervals; best and second best are those of the fair entries."""
    metrics = list(results['metrics'])
    ranks = {metric: _ranks(results, metric) for metric in metrics}
    rows = [
        Row(
            about['title'],
            [_figure(results, metric, about['figures'], ranks[metric].get(name, 0)) for metric in metrics],
            [
                mark
                for mark, given in (('reference', name == results['reference']), ('unfair', about['unfair']))
                if given
            ],
        )
        for name, about in results['entries'].items()
    ]
    if results['HR']['figures']:
        rows.append(Row('HR', [_figure(results, metric, results['HR']['figures'], 0) for metric in metrics]))
    confidence = f'{results["statistics"]["confidence"] * 100:g} %'
    units = {figure['unit'] for about in results['entries'].values() for figure in about['figures'].values()}
    pairs = ', of verification over pairs' if 'pairs' in units else ''
    notes = [f'Small: bootstrap {confidence} interval over the {results["test"]["images"]:,} test images{pairs}.']
    absent = [metric for metric, about in results['metrics'].items() if about['absent']]
    if absent:
        notes.append(f'Not measured, for want of what they need: {", ".join(absent)}; results.json says what to do.')
    notes += [
        f'{metric} of {about["title"]} leaves out {figure["left_out"]} of {figure["n"]} {figure["unit"]} that have no '
        'finite value.'
        for about in results['entries'].values()
        for metric, figure in about['figures'].items()
        if figure['left_out']
    ]
    return ReportTable(
        'Quality', [(metric_title(results, metric), _unit(results, metric)) for metric in metrics], rows, notes
    )


def _unit(results: Results, metric: str) -> str:
    about = results['metrics'][metric]
    if about['absent']:
        return 'absent'
    return 'dB' if about['type'] == 'PSNR' else ''


def _figure(results: Results, metric: str, figures: Mapping[str, Any], rank: Any) -> Cell:
    figure, digits = figures.get(metric), digits_of(results, metric)
    if figure is None:
        return Cell(NONE)
    small = '' if figure['low'] is None else f'{number(figure["low"], digits)} to {number(figure["high"], digits)}'
    return Cell(number(figure['mean'], digits), small, rank)


def _ranks(results: Results, metric: str) -> dict[str, int]:
    """The best and the second best fair entry, as they are printed: equal figures share a place."""
    digits = digits_of(results, metric)
    shown = {
        name: round(about['figures'][metric]['mean'], digits)
        for name, about in results['entries'].items()
        if not about['unfair'] and about['figures'].get(metric, {}).get('mean') is not None
    }
    order = sorted(set(shown.values()), reverse=results['metrics'][metric]['better'] == 'higher')
    places = {value: place for place, value in enumerate(order[:2], 1)}
    return {name: places[value] for name, value in shown.items() if value in places}


def against(results: Results) -> ReportTable | None:
    """Every entry's difference from the reference; None without one."""
    if results['reference'] is None:
        return None
    reference = results['entries'][results['reference']]['title']
    tested = {name: about for name, about in results['entries'].items() if about['against_reference']}
    metrics = [
        metric
        for metric in measured_metrics(results)
        if any(metric in about['against_reference'] for about in tested.values())
    ]
    if not metrics:
        return None
    rows = [
        Row(
            about['title'], [_difference(results, metric, about['against_reference'].get(metric)) for metric in metrics]
        )
        for about in tested.values()
    ]
    options = results['statistics']
    note = (
        f'Mean of the paired differences, entry minus {reference}; small: its bootstrap interval and p, two-sided, of '
        f'a sign-flip test on the differences of single images (pairs of verification), {options["resamples"]:,} '
        f'draws, seed {options["seed"]}, corrected over the entries by Holm. * p < 0.05, ** p < 0.01, *** p < 0.001.'
    )
    columns = [(f'Δ {metric_title(results, metric)}', _unit(results, metric)) for metric in metrics]
    return ReportTable(f'Against {reference}', columns, rows, [note])


def _difference(results: Results, metric: str, found: Mapping[str, Any] | None) -> Cell:
    if found is None:
        return Cell(NONE)
    digits, p = digits_of(results, metric), found['p_holm']
    stars = '*' * sum(p < bound for bound in (0.05, 0.01, 0.001))
    shown = 'p < 0.001' if p < 0.001 else f'p = {p:.3f}'
    small = f'{number(found["low"], digits, True)} to {number(found["high"], digits, True)}\n{shown}'
    return Cell(number(found['difference'], digits, True), small, stars=stars)


def costs(results: Results) -> ReportTable:
    """What every entry takes to run and to train."""
    batches = list(next(iter(results['entries'].values()))['cost']['speed'])
    columns = [('parameters', 'M'), ('MACs', 'G')]
    columns += [('images/s', f'batch {batch}') for batch in batches]
    columns += [('MiB', f'batch {batch}') for batch in batches]
    seen = '' if results['budget'] is None else results['budget']['unit']
    columns += [('seen', seen), ('training', 'min'), ('with teachers', 'min')]
    rows = []
    for about in results['entries'].values():
        cost, training = about['cost'], about['training']
        cells = [
            Cell(number(cost['parameters'] / 1e6, 3)),
            Cell(NONE if cost['macs'] is None else number(cost['macs'] / 1e9, 3)),
            *(Cell(number(cost['speed'][batch]['images_per_second'], 1)) for batch in batches),
            *(Cell(number(cost['speed'][batch]['peak_bytes'] / 2**20, 1)) for batch in batches),
        ]
        if training is None:
            cells += [Cell(NONE)] * 3
        else:
            unit = results['budget']['unit']
            minutes = [number(training[key] / 60, 1) for key in ('seconds', 'seconds_all')]
            cells += [Cell(number(training[unit], 0)), *map(Cell, minutes)]
        rows.append(Row(about['title'], cells))
    return ReportTable('Cost', columns, rows, _cost_notes(results))


def _cost_notes(results: Results) -> list[str]:
    height, width = results['lr_size']
    notes = [
        f'MACs are multiply-adds by mmengine for one LR image of {width}×{height} (products inside operations that it '
        'does not know are not counted). Images a second: median pass after a warm-up. MiB: the most that tensors '
        'take at once, weights and input included'
        + ('.' if results['device'] != 'cpu' else '; what an operation needs inside is not seen on a CPU.'),
        f'Speed was measured on: {machine_in_words(results["machine"])}. Training counts the stages that train the '
        'network itself; with teachers, every stage it needs.',
    ]
    machines = [
        machine for about in results['entries'].values() for machine in (about['training'] or {}).get('machines', [])
    ]
    for machine in {machine_in_words(machine): None for machine in machines}:
        notes.append(f'Trained on: {machine}.')
    notes += [
        f'{about["title"]}: MACs could not be counted ({about["cost"]["why_not"]}).'
        for about in results['entries'].values()
        if about['cost']['macs'] is None and about['arch'] is not None
    ]
    return notes


def machine_in_words(machine: Mapping[str, Any]) -> str:
    """Processor or GPU, cores and memory."""
    gpu = f'{machine["gpu"]}, ' if machine['gpu'] else ''
    return f'{gpu}{machine["cpu"]}, {machine["cores"]} cores, {machine["memory"]}, {machine["torch_threads"]} threads'


def papers(results: Results) -> list[ReportTable]:
    """The papers' own tables, each figure beside what is measured here of the entry that it belongs to."""
    return [_paper(results, paper) for paper in results['papers'].values()]


def _paper(results: Results, paper: Mapping[str, Any]) -> ReportTable:
    names = list(dict.fromkeys(name for row in paper['rows'].values() for name in row['figures']))
    beside = [name for name in names if name in measured_metrics(results) and any(
        row['entry'] in results['entries'] for row in paper['rows'].values())]  # fmt: skip
    columns: list[tuple[str, str]] = []
    for name in names:
        columns.append((name, 'as published'))
        if name in beside:
            columns.append((name, 'here'))
    rows = []
    for title, row in paper['rows'].items():
        cells = []
        for name in names:
            published = row['figures'].get(name)
            cells.append(Cell(NONE if published is None else str(published)))
            if name in beside:
                entry = results['entries'].get(row['entry'])
                cells.append(Cell(NONE) if entry is None else _figure(results, name, entry['figures'], 0))
        rows.append(Row(title, cells))
    notes = [f'Protocol of the paper: {paper["protocol"]}', f'Here otherwise: {paper["differs"]}']
    return ReportTable(f'{paper["table"]} (not measured here)', columns, rows, notes)


def adapted(results: Results) -> ReportTable | None:
    """The table of ``fsr oneshot``; None without one."""
    summary = results['oneshot']
    if summary is None:
        return None
    columns = list(dict.fromkeys(key for row in summary['table'] for key in row['figures']))
    rows = [Row(row['network'], [_deviating(row['figures'].get(key)) for key in columns]) for row in summary['table']]
    titles = [
        (f'{key} {ARROWS[summary["metrics"][key]["better"]]}' if key in summary['metrics'] else key, '')
        for key in columns
    ]
    return ReportTable(f"One-shot adaptation to '{summary['set']}'", titles, rows, [summary['how']])


def _deviating(figure: Mapping[str, float | None] | None) -> Cell:
    if figure is None:
        return Cell(NONE)
    return Cell(number(figure['mean'], 4), '' if figure['deviation'] is None else f'± {number(figure["deviation"], 4)}')
