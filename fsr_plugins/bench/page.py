"""The report as one HTML file: nothing is fetched and no script runs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fsr_plugins.bench import differences, table
from fsr_plugins.bench.cost_table import costs
from fsr_plugins.bench.curves import Line
from fsr_plugins.bench.pictures import Picture
from fsr_plugins.bench.report_charts import cost_charts, curve_charts, quality_charts
from fsr_plugins.bench.results import Results
from fsr_plugins.bench.words import entries_in_words, experimental_setup, how_in_words, protocol_in_words

_ENVIRONMENT = Environment(
    loader=PackageLoader('fsr_plugins.bench', '.'),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    # Quotes as html.escape has them, in the text as in the charts.
    finalize=lambda value: value if isinstance(value, Markup) else Markup(escape(str(value))),
)
_ENVIRONMENT.filters['base64'] = lambda file: base64.b64encode(file.read_bytes()).decode()


def page(results: Results, pictures: Sequence[Picture], curves: Mapping[str, Line], caption: str) -> str:
    """The whole page.

    Args:
        curves: learning curves by the entries' titles.
        caption: what they show, and over what.
    """
    against, ablations = differences.against(results), differences.ablations(results)
    cost, oneshot, papers = costs(results), table.adapted(results), table.papers(results)
    sections = {
        'quality': 'Quality',
        'against': against and against.title,
        'ablations': ablations and ablations.title,
        'cost': cost and cost.title,
        'pictures': 'Pictures',
        'training': curves and 'Training',
        'oneshot': oneshot and oneshot.title,
        'papers': papers and 'The papers’ own figures',
        'entries': 'Entries',
        'how': 'How the figures were made',
    }
    return _ENVIRONMENT.get_template('page.html.j2').render(
        title=results['title'],
        note=results['note'],
        protocol=protocol_in_words(results),
        setup=experimental_setup(results),
        sections={name: title for name, title in sections.items() if title},
        quality=table.quality(results),
        quality_charts=quality_charts(results),
        against=against,
        ablations=ablations,
        cost=cost,
        cost_charts=cost_charts(results),
        pictures=pictures,
        curves=curve_charts(curves, caption),
        curves_caption=caption,
        oneshot=oneshot,
        papers=papers,
        entries=entries_in_words(results),
        how=how_in_words(results),
    )  # fmt: skip
