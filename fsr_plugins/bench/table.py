"""The tables of a report, as words: laid out once, for Markdown and for HTML."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fsr_plugins.bench.results import EntryResults, Figure, PaperResults, Results

#: A place in a column: 1 best, 2 second best, 0 another or none.
Rank = Literal[0, 1, 2]
#: Digits behind the point by a metric's class; four for others.
_DIGITS = {'PSNR': 2, 'FID': 2, 'NIQE': 2, 'FIQ': 3, 'IdentitySimilarity': 3}
ARROWS = {'higher': '↑', 'lower': '↓'}
#: What stands where there is nothing.
NONE = '–'
#: What stands where an interval would.
ONE_PERSON = 'no interval: one person'


@dataclass(frozen=True)
class Cell:
    """One figure in words, what is written small beneath it (perhaps in lines), and its place in its column."""

    text: str
    small: str = ''
    rank: Rank = 0
    stars: str = ''  #: how sure a difference is


@dataclass(frozen=True)
class Row:
    """A named row; ``marks`` are short words beside the name, ``small`` is written small beneath it."""

    name: str
    cells: Sequence[Cell]
    marks: Sequence[str] = ()
    small: str = ''

    @property
    def marked(self) -> str:
        """The name and its marks, where nothing can be laid out."""
        return ' '.join([self.name, *(f'({mark})' for mark in self.marks)])


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
            [
                _figure(results, metric, about['figures'], ranks[metric].get(name, 0), about['spread'].get(metric))
                for metric in metrics
            ],
            _marks(results, name),
            _not_above(results, name),
        )
        for name, about in results['entries'].items()
    ]
    if results['HR']['figures']:
        rows.append(Row('HR', [_figure(results, metric, results['HR']['figures']) for metric in metrics]))
    notes = [_intervals_in_words(results)]
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
        'Quality', [(metric_title(results, metric), unit_of(results, metric)) for metric in metrics], rows, notes
    )


def _marks(results: Results, name: str) -> list[str]:
    """Short words beside an entry's name."""
    about = results['entries'][name]
    given = (('reference', name == results['reference']), ('unfair', about['unfair']))
    marks = [mark for mark, is_given in given if is_given]
    if len(about['seeds']) > 1:
        marks.append(f'{len(about["seeds"])} seeds')
    return marks


def _not_above(results: Results, name: str) -> str:
    """The baselines that an entry does not beat by the metric of quality; none for a baseline."""
    about, metric = results['entries'][name], results['quality']
    sign = 1 if results['metrics'][metric]['better'] == 'higher' else -1
    own = _mean(about, metric)
    if is_baseline(about) or own is None:
        return ''
    baselines = {other['title']: _mean(other, metric) for other in results['entries'].values() if is_baseline(other)}
    found = [title for title, theirs in baselines.items() if theirs is not None and sign * own <= sign * theirs]
    return f'not above {"; ".join(found)}' if found else ''


def _mean(about: EntryResults, metric: str) -> float | None:
    figure = about['figures'].get(metric)
    return None if figure is None else figure['mean']


def is_baseline(about: EntryResults) -> bool:
    """Whether an entry is one that every method has to beat: bicubic, ridge regression, the mean face."""
    return about['kind'] in ('bicubic', 'bicubic_matched') or (about['arch'] or {}).get('type') == 'LinearFace'


def _intervals_in_words(results: Results) -> str:
    confidence, people = f'{results["statistics"]["confidence"] * 100:g} %', results['test']['people']['count']
    over = f'{results["test"]["images"]:,} test images of {counted(people, "person", "people")}'
    if people < 2:
        return f'No intervals: the {over} say nothing of other people. Test on more people.'
    every = [figure for about in results['entries'].values() for figure in about['figures'].values()]
    verified = {figure['people'] for figure in every if figure['unit'] == 'pairs' and figure['people'] is not None}
    pairs = f'; of verification, over the pairs of {_range(verified)} people' if verified else ''
    return f'Small: bootstrap {confidence} interval over the people of the {over}{pairs}.'


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f'{number:,} {one if number == 1 else many}'


