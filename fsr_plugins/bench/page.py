"""The report as one HTML file: nothing is fetched and no script runs."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources

from fsr_plugins.bench import charts, table
from fsr_plugins.bench.curves import Line
from fsr_plugins.bench.pictures import Picture
from fsr_plugins.bench.table import ReportTable, Results
from fsr_plugins.bench.words import entries_in_words, experimental_setup, how_in_words, protocol_in_words


def page(results: Results, pictures: Sequence[Picture], lines: Mapping[str, Line], watched: str) -> str:
    """The whole page.

    Args:
        lines: training curves by the entries' titles.
        watched: what they show, and over what.
    """
    sections = [section for section in _sections(results, pictures, lines, watched) if section[2]]
    links = ''.join(f'<a href="#{name}">{escape(title)}</a>' for name, title, _ in sections)
    body = ''.join(f'<h2 id="{name}">{escape(title)}</h2>{content}' for name, title, content in sections)
    title = escape(results['title'])
    note = f'<p>{escape(results["note"])}</p>' if results['note'] else ''
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}</title><link rel="icon" href="data:,"><style>{_css()}</style></head><body><main>'
        f'<h1>{title}</h1><p class="lead">{escape(protocol_in_words(results))}</p>{note}{_facts(results)}'
        f'<nav aria-label="Sections">{links}</nav>{body}</main></body></html>\n'
    )


def _css() -> str:
    return (resources.files('fsr_plugins.bench') / 'style.css').read_text(encoding='utf-8')


def _sections(
    results: Results, pictures: Sequence[Picture], lines: Mapping[str, Line], watched: str
) -> Iterable[tuple[str, str, str]]:
    yield 'quality', 'Quality', _table(table.quality(results)) + _quality_chart(results)
    against = table.against(results)
    yield 'against', against.title if against else '', _table(against) if against else ''
    yield 'cost', 'Cost', _table(table.costs(results)) + _cost_charts(results)
    narrow = ''.join(f'<div>{_picture(picture)}</div>' for picture in pictures if picture.narrow)
    wide = ''.join(_picture(picture) for picture in pictures if not picture.narrow)
    yield 'pictures', 'Pictures', f'{wide}<div class="pair">{narrow}</div>'
    yield 'training', 'Training', _curves(lines, watched)
    adapted = table.adapted(results)
    yield 'oneshot', adapted.title if adapted else '', _table(adapted) if adapted else ''
    yield 'papers', 'The papers’ own figures', ''.join(f'<h3>{escape(each.title)}</h3>{_table(each)}'
                                                       for each in table.papers(results))  # fmt: skip
    yield 'entries', 'Entries', _entries(results)
    yield 'how', 'How the figures were made', _list(how_in_words(results), '')


def _facts(results: Results) -> str:
    items = ''.join(
        f'<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>'
        for name, value in experimental_setup(results).items()
    )
    return f'<dl class="facts">{items}</dl>'


def _table(content: ReportTable) -> str:
    head = ''.join(f'<th scope="col">{escape(title)}{_small(small)}</th>' for title, small in content.columns)
    rows = ''.join(_row(row) for row in content.rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(content.title)}"><table>'
        f'<thead><tr><th scope="col"></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f'{_list(content.notes, "notes")}'
    )


def _row(row: table.Row) -> str:
    marks = ''.join(f'<span class="mark {escape(mark)}">{escape(mark)}</span>' for mark in row.marks)
    cells = ''.join(
        f'<td class="{("", "best", "second")[cell.rank]}">'
        f'<span class="figure">{escape(cell.text)}{_stars(cell.stars)}</span>{_small(cell.small)}</td>'
        for cell in row.cells
    )
    return f'<tr><th scope="row">{escape(row.name)}{marks}</th>{cells}</tr>'


def _stars(text: str) -> str:
    return f'<span class="stars">{escape(text)}</span>' if text else ''


def _small(text: str) -> str:
    return f'<small>{escape(text)}</small>' if text else ''


def _list(lines: Sequence[str], kind: str) -> str:
    return f'<ul class="{kind}">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>' if lines else ''


def _points(results: Results, x: Mapping[str, float | None]) -> list[charts.Point]:
    metric = results['quality']
    points = []
    for name, about in results['entries'].items():
        figure, across = about['figures'].get(metric), x.get(name)
        if figure is not None and figure['mean'] is not None and across is not None:
            strong = name == results['reference']
            points.append(charts.Point(about['title'], across, figure['mean'], figure['low'], figure['high'], strong))
    return points


def _quality_chart(results: Results) -> str:
    metric = results['quality']
    points = _points(results, dict.fromkeys(results['entries'], 1.0))  # there is no other axis
    if not points:
        return ''
    points.sort(key=lambda point: point.y, reverse=results['metrics'][metric]['better'] == 'higher')
    title = table.metric_title(results, metric)
    description = f'{metric} of every entry with its interval, the best first.'
    drawn = charts.interval_plot(points, title, table.digits_of(results, metric), description)
    confidence = results['statistics']['confidence'] * 100
    caption = f'{title} with its {confidence:g} % interval, the best first; the reference in another colour.'
    return f'<div class="charts">{_figure(drawn, caption + _outside(points))}</div>'


def _outside(points: Sequence[charts.Point]) -> str:
    return ' Triangle: outside the axis.' if charts.outliers([point.y for point in points]) else ''


def _cost_charts(results: Results) -> str:
    metric = results['quality']
    title = table.metric_title(results, metric)
    entries = results['entries']
    costs = {name: about['cost'] for name, about in entries.items() if about['arch'] is not None}
    axes: dict[str, dict[str, float | None]] = {
        'MACs an image in G': {name: cost['macs'] / 1e9 for name, cost in costs.items() if cost['macs']}
    }
    for batch in next(iter(entries.values()))['cost']['speed']:
        axes[f'images a second at batch {batch}'] = {
            name: cost['speed'][batch]['images_per_second'] for name, cost in costs.items()
        }
    figures = []
    for name, values in axes.items():
        points = _points(results, values)
        if points:
            description = f'{metric} against {name}, a point an entry.'
            drawn = charts.scatter(points, name, title, description, _baselines(results))
            figures.append(_figure(drawn, f'{title} against {name}. Dashed: without a network.{_outside(points)}'))
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ''


def _baselines(results: Results) -> dict[str, float]:
    """The quality of entries without a network, by title."""
    means = {
        about['title']: about['figures'].get(results['quality'], {}).get('mean')
        for about in results['entries'].values()
        if about['arch'] is None
    }
    return {title: mean for title, mean in means.items() if mean is not None}


def _figure(content: str, caption: str) -> str:
    return f'<figure>{content}<figcaption>{escape(caption)}</figcaption></figure>'


def _curves(lines: Mapping[str, Line], watched: str) -> str:
    if not lines:
        return ''
    y, x = charts.curve_axes(lines)
    small = ''.join(
        _figure(charts.curves(lines, name, y, x, f'{watched}: {name}, ending at {lines[name][-1][1]:.4g}.'), name)
        for name in lines
    )
    return f'<p>{escape(watched)}. One entry a chart, the others in grey; all charts have the same axes.</p>' \
           f'<div class="series">{small}</div>'  # fmt: skip


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.file.read_bytes()).decode()
    title = escape(picture.title)
    return (
        f'<h3>{title}</h3><figure><div class="scroll" tabindex="0" role="region" aria-label="{title}">'
        f'<img alt="{escape(picture.alt)}" src="data:image/jpeg;base64,{data}"></div>'
        f'<figcaption>{escape(picture.caption)}</figcaption></figure>'
    )


def _entries(results: Results) -> str:
    parts = []
    for title, lines in entries_in_words(results).items():
        parts.append(f'<details><summary>{escape(title)}</summary>{_list(lines, "notes")}</details>')
    return ''.join(parts)
