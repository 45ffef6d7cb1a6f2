"""The page stands by itself, and its charts and tables are what they should be."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from fsr_plugins.bench import charts, pictures, table
from fsr_plugins.bench.charts import Axis, Point

VOID = {'meta', 'link', 'img', 'br', 'input', 'hr'}


class Page(HTMLParser):
    """Elements with their attributes; every one that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_fetches_nothing_and_runs_nothing(finished: tuple[Path, dict[str, Any]]) -> None:
    text = (finished[0] / 'experiments/small_suite/report.html').read_text()
    page = Page(text)
    tags = {tag for tag, _ in page.found}
    assert not tags & {'script', 'iframe', 'object'} and {'table', 'svg', 'img', 'figcaption'} <= tags
    for tag, attributes in page.found:
        assert not any(name.startswith('on') for name in attributes)
        for name in ('src', 'href'):
            assert (attributes.get(name) or 'data:').startswith(('data:', '#')), (tag, attributes)
        if tag == 'img':
            assert attributes['alt']
    assert 'url(' not in text and '@import' not in text and 'http' not in text
    assert 'Small &lt;suite&gt;' in text and 'One &amp; only' in text and '<b>note' not in text
    pictures = re.findall('data:image/jpeg', text)
    assert len(pictures) == len(list((finished[0] / 'experiments/small_suite/figures').glob('*.jpg'))) == 6


def test_markdown_names_pictures_that_are_there(finished: tuple[Path, dict[str, Any]]) -> None:
    folder = finished[0] / 'experiments/small_suite'
    text = (folder / 'report.md').read_text()
    named = re.findall(r'!\[[^\]]*\]\(([^)]+)\)', text)
    assert len(named) == 6 and all(cv2.imread(str(folder / name)) is not None for name in named)
    assert '| psnr (as published) | psnr (here) | FID (as published) |' in text
    assert '| theirs | 30.10 |' in text and '(not measured here)' in text
    # What the option file says is text; the report's own tags stay.
    assert '# Small &lt;suite>' in text and 'a &lt;b>note&lt;/b>' in text and '<suite' not in text and '<sub>' in text


RESULTS: dict[str, Any] = {
    'metrics': {'psnr': {'type': 'PSNR', 'better': 'higher', 'absent': None},
                'd': {'type': 'LPIPS', 'better': 'lower', 'absent': None}},
    'statistics': {'confidence': 0.95}, 'test': {'images': 4, 'people': {'count': 3}}, 'reference': 'b',
    'HR': {'figures': {}}, 'entries': {}, 'quality': 'psnr',
}  # fmt: skip


def entry(psnr: float, d: float, unfair: str | None = None) -> dict[str, Any]:
    figure = {'low': None, 'high': None, 'unit': None, 'n': None, 'people': None, 'left_out': 0}
    figures = {'psnr': {**figure, 'mean': psnr}, 'd': {**figure, 'mean': d}}
    return {'title': 't', 'unfair': unfair, 'figures': figures, 'kind': 'checkpoint', 'arch': None, 'seeds': [],
            'spread': {}}  # fmt: skip


def test_best_and_second_best_are_of_fair_entries_as_printed() -> None:
    entries = {'a': entry(30.001, 0.2), 'b': entry(29.999, 0.1), 'c': entry(28, 0.3), 'd': entry(40, 0.01, 'because')}
    rows = table.quality({**RESULTS, 'entries': entries}).rows
    assert [row.marks for row in rows] == [[], ['reference'], [], ['unfair']]
    assert [[cell.rank for cell in row.cells] for row in rows] == [[1, 2], [1, 1], [2, 0], [0, 0]]


def test_numbers_have_a_minus_and_thousands() -> None:
    assert [table.number(-1234.567, 2), table.number(0.5, 2, True), table.number(float('nan'), 1)] == [
        '−1,234.57',
        '+0.50',
        '–',
    ]


@pytest.mark.parametrize(('values', 'logarithmic'), [([21.4, 26.9], False), ([0.004, 80.0], True), ([3.0, 3.0], False)])
def test_ticks_are_round_and_on_the_axis(values: list[float], logarithmic: bool) -> None:
    axis = Axis(values, 0, 100, logarithmic=logarithmic)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(-1e-6 <= axis.place(tick) <= 100 + 1e-6 for tick in ticks)
    assert 0 <= axis.place(values[0]) <= axis.place(values[1]) <= 100


