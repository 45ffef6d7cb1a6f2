"""What a suite leaves to look at: ``results.json``, ``report.md``, ``report.html`` and ``figures/``."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fsr_plugins.atomic import write_text
from fsr_plugins.bench import curves, pictures
from fsr_plugins.bench.candidate import Candidate
from fsr_plugins.bench.data import TestSet
from fsr_plugins.bench.markdown import markdown
from fsr_plugins.bench.options import Curves
from fsr_plugins.bench.page import page
from fsr_plugins.bench.results import Measured, Results
from fsr_plugins.bench.suite import Suite
from fsr_plugins.engine.plain import json_text

logger = logging.getLogger(__name__)


def write(
    suite: Suite,
    results: Results,
    tests: TestSet,
    candidates: Mapping[str, Candidate],
    measured: Mapping[str, Measured],
) -> None:
    """Writes everything into the suite's folder.

    Args:
        measured: figures and values by entry, of which the worst faces are found.
    """
    folder = suite.folder
    write_text(folder / 'results.json', json_text(results, indent=2))
    titled = {suite.title(name): candidate for name, candidate in candidates.items()}
    shown = pictures.write_all(folder / 'figures', tests, titled, _worst(suite, results, measured), suite.pictures)
    write_text(folder / 'report.md', markdown(results, shown, folder))
    caption = ''
    if suite.curves is not None and suite.budget is not None:
        caption = (
            f'{next(iter(suite.curves.metrics))} of the first {suite.curves.number} {_watched(suite.curves)} over the '
            f'{suite.budget.unit} that a network has seen; nothing was chosen by it'
        )
        if any(len(entry.seeds) > 1 for entry in suite.entries.values()):
            caption += '; of several seeds the first'
    write_text(folder / 'report.html', page(results, shown, curves.learning_curves(suite), caption))
    logger.info('Report: %s', folder / 'report.html')


def _watched(curves: Curves) -> str:
    return 'test faces' if curves.set is None else f'faces of {curves.set["dataroot_gt"]}'


def _worst(suite: Suite, results: Results, measured: Mapping[str, Measured]) -> dict[str, list[str]]:
    """The worst faces of every entry by the first metric that has a value for each image."""
    metrics = [name for name in results['metrics'] if any(name in found['images'] for found in measured.values())]
    if not metrics:
        return {}
    better = results['metrics'][metrics[0]]['better']
    return {
        suite.title(name): pictures.worst_faces(measured[name], metrics[0], better, suite.pictures.worst)
        for name in suite.entries
    }
