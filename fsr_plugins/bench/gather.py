"""Everything that is known of a suite, gathered as the content of ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsr_plugins import pipeline
from fsr_plugins.bench import cost, summary
from fsr_plugins.bench.cache import device_name
from fsr_plugins.bench.data import DatasetFingerprint, TestSet
from fsr_plugins.bench.evaluation import Candidate, SuiteMetrics
from fsr_plugins.bench.options import BICUBIC
from fsr_plugins.bench.suite import Suite
from fsr_plugins.checkpoints import described
from fsr_plugins.engine.machine import machine, versions
from fsr_plugins.models.validation import HR
from fsr_plugins.weights import file_sha256


def gather(
    suite: Suite,
    tests: TestSet,
    metrics: SuiteMetrics,
    train: DatasetFingerprint | None,
    excused: Mapping[str, list[str]],
    measured: Mapping[str, dict[str, Any]],
    costs: Mapping[str, dict[str, Any]],
    candidates: Mapping[str, Candidate],
    oneshot: dict[str, Any] | None,
) -> dict[str, Any]:
    """Everything that is known, as plain values.

    Args:
        excused: by entry, what differs from the suite and is admitted.
        measured, costs: of every candidate, and figures of HR.
        oneshot: what ``fsr oneshot`` found.
    """
    taken = list(metrics.blocks)
    found = summary.figures(measured, taken, suite.statistics)
    reference = suite.options.reference if suite.options.reference in suite.entries else None
    tested = summary.against(reference, measured, taken, suite.statistics) if reference else {}
    return {
        'name': suite.name,
        'title': suite.options.title or suite.name,
        'note': suite.options.note,
        'suite_sha256': suite.sha256,
        'machine': machine(),
        'versions': versions(),
        'device': device_name(tests.device),
        'scale': suite.options.scale,
        'degradation': suite.options.degradation,
        'lr_size': list(tests.lr_size),
        'train': None if train is None else {**train.as_dict(), 'store': suite.options.train},
        'test': {**tests.fingerprint.as_dict(), 'store': suite.test, 'lr_sha256': tests.lr_sha256},
        'budget': None if suite.budget is None else {'unit': suite.budget.unit, 'most': suite.budget.most},
        'metrics': {
            name: {
                'type': metrics.kinds[name],
                'convention': metrics.conventions[name],
                'better': metrics.better[name],
                'absent': metrics.absent.get(name),
            }
            for name in suite.options.metrics
        },
        'statistics': suite.statistics.model_dump(),
        'reference': reference,
        'quality': suite.options.quality or taken[0],
        'entries': {
            name: {
                **_about(suite, name, candidates[name]),
                'differs': excused.get(name, []),
                'figures': found[name],
                'more': {key: value for key, value in measured[name]['figures'].items() if key not in taken},
                'against_reference': tested.get(name),
                'cost': costs[name],
            }
            for name in suite.entries
        },
        'HR': {'figures': found[HR]},
        'papers': {
            name: {**paper.model_dump(exclude={'rows'}),
                   'rows': {row: content.model_dump() for row, content in suite.paper_rows[name].items()}}
            for name, paper in suite.papers.items()
        },
        'oneshot': oneshot,
    }  # fmt: skip


def _about(suite: Suite, name: str, candidate: Candidate) -> dict[str, Any]:
    """What an entry is, and what its training took."""
    entry = suite.entries[name]
    about: dict[str, Any] = {'title': suite.title(name), 'note': entry.note, 'unfair': entry.unfair}
    if candidate.checkpoint is None:
        return {**about, 'kind': BICUBIC, 'arch': None, 'checkpoint': None, 'sha256': None, 'training': None}
    file = candidate.checkpoint
    meta = described(file)['meta']
    about |= {
        'kind': 'experiment' if entry.opt else 'checkpoint',
        'option_file': entry.opt,
        'arch': meta['arch'],
        'checkpoint': str(file.relative_to(suite.root) if file.is_relative_to(suite.root) else file),
        'sha256': file_sha256(file),
        'training': None,
    }
    if name in suite.lineages:
        lineage = suite.lineages[name]
        records = pipeline.done_records(lineage.experiment)
        about['training'] = cost.training(records, lineage.trained)
        about['training'] |= {'iterations': sum(lineage.spent('iterations').values()),
                              'images': sum(lineage.spent('images').values())}  # fmt: skip
    return about