def test_names_of_crowded_points_do_not_meet() -> None:
    points = [Point(f'method {number}', 10 + number % 3, 25 + 0.02 * number) for number in range(9)]
    drawn = charts.scatter([*points, Point('far', 200, 28)], 'cost', 'psnr', 'a chart')
    boxes = []
    for x, y, anchor, name in re.findall(r'class="name" x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">([^<]+)', drawn):
        width = len(name) * 7.2
        left = float(x) - (width if anchor == 'end' else 0)
        boxes.append((left, float(y), left + width))
    assert len(boxes) == 10
    for number, (left, y, right) in enumerate(boxes):
        for other_left, other_y, other_right in boxes[:number]:
            assert abs(y - other_y) >= 10 or right <= other_left or other_right <= left


def test_names_of_baselines_that_are_alike_do_not_meet() -> None:
    lines = {'bicubic': 24.2, 'bicubic, colours matched': 24.23, 'another': 26.0}
    drawn = charts.scatter([Point('a', 1, 21), Point('b', 9, 27)], 'cost', 'psnr', 'a chart', lines)
    pattern = r'class="tick" x="([\d.]+)" y="([\d.]+)" text-anchor="end">([^<]+)'
    ends = {name: (float(x), float(y)) for x, y, name in re.findall(pattern, drawn)}
    assert lines.keys() <= ends.keys()
    one, other = ends['bicubic'], ends['bicubic, colours matched']
    assert abs(one[1] - other[1]) < 5 and other[0] < one[0] - 30
    assert ends['another'][0] == one[0]


def test_what_presses_all_others_together_stands_at_the_end_of_the_axis() -> None:
    assert charts.outliers([18.8, 24.4, 25.6, 26.0, 26.4]) == [18.8]
    assert charts.outliers([1.0, 24.4, 26.0, 90.0, 25.0]) == [90.0, 1.0]
    assert (
        charts.outliers([1.0, 2.0, 90.0]) == charts.outliers([1.0, 2.0, 3.0, 6.0]) == charts.outliers([5.0] * 6) == []
    )
    near = [Point(f'near {number}', number + 1, 25 + number, 24.5 + number, 25.5 + number) for number in range(3)]
    for drawn in (
        charts.scatter([*near, Point('far', 2, 3, 2, 4)], 'cost', 'psnr', 'a chart', {'bicubic': 25.5}),
        charts.interval_plot([*near, Point('far', 2, 3, 2, 4)], 'psnr', 2, 'a chart'),
    ):
        assert drawn.count('<path') == 1 and drawn.count('<circle') == 3 and 'far' in drawn
        places = [float(each) for each in re.findall(r'c[xy]="([\d.]+)"', drawn)]
        assert max(places[::2]) - min(places[::2]) > 80 or max(places[1::2]) - min(places[1::2]) > 80


def test_details_are_of_eyes_and_mouth() -> None:
    gt = torch.zeros(1, 3, 64, 64)
    gt[..., 20, 24] = 1  # an eye
    gt[..., 44, 32] = 0.5  # the mouth's middle
    points = torch.tensor([[24.0, 20], [40, 20], [32, 32], [26, 44], [38, 44]])
    faces = pictures.RestoredFaces({'LR': [gt[..., ::8, ::8]], 'HR': [gt]}, [points], ['a'])
    rows, how = pictures.detail_crops(faces, 1)
    eye, mouth = rows['HR']
    assert eye.max() == 1 and mouth.max() == 0.5 and 'landmarks' in how
    assert eye.shape[-1] == eye.shape[-2] < 32 and rows['LR'][0].shape[-1] == round(eye.shape[-1] / 8)
    assert pictures.detail_crops(pictures.RestoredFaces(faces.rows, [None], ['a']), 1)[0]['HR'][0].shape[-1] == 32


def test_worst_first() -> None:
    measured = {'images': {'psnr': [3.0, None, 1.0, 2.0]}, 'keys': list('abcd')}
    assert pictures.worst_faces(measured, 'psnr', 'higher', 2) == ['c', 'd']
    assert pictures.worst_faces(measured, 'psnr', 'lower', 1) == ['a']
    assert pictures.worst_faces(measured, 'fid', 'lower', 1) == []
