"""What was recorded while the entries were trained."""

from __future__ import annotations

from collections.abc import Iterator

from fsr_plugins.bench.apply_suite import MONITORED
from fsr_plugins.bench.lineage import Lineage, training_amount
from fsr_plugins.bench.suite import Suite
from fsr_plugins.engine.logs import read_records

#: Places (amount seen, value) of one entry.
Line = list[tuple[float, float]]


def learning_curves(suite: Suite) -> dict[str, Line]:
    """By the titles of the entries, the first metric of ``curves`` over the budget's unit, stage after stage."""
    if suite.curves is None or suite.budget is None:
        return {}
    metric = next(iter(suite.curves.metrics))
    # Of several seeds the first.
    lineages = {name: suite.lineages[name] for name in suite.entries if name in suite.lineages}
    found = {suite.title(name): list(_line(entry, metric, suite.budget.unit)) for name, entry in lineages.items()}
    return {name: line for name, line in found.items() if line}


def _line(entry: Lineage, metric: str, unit: str) -> Iterator[tuple[float, float]]:
    before = 0
    for name in entry.trained:
        stage = entry.experiment.stages[name]
        total, iterations = training_amount(stage, unit), stage.train.total_iter
        for record in read_records(stage.folder / 'metrics.jsonl'):
            value = record.get('validation', {}).get(MONITORED, {}).get('result', {}).get(metric)
            if value is not None:
                yield before + record['iter'] * total / iterations, value
        before += total
