"""Charts as SVG that stands in a page by itself: colours come from the page, so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

#: Size of a chart in its own units; a page scales it to the width there is.
WIDTH, HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 14, 44
#: Height of a line of text, and the widths of letters in the widest font that a page may have, at 12 units.
_LINE, _CAPITAL, _SMALL, _THIN = 14.0, 8.4, 7.4, 4.6
#: How many times the spread of all others a value may be away from them and still be on the axis.
_FAR = 2.0
#: Degrees by the clock from the right.
_TURN = {'right': 0, 'down': 90, 'left': 180, 'up': 270}


@dataclass(frozen=True)
class Point:
    """A named place in a chart; ``low`` and ``high`` are the ends of its interval in y."""

    name: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    strong: bool = False  #: the reference


def outliers(values: Sequence[float]) -> list[float]:
    """Values that would press all others together: they stand at the end of an axis and not on it.

    A value is outside if it is further from its neighbour than twice what all others spread; three stay in any case.
    """
    inside, out = sorted(values), []
    while len(inside) > 3:
        below, above = inside[1] - inside[0], inside[-1] - inside[-2]
        at = 0 if below >= above else -1
        rest = inside[1:] if at == 0 else inside[:-1]
        if max(below, above) <= _FAR * (rest[-1] - rest[0]):
            break
        out.append(inside.pop(at))
    return out


class Axis:
    """From values to places.

    Args:
        values: all that must be seen.
        start, end: places of the least and the greatest.
        logarithmic: by powers of ten.
        margin: share of the range that is added at each end.
    """

    def __init__(
        self, values: Sequence[float], start: float, end: float, *, logarithmic: bool = False, margin: float = 0.08
    ) -> None:
        self.logarithmic = logarithmic
        scaled = [self._scale(value) for value in values]
        least, most = min(scaled), max(scaled)
        spread = (most - least) or max(abs(most) * 0.1, 0.1)
        self._least, self._most = least - margin * spread, most + margin * spread
        self._start, self._end = start, end

    def _scale(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def place(self, value: float) -> float:
        """Where a value is."""
        share = (self._scale(value) - self._least) / (self._most - self._least)
        return self._start + share * (self._end - self._start)

    def beyond(self, value: float) -> int:
        """-1 for a value below the axis, 1 above, 0 on it."""
        scaled = self._scale(value)
        return (scaled > self._most) - (scaled < self._least)

    def end(self, value: float) -> float:
        """Where a value is, or the end of the axis that is nearest to it."""
        low, high = sorted((self._start, self._end))
        return min(max(self.place(value), low), high)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values on the axis: steps of 1, 2 or 5, or powers of ten with 2 and 5 between where there are few."""
        if self.logarithmic:
            exponents = range(math.floor(self._least), math.ceil(self._most) + 1)
            for steps in ((1, 2, 5), (1, 3), (1,)):
                found = [step * 10.0**exponent for exponent in exponents for step in steps]
                found = [value for value in found if self._least <= math.log10(value) <= self._most]
                if len(found) <= most:
                    return found or [10**self._least, 10**self._most]
            return found[:: math.ceil(len(found) / most)]
        rough = (self._most - self._least) / most
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
        first = math.ceil(self._least / step)
        return [number * step for number in range(first, math.floor(self._most / step) + 1)]


