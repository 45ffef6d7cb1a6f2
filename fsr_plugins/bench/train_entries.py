"""The training of a suite's entries: everything is looked at first, and what is done is not done again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from fsr_plugins import pipeline
from fsr_plugins.bench.suite import Suite
from fsr_plugins.config import Experiment
from fsr_plugins.config.finished import is_finished, verify_all
from fsr_plugins.engine import report
from fsr_plugins.engine.lock import only_writer
from fsr_plugins.errors import UserError
from fsr_plugins.preflight import standing

logger = logging.getLogger(__name__)


def train_entries(suite: Suite, evaluate_only: bool, check: Callable[[], None]) -> None:
    """Trains the entries that are not, after a look at everything that could stop one of them.

    Args:
        check: what else is looked at before anything is trained.

    Raises:
        UserError: one cannot be trained, what one left is missing or damaged, another process trains one, or one is to
            be trained under ``evaluate_only``; nothing was trained.
        RunError: training could not go on.
    """
    experiments = {name: entry.experiment for name, entry in suite.lineages.items()}
    if suite.oneshot is not None:
        experiments['oneshot'] = suite.oneshot
    done = {
        name: all(is_finished(stage) for stage in experiment.stages.values())
        for name, experiment in experiments.items()
    }
    if evaluate_only and not all(done.values()):
        missing = ', '.join(name for name, is_done in done.items() if not is_done)
        raise UserError(f'Not trained yet: {missing}. Leave out --evaluate-only, or choose others by --entries.')
    # One that was interrupted at its very end has yet to be summed up.
    coming = [
        name
        for name, experiment in experiments.items()
        if not (done[name] and (experiment.folder / report.SUMMARY).exists())
    ]
    with ExitStack() as held:
        for name in [] if evaluate_only else coming:
            held.enter_context(only_writer(experiments[name].folder))
        _check(experiments, done)
        if not all(done.values()):
            check()
        for number, (name, experiment) in enumerate(experiments.items(), 1):
            if evaluate_only or name not in coming:
                logger.info("%d of %d: '%s' is trained.", number, len(experiments), name)
            else:
                logger.info("%d of %d: '%s' is trained now.", number, len(experiments), name)
                pipeline.run(experiment, checked=True)


def _check(experiments: Mapping[str, Experiment], done: Mapping[str, bool]) -> None:
    """Looks at the options and results of what is trained, and at everything that could stop the others."""
    problems: dict[str, None] = {}
    for name, experiment in experiments.items():
        try:
            if done[name]:
                verify_all(experiment.stages.values())
                for stage in experiment.stages.values():
                    standing(stage)
            else:
                pipeline.check(experiment)
        except UserError as error:
            problems |= dict.fromkeys(f"entry '{name}': {line}" for line in str(error).splitlines())
    if problems:
        raise UserError('\n'.join(problems))
