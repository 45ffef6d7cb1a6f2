"""An experiment from its first stage to its summary: order, resume, hand-over."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from fsr_plugins import config, preflight
from fsr_plugins.atomic import write_text
from fsr_plugins.checkpoints import META, PARAMS_EMA, load_state, network_file
from fsr_plugins.config import Experiment, Stage, finished
from fsr_plugins.config.finished import DONE
from fsr_plugins.config.inputs import StageInputs, gather_inputs
from fsr_plugins.engine import distributed, logs, report
from fsr_plugins.engine.distributed import World
from fsr_plugins.engine.given import given_model, tested_model
from fsr_plugins.engine.loaders import make_val_loaders
from fsr_plugins.engine.lock import only_writer
from fsr_plugins.engine.machine import machine
from fsr_plugins.engine.plain import figures, json_text, plain
from fsr_plugins.engine.set_generation import SetGenerator, remove_parts
from fsr_plugins.engine.states import STATES
from fsr_plugins.engine.trainer import StageOutcome, Trainer
from fsr_plugins.errors import UserError
from fsr_plugins.models.base import FSRModel
from fsr_plugins.models.evaluation import HR
from fsr_plugins.preflight import Standing
from fsr_plugins.values import Record
from fsr_plugins.weights import file_sha256

logger = logging.getLogger(__name__)


def run(
    experiment: Experiment, launcher: str = 'none', *, checked: bool = False, accept_changes: bool = False
) -> Record:
    """Checks everything, then trains what is not done yet, stage by stage, and sums up.

    Args:
        launcher: ``none``, ``pytorch`` (torchrun) or ``slurm``.
        checked: :func:`check` has been called under :func:`~fsr_plugins.engine.lock.only_writer`, which is still held.
        accept_changes: options and data of what was begun may have changed; see :mod:`fsr_plugins.preflight.standing`.
    Returns:
        the content of ``summary.json``.
    Raises:
        UserError: the option file, the data or a finished stage does not fit, or another process trains the
            experiment; nothing was trained or overwritten.
        RunError: training could not go on.
    """
    first = next(iter(experiment.stages.values())).options
    world = distributed.start(launcher, first.num_gpu, first.dist_params)
    try:
        logs.set_up(world.is_main)
        with distributed.naming_lost_processes(), ExitStack() as held:
            if not checked:
                # Rank 0 holds the lock; if it cannot get it, every rank says so.
                distributed.on_main(lambda: held.enter_context(only_writer(experiment.folder)))
            return _run(experiment, world, checked, accept_changes)
    finally:
        distributed.stop()


def _run(experiment: Experiment, world: World, checked: bool, accept: bool) -> Record:
    stands = partial(preflight.standing, processes=world.size, accept=accept)

    def begin() -> dict[str, Standing]:
        if checked:
            return {name: stands(stage) for name, stage in experiment.stages.items()}
        return check(experiment, world.size, accept)

    standings: dict[str, Standing] = distributed.on_main(begin)
    done: dict[str, Record] = {}
    trained: set[str] = set()
    for name, stage in experiment.stages.items():
        # What has been trained in between may be what it was made of.
        stood = distributed.on_main(partial(stands, stage)) if trained & set(stage.needs) else standings[name]
        if stood.record is not None and not stood.measure:
            logger.info("Stage '%s' is done (%d iterations): skipped.", name, stood.record['iterations'])
            done[name] = stood.record
            distributed.on_main(partial(remove_parts, stage))
            continue
        # Hours may have passed since they were made.
        distributed.on_main(partial(finished.verify_all, [experiment.stages[needed] for needed in stage.needs]))
        if stood.record is not None:
            done[name] = _measure_again(stage, stood.record, stood.inputs, world)
            continue
        trained.add(name)
        if stood.anew:
            distributed.on_main(partial(_put_aside, stage))
        done[name] = _train(stage, world, stood)
    return distributed.on_main(lambda: _sum_up(experiment, done))


def _put_aside(stage: Stage) -> None:
    """Renames the folder of a stage that begins anew, as BasicSR does with that of an experiment."""
    kept = stage.folder.with_name(f'{stage.folder.name}_archived_{time.strftime("%Y%m%d_%H%M%S")}')
    stage.folder.rename(kept)
    logger.info("Stage '%s' begins anew, since what it is made of has changed; what it had is in %s.", stage.name, kept)


def _measure_again(stage: Stage, record: Record, inputs: StageInputs, world: World) -> Record:
    """Validates a finished stage whose validation is not what it was, and writes the new figures."""
    logger.info("Stage '%s' is done; its validation has changed: measured again.", stage.name)
    loaders = make_val_loaders(stage.options, world, pin_memory=False) if stage.options.val_freq else {}
    model = _finished_model(stage, world) if loaders else None
    found = {name: model.validate(loader) for name, loader in loaders.items()} if model is not None else {}
    changed = plain({**record, 'validation': found, 'inputs': inputs, 'options': config.fingerprint(stage.opt)})

    def write() -> Record:
        write_text(stage.folder / preflight.OPTIONS, config.dump(stage.opt))
        write_text(stage.folder / DONE, json_text(changed, indent=2))
        return changed

    return distributed.on_main(write)


def evaluate(experiment: Experiment, launcher: str = 'none') -> Record:
    """Validates the networks of the last stage that validates anything, as its finished experiment left them.

    Those of an option file that trains nothing have the weights that it names.

    Returns:
        ``{"name", "stage", "metrics": {stage: {metric: convention}}, "validation": {set: {net: {metric: value}}},
        "tables": {title: rows}}``; a figure that is NaN or Inf is None. ``"pictures"``: the folder of those written.
    Raises:
        UserError: the experiment has not been trained to its end, or what it left is missing or damaged.
    """
    first = next(iter(experiment.stages.values())).options
    world = distributed.start(launcher, first.num_gpu, first.dist_params)
    try:
        logs.set_up(world.is_main)
        stage = _last_validating(experiment)
        if stage is None:
            raise UserError(f"{experiment.file} validates nothing: it has no 'val' or no 'val_…' dataset.")
        if experiment.trains:
            if finished.record(stage) is None:
                lacks = f"Stage '{stage.name}' {finished.shortfall(stage)} ({stage.folder})"
                raise UserError(f'{lacks}: run `fsr train` first, or give the --set that it was trained with.')
            finished.verify_all([*(experiment.stages[name] for name in stage.needs), stage])
        with distributed.naming_lost_processes():
            model = _finished_model(stage, world) if experiment.trains else given_model(stage, world)
            loaders = make_val_loaders(stage.options, world, pin_memory=False)
            pictures = Path(model.options.path['visualization'])
            val = stage.options.val
            saves = val is not None and val.save_img
            suffix = (val.suffix if val is not None else None) or ('test' if experiment.trains else experiment.name)
            found = {
                name: model.validate(loader, pictures / name if saves else None, suffix)
                for name, loader in loaders.items()
            }
        measured = {'validation': found, 'tables': model.evaluation.tables(found)}
        about = {'name': experiment.name, 'stage': stage.name, 'metrics': _conventions({stage.name: stage})}
        written = {'pictures': str(pictures)} if saves and model.evaluation.shows_images else {}
        return plain({**about, **measured, **written})
    finally:
        distributed.stop()


def check(experiment: Experiment, processes: int | None = None, accept: bool = False) -> dict[str, Standing]:
    """Everything that is looked at before the first iteration; where each stage stands. Warnings are logged.

    Args:
        processes, accept: see :func:`fsr_plugins.preflight.standing.standing`.
    Raises:
        UserError: every reason for which training cannot begin, a line each.
    """
    done = {name for name, stage in experiment.stages.items() if finished.record(stage) is not None}
    # A stage that has begun has trained its first iteration.
    begun = {name for name, stage in experiment.stages.items() if (stage.folder / STATES).exists()}
    report = preflight.check(experiment, dry_steps=True, skip=done, dry_skip=begun, processes=processes, accept=accept)
    for warning in report.warnings:
        logger.warning('%s', warning)
    return report.standings


def _train(stage: Stage, world: World, stands: Standing) -> Record:
    opt = config.runtime(stage, rank=world.rank, world_size=world.size, is_train=True)
    distributed.on_main(lambda: write_text(stage.folder / preflight.OPTIONS, config.dump(stage.opt)))
    # Sets and weights that an earlier stage has made are there only now.
    inputs: StageInputs = distributed.on_main(lambda: gather_inputs(stage.opt, world.size))
    if stage.generates_set:
        tested = config.runtime(stage, world.rank, world.size, is_train=False)
        made = SetGenerator(tested, stage.folder, world, inputs).run()
        return distributed.on_main(lambda: _write_record(stage, {**made, 'validation': {}}, inputs))
    outcome = Trainer(opt, stage.folder, world, inputs, stands.changes, stands.renew).run()
    return distributed.on_main(lambda: _write_record(stage, _trained(stage, outcome), inputs))


def _trained(stage: Stage, outcome: StageOutcome) -> Record:
    """What a trained stage leaves: the result network first, every other too."""
    result = stage.result_label
    return {
        'iterations': outcome.iterations,
        'seconds': round(outcome.seconds, 1),
        'checkpoint': str(outcome.checkpoints[result]),
        'sha256': file_sha256(outcome.checkpoints[result]),
        'networks': {
            label: {'checkpoint': str(path), 'sha256': file_sha256(path)} for label, path in outcome.checkpoints.items()
        },
        'validation': outcome.validation,
        **({'history': outcome.history} if outcome.history else {}),
    }


def _write_record(stage: Stage, made: Record, inputs: StageInputs) -> Record:
    """Writes ``done.json``."""
    about = {'options': config.fingerprint(stage.opt), 'inputs': inputs, 'machine': machine()}
    record: Record = plain({**made, **about})
    write_text(stage.folder / DONE, json_text(record, indent=2))
    remove_parts(stage)
    return record


def _sum_up(experiment: Experiment, done: dict[str, Record]) -> Record:
    keys = ('iterations', 'seconds', 'checkpoint', 'sha256', 'history')
    # The later stage's where both show one.
    tables: dict[str, list[Record]] = {}
    for name, stage in experiment.stages.items():
        tables |= stage.model.evaluation.tables(figures(done[name]['validation']))
    summary: Record = {
        'name': experiment.name,
        'stages': {name: {key: done[name][key] for key in keys if key in done[name]} for name in experiment.stages},
        'metrics': _conventions(experiment.stages),
        'validation': _validation({name: done[name]['validation'] for name in experiment.stages}),
        'tables': plain(tables),
    }
    # The summary comes last: where it is, everything is.
    _write_comparison(experiment)
    logger.info('Summary: %s', report.write_summary(experiment.folder, summary))
    return summary


def _validation(stages: dict[str, Record]) -> Record:
    """The figures of all stages by set and net, of the last stage where names meet; results by their stages too."""
    several = sum(bool(sets) for sets in stages.values()) > 1
    validation: Record = {}
    for stage, sets in stages.items():
        for dataset, nets in sets.items():
            own = {stage: nets['result']} if several and 'result' in nets else {}
            validation.setdefault(dataset, {}).update(nets | own)
    # As a table is read: what everything is compared with first, the result last.
    return {
        dataset: {net: nets[net] for net in sorted(nets, key=lambda net: (net not in ('bicubic', HR), net == 'result'))}
        for dataset, nets in validation.items()
    }


def _conventions(stages: Mapping[str, Stage]) -> dict[str, dict[str, str]]:
    """How the figures were taken, and by which judge, or why they are absent, by stage and metric."""
    return {
        name: stage.model.evaluation.conventions(stage.options.metrics)
        for name, stage in stages.items()
        if stage.options.metrics
    }


def _write_comparison(experiment: Experiment) -> None:
    """``comparison.png`` of the first set that has HR, ``comparison_<set>.png`` of the others."""
    stage = _last_validating(experiment, with_images=True)
    if stage is None:
        return
    loaders = make_val_loaders(stage.options, World(), pin_memory=False)
    paired = {name: loader for name, loader in loaders.items() if getattr(loader.dataset, 'has_gt', True)} or loaders
    model = _finished_model(stage, World())
    for number, (name, loader) in enumerate(paired.items()):
        path = experiment.folder / (f'comparison_{name}.png' if number else 'comparison.png')
        report.write_comparison(path, report.comparison(model, loader))
        logger.info('Picture of %s: %s', name, path)


def _last_validating(experiment: Experiment, with_images: bool = False) -> Stage | None:
    """The last stage that has sets to validate on, if any has; with images: of those whose networks give some."""
    for stage in reversed(experiment.stages.values()):
        validates = stage.options.val_freq and stage.options.validation_sets
        if validates and (not with_images or stage.model.evaluation.shows_images):
            return stage
    return None


def _finished_model(stage: Stage, world: World) -> FSRModel:
    """The stage's model for testing, with the weights the stage ended with, averaged ones where there are some."""
    scale = stage.options.scale
    weights: Record = {}
    for label, network in stage.networks.items():
        use = stage.declared[label]
        if not use.frozen and not use.train_only:
            path = network_file(stage.folder / 'models', label)
            weights |= {network.weights_key: str(path), network.params_key: PARAMS_EMA}
            trained = load_state(path).get(META, {}).get('scale', scale)
            if trained != scale:
                raise UserError(
                    f"{stage.where(('scale',))}: key 'scale' is {scale}, but '{stage.name}' was trained with "
                    f'{trained}: leave it as it was.'
                )
    opt = config.runtime(stage, rank=world.rank, world_size=world.size, is_train=False)
    return tested_model(stage, {**opt, 'path': {**opt['path'], **weights}})
