"""The figures of repeated one-shot adaptation as a table, and its picture.

The table has the layout of Table 1 of Li et al., "Super-Resolving Cross-Domain Face Miniatures by Peeking at One-Shot
Exemplar": a row a network, a column a metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fsr_plugins.adaptation import differences
from fsr_plugins.adaptation.differences import paired_differences
from fsr_plugins.adaptation.plan import Plan
from fsr_plugins.engine import report
from fsr_plugins.models.evaluation import Results
from fsr_plugins.stores.images import read_image
from fsr_plugins.values import Record

#: Metrics by class in the order of the paper's table; others follow as the option file has them.
_ORDER = ('LPIPS', 'FIQ', 'PSNR', 'SSIM')
#: The network of a validation that a stage is about; its row has the name of the stage.
_RESULT = 'result'
#: What stands above and below the networks.
_FIRST, _LAST = ('LR', 'bicubic'), ('HR',)
HOW = (
    'Figures are means over the test images of a split without the exemplar, then over the exemplars of the split, '
    'then over the splits. ± is the standard deviation (n − 1) of such a mean over the splits with one exemplar in '
    'each: of the first drawn in every split, of the second, and so on, as far as every split has one; of one exemplar '
    'there is none. A mean of S splits scatters about √S times less than a single exemplar does. ± is no interval.'
)

#: Figures of every exemplar of a split, in the order drawn, by split.
BySplit = Mapping[str, Sequence[Results]]


def summary(name: str, todo: Plan, records: Sequence[Record], metrics: Mapping[str, Mapping[str, str]]) -> Record:
    """What is known after all repeats.

    Args:
        name: the experiment's.
        records: of the repeats, in the plan's order: ``validation`` and what else is kept of each.
        metrics: ``type``, ``convention`` and ``better`` by the names in the option file.
    Returns:
        ``{"name", "set", "seed", "metrics", "splits", "repeats", "how", "table", "differences"}``; ``table`` is a list
        of rows ``{"network", "figures": {metric: {"mean", "deviation"}}}`` whose metrics are in the order of the
        columns, ``differences`` is what :func:`~fsr_plugins.adaptation.differences.paired_differences` gives.
    """
    figures: dict[str, dict[str, list[Results]]] = {}
    for record in records:
        of_stage = figures.setdefault(record['stage'], {})
        of_stage.setdefault(record['split'], []).append(record['validation'])
    rows = table(figures, _in_order(metrics))
    own = list(dict.fromkeys(key for row in rows if row['network'] in figures for key in row['figures']))
    compared = paired_differences(figures, _RESULT, own)
    return {
        'name': name,
        'set': todo.target,
        'seed': todo.options.seed,
        'metrics': {name: dict(metrics[name]) for name in _in_order(metrics)},
        'splits': {
            split.name: {'patterns': split.patterns, 'images': len(split.keys), 'exemplars': split.exemplars}
            for split in todo.splits
        },
        'repeats': [dict(record) for record in records],
        'how': f'{HOW} {differences.HOW}' if compared else HOW,
        'table': rows,
        'differences': compared,
    }


def _in_order(metrics: Mapping[str, Mapping[str, str]]) -> list[str]:
    def place(name: str) -> int:
        kind = metrics[name]['type']
        return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)

    return sorted(metrics, key=place)


def table(figures: Mapping[str, BySplit], metrics: Sequence[str]) -> list[Record]:
    """The rows of the table.

    Args:
        figures: by stage.
        metrics: the names of the columns; further values of a metric (``<metric>_<value>``) follow it. A metric that
            has no values is in no row.
    """
    rows = []
    for name, (of_network, network) in _networks(figures).items():
        seen = next(iter(of_network.values()))[0][network]
        columns = [key for metric in metrics for key in seen if key == metric or _further(key, metric, metrics)]
        rows.append({'network': name, 'figures': {key: _statistics(of_network, network, key) for key in columns}})
    return rows


def _further(key: str, metric: str, metrics: Sequence[str]) -> bool:
    """Whether ``key`` is a further value of ``metric``, and not of one whose longer name it begins with."""
    owners = [name for name in metrics if key == name or key.startswith(f'{name}_')]
    return key not in metrics and max(owners, key=len, default='') == metric


def _networks(figures: Mapping[str, BySplit]) -> dict[str, tuple[BySplit, str]]:
    """The rows by name: where its figures are found, and under which name there.

    A network that every stage gives the same figures of has one row; the stages' results come last.
    """
    stages = list(figures)
    shared: dict[str, tuple[BySplit, str]] = {}
    for network in dict.fromkeys(network for by_split in figures.values() for network in _seen(by_split)):
        having = [stage for stage in stages if network in _seen(figures[stage])]
        alike = all(_of(figures[stage], network) == _of(figures[having[0]], network) for stage in having)
        if network != _RESULT:
            for stage in having[:1] if alike else having:
                shown = network.replace('_', ' ')
                shared[shown if alike else f'{shown} ({stage})'] = figures[stage], network
    ordered = sorted(shared, key=lambda name: name not in _FIRST)
    results = {stage: (figures[stage], _RESULT) for stage in stages if _RESULT in _seen(figures[stage])}
    return {name: shared[name] for name in ordered} | results


def _seen(by_split: BySplit) -> Results:
    return next(iter(by_split.values()))[0]


def _of(by_split: BySplit, network: str) -> list[list[dict[str, float]]]:
    return [[results[network] for results in split] for split in by_split.values()]


def _statistics(by_split: BySplit, network: str, metric: str) -> dict[str, float | None]:
    """Mean and deviation, see :data:`HOW`."""
    values = [[results[network][metric] for results in split] for split in by_split.values()]
    common = min(len(split) for split in values)
    by_exemplar = np.mean([split[:common] for split in values], axis=0)
    return {
        'mean': float(np.mean([np.mean(split) for split in values])),
        'deviation': float(np.std(by_exemplar, ddof=1)) if common > 1 else None,
    }


def cells(summary: Record) -> list[dict[str, str]]:
    """The table in words: rows of named cells; what is absent is ``-``."""
    titles = _titles(summary)
    return [
        {'': row['network'], **{title: _cell(row['figures'].get(key)) for key, title in titles.items()}}
        for row in summary['table']
    ]


def difference_cells(summary: Record) -> list[dict[str, str]]:
    """The paired differences in words, in columns like the table's; none with one stage."""
    return differences.cells(summary, {key: f'Δ {title}' for key, title in _titles(summary).items()})