def scatter(
    points: Sequence[Point], x_title: str, y_title: str, description: str, baselines: Mapping[str, float] | None = None
) -> str:
    """Points with their names and intervals over a logarithmic x.

    Args:
        points: x above 0; at least one.
        description: what the chart shows, for those who cannot see it.
        baselines: values of y that have no x, by name.
    """
    lines = baselines or {}
    x = Axis([point.x for point in points], _LEFT, WIDTH - _RIGHT, logarithmic=True, margin=0.16)
    y = Axis(_ends(points, lines.values()), HEIGHT - _BOTTOM, _TOP)
    parts = [*_frame(x, y, x_title, y_title)]
    placed: list[tuple[float, float, float, float]] = []
    named: list[tuple[float, float]] = []  # the left ends and the heights of the baselines' names
    for point in points:  # marks and their intervals are obstacles for every name
        across = x.place(point.x)
        top, bottom = (y.end(point.y if end is None else end) for end in (point.high, point.low))
        placed += [
            (across - 5, y.end(point.y) - 5, across + 5, y.end(point.y) + 5),
            (across - 2, top, across + 2, bottom),
        ]
    for name, value in lines.items():
        at = y.end(value)
        parts.append(_line('base', _LEFT, at, WIDTH - _RIGHT, at))
        # Beside the names of the lines that are so near that names would meet.
        right = min([WIDTH - _RIGHT, *(left - _LINE for left, other in named if abs(other - at) < _LINE)])
        if right - _width(name) >= _LEFT:
            parts.append(f'<text class="tick" x="{right:.1f}" y="{at - 5:.1f}" text-anchor="end">{escape(name)}</text>')
            named.append((right - _width(name), at))
            placed.append((right - _width(name), at - 17, right, at + 2))
    for point in sorted(points, key=lambda each: each.y, reverse=True):
        across, down, beyond = x.place(point.x), y.end(point.y), y.beyond(point.y)
        if point.low is not None and point.high is not None and not beyond:
            top, bottom = y.end(point.high), y.end(point.low)
            parts.append(_line('whisker', across, top, across, bottom))
        shown = f'{point.name}: {x_title} {point.x:.4g}, {y_title} {point.y:.4g}'
        parts.append(_mark(point, across, down, ('', 'up', 'down')[beyond], f'<title>{escape(shown)}</title>'))
        name = f'{point.name} ({tick(float(f"{point.y:.4g}"))})' if beyond else point.name
        parts.append(_name(name, across, down, placed))
    return _svg(parts, description)


def _ends(points: Sequence[Point], others: Iterable[float] = ()) -> list[float]:
    """What an axis of y must have on it: values and intervals, but for those outside."""
    lines = list(others)
    out = set(outliers([*(point.y for point in points), *lines]))
    ends = [(point.y, point.low, point.high) for point in points if point.y not in out]
    return [value for each in ends for value in each if value is not None] + [each for each in lines if each not in out]


def _mark(point: Point, across: float, down: float, beyond: str, content: str = '') -> str:
    """A point's dot; where it is outside its axis a triangle that points ``beyond``, a key of ``_TURN``."""
    kind = 'dot strong' if point.strong else 'dot'
    if not beyond:
        return f'<circle class="{kind}" cx="{across:.1f}" cy="{down:.1f}" r="5">{content}</circle>'
    turned = f'transform="translate({across:.1f} {down:.1f}) rotate({_TURN[beyond]})"'
    return f'<path class="{kind}" d="M6 0L-5 6V-6Z" {turned}>{content}</path>'


def _width(text: str) -> float:
    """About how wide a text of 12 units is, rather too wide than too narrow."""
    return sum(
        _THIN if letter in " ,.:;'()-|!ijlI1tfr" else _CAPITAL if letter.isupper() else _SMALL for letter in text
    )


def _name(name: str, across: float, down: float, placed: list[tuple[float, float, float, float]]) -> str:
    """A point's name where nothing else is: right, left, then further and further up and down; with a thin leader."""
    width = _width(name)
    sides = [(across + 9, 'start'), (across - 9 - width, 'end')]
    for step in range(28):
        for sign in (1, -1) if step else (1,):
            for left, anchor in sides:
                middle = down + sign * step * _LINE * 0.75
                box = (left, middle - _LINE / 2, left + width, middle + _LINE / 2)
                inside = box[0] >= _LEFT + 2 and box[2] <= WIDTH - 2 and box[1] >= 1 and box[3] <= HEIGHT - _BOTTOM
                if inside and not any(
                    box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
                    for other in placed
                ):
                    placed.append(box)
                    start, near = (left, left - 3) if anchor == 'start' else (left + width, left + width + 3)
                    leader = '' if step < 2 else _line('leader', across, down, near, middle)
                    place = f'x="{start:.1f}" y="{middle + 4:.1f}" text-anchor="{anchor}"'
                    return f'{leader}<text class="name" {place}>{escape(name)}</text>'
    return ''  # the tooltip and the table have it


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _frame(x: Axis, y: Axis, x_title: str, y_title: str, height: int = HEIGHT) -> list[str]:
    bottom, right = height - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for value in y.ticks():
        at = y.place(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{tick(value)}</text>')
    for value in x.ticks(5):
        at = x.place(value)
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{bottom + 17}" text-anchor="middle">{tick(value)}</text>')
    middle = (_LEFT + right) / 2
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(f'<text class="title" x="{middle}" y="{height - 6}" text-anchor="middle">{escape(x_title)}</text>')
    turned = f'transform="rotate(-90 13 {bottom / 2 + 8})"'
    parts.append(
        f'<text class="title" x="13" y="{bottom / 2 + 8}" text-anchor="middle" {turned}>{escape(y_title)}</text>'
    )
    return parts


def tick(value: float) -> str:
    """A value at an axis, short."""
    if abs(value) >= 10_000:
        return f'{value / 1000:g}k'
    return f'{value:.6g}'.replace('-', '−')


def _svg(parts: Sequence[str], description: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(description)}">'
        f'<title>{escape(description)}</title>{"".join(parts)}</svg>'
    )


