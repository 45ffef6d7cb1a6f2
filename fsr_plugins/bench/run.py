"""A suite from its checks to its report: what is done is not done again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fsr_plugins import pipeline
from fsr_plugins.adaptation import oneshot
from fsr_plugins.bench import cost, fairness, summary
from fsr_plugins.bench.cache import MeasurementCache, code_version, device_name
from fsr_plugins.bench.data import DatasetFingerprint, TestSet
from fsr_plugins.bench.evaluation import Candidate, Evaluator, SuiteMetrics, available_metrics
from fsr_plugins.bench.options import BICUBIC
from fsr_plugins.bench.report import write
from fsr_plugins.bench.suite import Suite
from fsr_plugins.checkpoints import described
from fsr_plugins.config import Experiment
from fsr_plugins.config.dependencies import is_finished
from fsr_plugins.engine import distributed, logs
from fsr_plugins.engine.machine import machine, versions
from fsr_plugins.errors import UserError
from fsr_plugins.models.validation import HR
from fsr_plugins.preflight import checks
from fsr_plugins.registry import build_network
from fsr_plugins.weights import file_sha256

logger = logging.getLogger(__name__)


def run(suite: Suite, *, evaluate_only: bool = False) -> dict[str, Any]:
    """Checks everything, trains what is not trained, measures what is not measured, and writes the report.

    Args:
        evaluate_only: trains nothing.
    Returns:
        the content of ``results.json``.
    Raises:
        UserError: the suite, its data or an entry does not fit, or entries cannot be compared; nothing was trained.
        RunError: training could not go on.
    """
    logs.set_up(True)
    distributed.start('none', suite.options.num_gpu)
    metrics = available_metrics(suite.options.metrics)
    tests = TestSet(suite.test, suite.run_options())
    tests.dataset.check(suite.options.scale)
    train = fairness.training_fingerprint(suite)
    excused = fairness.check(suite, train, tests.fingerprint)
    _train(suite, evaluate_only)
    candidates = {name: _candidate(suite, name) for name in suite.entries}
    measured, costs = _measure(suite, tests, metrics, candidates)
    adapted = None if suite.oneshot is None else oneshot.run(suite.oneshot)
    results = _results(suite, tests, metrics, train, excused, measured, costs, candidates)
    results['oneshot'] = adapted
    write(suite, results, tests, candidates, measured)
    return results


def _train(suite: Suite, evaluate_only: bool) -> None:
    """Trains the entries that are not, after a look at everything that could stop one of them."""
    experiments = {name: entry.experiment for name, entry in suite.lineages.items()}
    if suite.oneshot is not None:
        experiments['oneshot'] = suite.oneshot
    finished = {
        name: all(is_finished(stage) for stage in experiment.stages.values())
        for name, experiment in experiments.items()
    }
    if evaluate_only and not all(finished.values()):
        missing = ', '.join(name for name, done in finished.items() if not done)
        raise UserError(f'Not trained yet: {missing}. Leave out --evaluate-only, or choose others by --entries.')
    problems: dict[str, None] = {}
    for name, experiment in experiments.items():
        try:
            _look_at(experiment, finished[name])
        except UserError as error:
            problems |= dict.fromkeys(f"entry '{name}': {line}" for line in str(error).splitlines())
    if problems:
        raise UserError('\n'.join(problems))
    for number, (name, experiment) in enumerate(experiments.items(), 1):
        if finished[name]:
            logger.info("%d of %d: '%s' is trained.", number, len(experiments), name)
        else:
            logger.info("%d of %d: '%s' is trained now.", number, len(experiments), name)
            pipeline.run(experiment, checked=True)


def _look_at(experiment: Experiment, finished: bool) -> None:
    if not finished:
        pipeline.check(experiment)
        return
    for stage in experiment.stages.values():
        checks.unchanged(stage)


def _candidate(suite: Suite, name: str) -> Candidate:
    entry = suite.entries[name]
    if entry.type == BICUBIC:
        return Candidate(name)
    file = suite.lineages[name].checkpoint if entry.checkpoint is None else Path(entry.checkpoint)
    return Candidate(name, file, entry.param_key)


def _measure(
    suite: Suite, tests: TestSet, metrics: SuiteMetrics, candidates: Mapping[str, Candidate]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Figures and costs of every entry, from the cache where they are there."""
    cache, evaluator = MeasurementCache(suite.folder / 'cache'), Evaluator(tests, metrics)
    measured, costs = {}, {}
    everybody = {**candidates, HR: Candidate(HR)}
    for name, candidate in everybody.items():
        key: dict[str, Any] = {
            'network': candidate.cache_key(),
            'code': code_version(_arch(candidate)),
            'test': {**suite.test, **tests.fingerprint.as_dict()},
            'options': suite.run_options(),
            'metrics': metrics.blocks,
            'conventions': metrics.conventions,
            'device': device_name(tests.device),
        }
        measured[name] = cache.get_or_measure('figures', key, partial(evaluator.measure, candidate))
        if name != HR:
            key = {
                'network': candidate.cache_key(),
                'code': code_version(_arch(candidate)),
                'size': list(tests.lr_size),
                'scale': suite.options.scale,
                'how': suite.cost.model_dump(),
                'machine': machine(),
            }
            costs[name] = cache.get_or_measure('cost', key, partial(_cost, suite, tests, candidate))
    return measured, costs