def _range(numbers: Collection[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f'{low:,}' if low == high else f'{low:,} to {high:,}'


def unit_of(results: Results, metric: str) -> str:
    """What is written beneath a metric's name: its unit, or that it is absent."""
    about = results['metrics'][metric]
    if about['absent']:
        return 'absent'
    return 'dB' if about['type'] == 'PSNR' else ''


def _figure(
    results: Results, metric: str, figures: Mapping[str, Figure], rank: Rank = 0, spread: float | None = None
) -> Cell:
    figure, digits = figures.get(metric), digits_of(results, metric)
    if figure is None:
        return Cell(NONE)
    small = '' if figure['low'] is None else f'{number(figure["low"], digits)} to {number(figure["high"], digits)}'
    if figure['people'] == 1:
        small = ONE_PERSON
    if spread is not None:
        small = f'{small}\n± {number(spread, digits)} over seeds'.strip()
    return Cell(number(figure['mean'], digits), small, rank)


def _ranks(results: Results, metric: str) -> dict[str, Rank]:
    """The best and the second best fair entry, as they are printed: equal figures share a place."""
    digits = digits_of(results, metric)
    shown = {
        name: round(mean, digits)
        for name, about in results['entries'].items()
        if not about['unfair'] and metric in about['figures']
        if (mean := about['figures'][metric]['mean']) is not None
    }
    order = sorted(set(shown.values()), reverse=results['metrics'][metric]['better'] == 'higher')
    best_two: tuple[Rank, Rank] = (1, 2)
    places = dict(zip(order, best_two, strict=False))
    return {name: places[value] for name, value in shown.items() if value in places}


def papers(results: Results) -> list[ReportTable]:
    """The papers' own tables, each figure beside what is measured here of the entry that it belongs to."""
    return [_paper(results, paper) for paper in results['papers'].values()]


def _paper(results: Results, paper: PaperResults) -> ReportTable:
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
                entry = results['entries'].get(row['entry'] or '')
                cells.append(Cell(NONE) if entry is None else _figure(results, name, entry['figures']))
        rows.append(Row(title, cells))
    notes = [f'Protocol of the paper: {paper["protocol"]}', f'Here otherwise: {paper["differs"]}']
    return ReportTable(f'{paper["table"]} (not measured here)', columns, rows, notes)


def _paired(found: Mapping[str, float | None] | None) -> Cell:
    """A difference of two stages of one-shot adaptation."""
    if found is None:
        return Cell(NONE)
    low, high, p = found['low'], found['high'], found['p']
    small = '' if p is None else f'{number(low, 4, True)} to {number(high, 4, True)}\np = {p:.3f}'
    return Cell(number(found['mean'], 4, True), small)


def adapted(results: Results) -> ReportTable | None:
    """The table of ``fsr oneshot``; None without one."""
    summary = results['oneshot']
    if summary is None:
        return None
    columns = list(dict.fromkeys(key for row in summary['table'] for key in row['figures']))
    rows = []
    for row in summary['table']:
        cells = []
        for figure in map(row['figures'].get, columns):
            deviation = None if figure is None else figure['deviation']
            mean = NONE if figure is None else number(figure['mean'], 4)
            cells.append(Cell(mean, '' if deviation is None else f'± {number(deviation, 4)} over exemplars'))
        rows.append(Row(row['network'], cells))
    for row in summary['differences']:
        paired = [_paired(row['figures'].get(key)) for key in columns]
        rows.append(Row(f'{row["stage"]} − {row["minus"]}', paired))
    titles = [
        (f'{key} {ARROWS[summary["metrics"][key]["better"]]}' if key in summary['metrics'] else key, '')
        for key in columns
    ]
    return ReportTable(f"One-shot adaptation to '{summary['set']}'", titles, rows, [summary['how']])