def interval_plot(points: Sequence[Point], title: str, digits: int, description: str) -> str:
    """A row a name, with its value and its interval along a common axis; ``x`` of the points is not looked at."""
    rows = 24
    left = 12 + max(_width(point.name) for point in points)
    left = min(left, 0.45 * WIDTH)
    height = round(len(points) * rows + 40)
    axis = Axis(_ends(points), left + 10, WIDTH - 70, margin=0.04)
    bottom = height - 34
    parts = []
    for value in axis.ticks(5):
        at = axis.place(value)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="2" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{bottom + 15}" text-anchor="middle">{tick(value)}</text>')
    for number, point in enumerate(points):
        down = number * rows + rows / 2 + 2
        at, beyond = axis.end(point.y), axis.beyond(point.y)
        if point.low is not None and point.high is not None and not beyond:
            ends_at = f'x1="{axis.place(point.low):.1f}" x2="{axis.place(point.high):.1f}"'
            parts.append(f'<line class="whisker" {ends_at} y1="{down}" y2="{down}"/>')
        parts.append(_mark(point, at, down, ('', 'right', 'left')[beyond]))
        parts.append(f'<text class="name" x="{left}" y="{down + 4}" text-anchor="end">{escape(point.name)}</text>')
        parts.append(f'<text class="tick" x="{WIDTH - 6}" y="{down + 4}" text-anchor="end">{point.y:.{digits}f}</text>')
    centre = (left + WIDTH - 70) / 2
    parts.append(f'<text class="title" x="{centre:.1f}" y="{height - 4}" text-anchor="middle">{escape(title)}</text>')
    return _svg(parts, description, height=height)


def curves(lines: Mapping[str, Sequence[tuple[float, float]]], chosen: str, y: Axis, x: Axis, description: str) -> str:
    """One line among all the others: a small chart of a series of equal ones.

    Args:
        lines: places (x, y) by name.
        chosen: the line that this chart is about.
        y, x: axes that all charts of the series share, of 220 by 150 units.
    """
    parts = []
    for value in y.ticks(4):
        at = y.place(value)
        parts.append(f'<line class="grid" x1="40" x2="214" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="36" y="{at + 4:.1f}" text-anchor="end">{tick(value)}</text>')
    for value in x.ticks(3):
        parts.append(f'<text class="tick" x="{x.place(value):.1f}" y="146" text-anchor="middle">{tick(value)}</text>')
    for name in [*(other for other in lines if other != chosen), chosen]:
        points = ' '.join(f'{x.place(across):.1f},{y.place(up):.1f}' for across, up in lines[name])
        kind = 'line strong' if name == chosen else 'line'
        parts.append(f'<polyline class="{kind}" points="{points}"/>')
    across, up = lines[chosen][-1]
    parts.append(f'<circle class="dot" cx="{x.place(across):.1f}" cy="{y.place(up):.1f}" r="3.5"/>')
    return _svg(parts, description, width=220, height=150)


def curve_axes(lines: Mapping[str, Sequence[tuple[float, float]]]) -> tuple[Axis, Axis]:
    """The axes y and x that the small charts of these lines share."""
    ups = sorted(up for line in lines.values() for _, up in line)
    # What a network gives before it has learned anything would press all else together.
    ups = [up for up in ups if up >= ups[len(ups) // 20]]
    across = [place for line in lines.values() for place, _ in line]
    return Axis(ups, 128, 8, margin=0.05), Axis([0.0, *across], 44, 208, margin=0.0)