def _arch(candidate: Candidate) -> str | None:
    return None if candidate.checkpoint is None else described(candidate.checkpoint)['meta']['arch']['type']


def _cost(suite: Suite, tests: TestSet, candidate: Candidate) -> dict[str, Any]:
    found: dict[str, Any] = {'parameters': 0, 'macs': None, 'why_not': 'there is no network'}
    if candidate.checkpoint is not None:
        # One of its own: the analysis wraps what it counts.
        meta = described(candidate.checkpoint)['meta']
        found = cost.complexity(build_network(meta['arch']).eval(), tests.lr_size)
    net = candidate.network(tests.scale, tests.device)
    return {**found, 'device': device_name(tests.device),
            'speed': cost.speed(net, tests.lr_size, suite.cost, tests.device)}  # fmt: skip


def _results(
    suite: Suite,
    tests: TestSet,
    metrics: SuiteMetrics,
    train: DatasetFingerprint | None,
    excused: Mapping[str, list[str]],
    measured: Mapping[str, dict[str, Any]],
    costs: Mapping[str, dict[str, Any]],
    candidates: Mapping[str, Candidate],
) -> dict[str, Any]:
    """Everything that is known, as plain values."""
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
    }  # fmt: skip


def _about(suite: Suite, name: str, candidate: Candidate) -> dict[str, Any]:
    """What an entry is, and what its training took."""
    entry = suite.entries[name]
    about: dict[str, Any] = {'title': suite.title(name), 'note': entry.note, 'unfair': entry.unfair}
    if candidate.checkpoint is None:
        return {**about, 'kind': BICUBIC, 'arch': None, 'checkpoint': None, 'sha256': None, 'training': None}
    meta = described(candidate.checkpoint)['meta']
    about |= {
        'kind': 'experiment' if entry.opt else 'checkpoint',
        'option_file': entry.opt,
        'arch': meta['arch'],
        'checkpoint': _shown(candidate.checkpoint, suite.root),
        'sha256': file_sha256(candidate.checkpoint),
        'training': None,
    }
    if name in suite.lineages:
        lineage = suite.lineages[name]
        records = pipeline.done_records(lineage.experiment)
        about['training'] = cost.training(records, lineage.trained)
        about['training'] |= {'iterations': sum(lineage.spent('iterations').values()),
                              'images': sum(lineage.spent('images').values())}  # fmt: skip
    return about


def _shown(file: Path, root: Path) -> str:
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)
