"""A suite from its checks to its report: what is done is not done again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from fsr_plugins.adaptation import oneshot
from fsr_plugins.bench import cost, fairness
from fsr_plugins.bench.cache import MeasurementCache, code_version, device_name
from fsr_plugins.bench.candidate import Candidate
from fsr_plugins.bench.colours import colours_of_suite
from fsr_plugins.bench.data import TestSet
from fsr_plugins.bench.evaluation import Evaluator, SuiteMetrics, available_metrics
from fsr_plugins.bench.gather import gather
from fsr_plugins.bench.options import MATCHED
from fsr_plugins.bench.others import images_of
from fsr_plugins.bench.report import write
from fsr_plugins.bench.results import Complexity, EntryCost, Measured, Results
from fsr_plugins.bench.suite import Suite
from fsr_plugins.bench.train_entries import train_entries
from fsr_plugins.bench.variants import mean_over_seeds, spread_over_seeds
from fsr_plugins.checkpoints import about, resolved
from fsr_plugins.config.inputs import content_named_in
from fsr_plugins.engine import distributed, logs
from fsr_plugins.engine.machine import machine
from fsr_plugins.models.evaluation import HR
from fsr_plugins.stores.checksum import faces_checksum


def run(suite: Suite, *, evaluate_only: bool = False) -> Results:
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
    images = {
        name: images_of(name, entry.images, entry.template, tests)
        for name, entry in suite.entries.items()
        if entry.images is not None
    }
    train = fairness.training_fingerprint(suite)
    excused = fairness.check(suite, train, tests.fingerprint)
    cache = MeasurementCache(suite.folder / 'cache')
    colours = {
        name: colours_of_suite(suite.options.train or {}, entry.lq, suite.run_options(), cache)
        for name, entry in suite.entries.items()
        if entry.type == MATCHED
    }
    train_entries(suite, evaluate_only, Evaluator(tests, metrics).check)
    candidates = {}
    for name, entry in suite.entries.items():
        # None too of bicubic and images.
        given = resolved(entry.checkpoint)[0] if entry.checkpoint is not None else None
        file = suite.lineages[name].checkpoint if name in suite.lineages else given
        candidates[name] = Candidate(name, file, entry.param_key, images.get(name), colours.get(name))
    others = {
        run: Candidate(run, suite.lineages[run].checkpoint, entry.param_key)
        for name, entry in suite.entries.items()
        for run in suite.runs(name)[1:]
    }
    each, costs = _measure(suite, tests, metrics, {**candidates, **others}, cache)
    trainings = {name: [each[run] for run in suite.runs(name)] for name in suite.entries}
    measured = {name: mean_over_seeds(found) for name, found in trainings.items()} | {HR: each[HR]}
    adapted = None if suite.oneshot is None else oneshot.run(suite.oneshot)
    spreads = {name: spread_over_seeds(found) for name, found in trainings.items()}
    results = gather(suite, tests, metrics, train, excused, measured, spreads, costs, candidates, adapted)
    write(suite, results, tests, candidates, measured)
    return results


def _measure(
    suite: Suite,
    tests: TestSet,
    metrics: SuiteMetrics,
    candidates: Mapping[str, Candidate],
    cache: MeasurementCache,
) -> tuple[dict[str, Measured], dict[str, EntryCost]]:
    """Figures of every entry, and costs of those that run here, from the cache where they are there."""
    evaluator = Evaluator(tests, metrics)
    measured: dict[str, Measured] = {}
    costs: dict[str, EntryCost] = {}
    everybody = {**candidates, HR: Candidate(HR)}
    # Points and identities beside the images, lists of pairs, weights of recognisers.
    faces = [faces_checksum(store) for store in tests.dataset.stores]
    files = content_named_in(metrics.blocks)
    for name, candidate in everybody.items():
        key: dict[str, object] = {
            'network': candidate.cache_key(),
            'code': code_version(_arch(candidate)),
            'test': {**suite.test, **tests.fingerprint.as_dict()},
            'options': suite.run_options(),
            'metrics': metrics.blocks,
            'faces': faces,
            'files': files,
            'conventions': {name: about['convention'] for name, about in metrics.about.items()},
            'device': device_name(tests.device),
        }
        measured[name] = cache.get_or_measure('figures', key, partial(evaluator.measure, candidate))
        if name in suite.entries and candidate.images is None:
            key = {
                'network': candidate.cache_key(),
                'code': code_version(_arch(candidate)),
                'size': list(tests.lr_size),
                'scale': suite.options.scale,
                'how': suite.cost.model_dump(),
                'machine': machine(),
                'device': device_name(tests.device),
            }
            costs[name] = cache.get_or_measure('cost', key, partial(_cost, suite, tests, candidate))
    return measured, costs


def _arch(candidate: Candidate) -> str | None:
    return None if candidate.checkpoint is None else about(candidate.checkpoint)['arch']['type']


def _cost(suite: Suite, tests: TestSet, candidate: Candidate) -> EntryCost:
    found: Complexity = {'parameters': 0, 'macs': None, 'why_not': 'there is no network'}
    if candidate.checkpoint is not None:
        # One of its own: the analysis wraps what it counts.
        found = cost.complexity(candidate.module(), tests.lr_size)
    net = candidate.network(tests.scale, tests.device)
    return {**found, 'device': device_name(tests.device),
            'speed': cost.speed(net, tests.lr_size, suite.cost, tests.device)}  # fmt: skip
