"""The one evaluator: everything on the same batches, with the registry's metrics, a value an image."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsr_plugins.bench.candidate import Candidate
from fsr_plugins.bench.data import TestSet
from fsr_plugins.bench.options import BICUBIC
from fsr_plugins.bench.results import Measured, MetricResults
from fsr_plugins.bench.suite import metric_arguments
from fsr_plugins.config.options import Block
from fsr_plugins.config.problems import explained, explained_wholly
from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.engine import distributed
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import ABSENT
from fsr_plugins.models.evaluation import HR, SetEvaluation, build_metrics
from fsr_plugins.registry import lookup
from fsr_plugins.weights import locate

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SuiteMetrics:
    """The metrics of a suite: the blocks of those that can be taken here, and how each is taken or why it is absent."""

    blocks: dict[str, Block]
    about: dict[str, MetricResults]


def available_metrics(blocks: Mapping[str, Block]) -> SuiteMetrics:
    """Looks for the weights of every metric, before anything is trained.

    Raises:
        UserError: a metric's weights are not available, and its block does not say ``optional: true``.
    """
    present: dict[str, Block] = {}
    about: dict[str, MetricResults] = {}
    for name, block in blocks.items():
        arguments = metric_arguments(block)
        cls = lookup('metrics', arguments['type'])
        try:
            for weight in cls.requirements(**{key: value for key, value in arguments.items() if key != 'type'}):
                locate(weight)
            convention = build_metrics({name: arguments})[name].convention
        except UserError as error:
            if not block.get('optional'):
                raise UserError(
                    f"The metric '{name}' of the suite cannot be taken: {error} Or mark it as absent where it is by "
                    "'optional: true'."
                ) from error
            convention = f'{ABSENT}{error}'
        absent = convention.removeprefix(ABSENT) if convention.startswith(ABSENT) else None
        if absent is None:
            present[name] = arguments
        about[name] = {'type': block['type'], 'convention': convention, 'better': cls.better, 'absent': absent}
    return SuiteMetrics(present, about)


class Evaluator:
    """Measures one candidate after the other on a test set.

    Args:
        tests: the images.
        metrics: what is taken of them.
    """

    def __init__(self, tests: TestSet, metrics: SuiteMetrics) -> None:
        self.tests, self.metrics = tests, metrics
        #: By batch, what metrics computed of HR, which is the same for every network.
        self._of_hr: dict[int, dict[tuple[str, ...], Tensor]] = {}

    def check(self) -> None:
        """Takes every metric of one bicubic image, and asks it of the whole set, while nothing is trained yet.

        Raises:
            UserError: a metric needs what the test set does not have.
        """
        (lq, gt, meta), dataset = self.tests.first(), self.tests.dataset
        for name, block in self.metrics.blocks.items():
            evaluation = SetEvaluation({}, {name: block}, True, rate_hr=False, images=[BICUBIC])
            with explained_wholly(f"The metric '{name}' of the suite fails"), torch.inference_mode():
                evaluation.take({BICUBIC: bicubic_up(lq, self.tests.scale)}, gt, meta)
                evaluation.metrics[BICUBIC][name].check_set(dataset.keys, dataset.identities)

    def measure(self, candidate: Candidate) -> Measured:
        """Figures of one candidate, or of HR itself by the metrics that rate it.

        Raises:
            UserError: its images are not of HR's size.
        """
        logger.info("'%s' is measured on %d images.", candidate.name, len(self.tests))
        restore = {candidate.name: candidate.restorer(self.tests.scale, self.tests.device)}
        if candidate.name == HR:
            restore = {}
        evaluation = SetEvaluation({}, self.metrics.blocks, True, rate_hr=candidate.name == HR, images=restore)
        taken = evaluation.metrics.get(candidate.name, {})
        keys: list[str] = []
        images: dict[str, list[Tensor]] = {}
        with torch.inference_mode(), _repeatable():
            for number, (lq, gt, meta) in enumerate(self.tests.batches()):
                cache = dict(self._of_hr.get(number, {}))
                with explained(f"the entry '{candidate.name}' fails on a batch of '{meta['keys'][0]}'"):
                    made = {name: images_of(lq, meta['keys']) for name, images_of in restore.items()}
                    evaluation.take(made, gt, meta, cache)
                self._of_hr[number] = {key: value for key, value in cache.items() if key[-1] == HR}
                keys += meta['keys']
                for name, metric in taken.items():
                    for values in list(metric.last.values())[:1]:
                        images.setdefault(name, []).append(values.double().cpu())
            figures = evaluation.compute().get(candidate.name, {})
        pairs = {name: value for name, metric in taken.items() for value in list(metric.outcomes.values())[:1]}
        return {
            'figures': {name: _plain(value) for name, value in figures.items()},
            'keys': keys,
            'images': {name: [_plain(value) for value in torch.cat(parts).tolist()] for name, parts in images.items()},
            'pairs': {name: [_plain(value) for value in values.tolist()] for name, values in pairs.items()},
            'pair_keys': {
                name: [list(side) for side in keys_of_pairs]
                for name, metric in taken.items()
                for keys_of_pairs in list(metric.pair_keys.values())[:1]
            },
        }


@contextmanager
def _repeatable() -> Iterator[None]:
    """Algorithms that give the same bits every time."""
    distributed.choose_algorithms(True)
    try:
        yield
    finally:
        distributed.choose_algorithms(False)


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None