def _titles(summary: Record) -> dict[str, str]:
    """By figure, what its column is called."""
    columns = dict.fromkeys(key for row in summary['table'] for key in row['figures'])
    shown: list[str] = []
    for metric in summary['metrics']:
        shown += [metric, *(key for key in columns if _further(key, metric, list(summary['metrics'])))]
    arrows = {'higher': ' ↑', 'lower': ' ↓'}
    return {key: key + arrows.get(summary['metrics'].get(key, {}).get('better', ''), '') for key in shown}


def _cell(figure: Mapping[str, float | None] | None) -> str:
    if figure is None:
        return '-'
    if figure['mean'] is None:
        return 'not finite'
    deviation = '' if figure['deviation'] is None else f' ± {figure["deviation"]:.4f}'
    return f'{figure["mean"]:.4f}{deviation}'


def markdown(summary: Record) -> str:
    """The table with all that must be known to read it."""
    lines = [
        *_lines(cells(summary)),
        *_lines(difference_cells(summary)),
        f"Set '{summary['set']}'. {summary['how']}",
        '',
        *(f'- {name}: {metric["convention"]}' for name, metric in summary['metrics'].items()),
        '',
        f'| split | images | exemplars (seed {summary["seed"]}) |',
        '|---|---|---|',
        *(
            f'| {name} | {split["images"]} | {", ".join(f"`{key}`" for key in split["exemplars"])} |'
            for name, split in summary['splits'].items()
        ),
    ]
    return '\n'.join(lines) + '\n'


def _lines(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """A table in Markdown with an empty line behind it; nothing of none."""
    if not rows:
        return []
    head = ['| ' + ' | '.join(rows[0]) + ' |', '|' + '---|' * len(rows[0])]
    return [*head, *('| ' + ' | '.join(row.values()) + ' |' for row in rows), '']


def picture(folders: Mapping[tuple[str, str], Path]) -> np.ndarray:
    """Rows of LR, bicubic, what was before, the stages' results and HR; a column a split.

    Args:
        folders: by stage and split, the folder of the images ``<name>.png`` of one face.
    Returns:
        uint8 HWC BGR, labelled at the left.
    """
    rows: dict[str, list[Tensor]] = {}
    first = next(iter(folders))[0]
    for (stage, _), folder in folders.items():
        for path in folder.glob('*.png'):
            if path.stem == _RESULT:
                rows.setdefault(stage, []).append(_image(path))
            elif stage == first:
                rows.setdefault(path.stem.replace('_', ' '), []).append(_image(path))
    stages = {stage for stage, _ in folders}
    order = (*_FIRST, *sorted(rows.keys() - stages - {*_FIRST, *_LAST}), *dict.fromkeys(s for s, _ in folders), *_LAST)
    return report.grid({name: rows[name] for name in order if name in rows})


def _image(path: Path) -> Tensor:
    """(1, 3, H, W) RGB in [0, 1]."""
    return torch.from_numpy(read_image(path)).permute(2, 0, 1)[None] / 255
