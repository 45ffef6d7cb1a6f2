"""The report as Markdown, with the pictures beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from fsr_plugins.bench import differences, table
from fsr_plugins.bench.cost_table import costs
from fsr_plugins.bench.pictures import Picture
from fsr_plugins.bench.results import Results
from fsr_plugins.bench.table import ReportTable
from fsr_plugins.bench.words import entries_in_words, experimental_setup, how_in_words, protocol_in_words

#: Where a tag of HTML begins, which Markdown would take as such.
_TAG = re.compile(r'<(?=[A-Za-z/!?])')


def markdown(results: Results, pictures: Sequence[Picture], folder: Path) -> str:
    """The whole text; pictures are named relative to ``folder``."""
    lines = [f'# {_plain(results["title"])}', '', protocol_in_words(results), '']
    if results['note']:
        lines += [_plain(results['note']), '']
    lines += [*(f'- {name}: {_plain(value)}' for name, value in experimental_setup(results).items()), '']
    tables = [
        table.quality(results),
        differences.against(results),
        differences.ablations(results),
        costs(results),
        table.adapted(results),
    ]
    for content in [each for each in tables if each is not None] + table.papers(results):
        notes = [f'- {_plain(note)}' for note in content.notes]
        lines += [f'## {_plain(content.title)}', '', *_table(content), '', *notes, '']
    lines += ['## Pictures', '']
    for picture in pictures:
        lines += [f'![{_plain(picture.alt)}]({picture.file.relative_to(folder).as_posix()})', '',
                  _plain(f'{picture.title}. {picture.caption}'), '']  # fmt: skip
    lines += ['## Entries', '']
    for title, about in entries_in_words(results).items():
        lines += [f'**{_plain(title)}**', '', *(f'- {_plain(line)}' for line in about), '']
    lines += ['## How the figures were made', '', *(f'- {_plain(line)}' for line in how_in_words(results))]
    return '\n'.join(lines) + '\n'


def _table(content: ReportTable) -> list[str]:
    head = [f'{title} ({small})' if small else title for title, small in content.columns]
    rows = []
    for row in content.rows:
        small = [f'<sub>{_plain(row.small)}</sub>'] if row.small else []
        texts = [' '.join([_plain(row.marked), *small])]
        for cell in row.cells:
            text = (cell.text, f'**{cell.text}**', f'<u>{cell.text}</u>')[cell.rank] + cell.stars.replace('*', '\\*')
            texts.append(f'{text} <sub>{cell.small.replace(chr(10), ", ")}</sub>' if cell.small else text)
        rows.append(texts)
    return [
        '| ' + ' | '.join(['', *(_safe(_plain(each)) for each in head)]) + ' |',
        '|---|' + '---:|' * len(head),
        *('| ' + ' | '.join(map(_safe, row)) + ' |' for row in rows),
    ]


def _plain(text: str) -> str:
    """Text of an option file, of which no tag becomes HTML."""
    return _TAG.sub('&lt;', text)


def _safe(text: str) -> str:
    return text.replace('|', '\\|')
