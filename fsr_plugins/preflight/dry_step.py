"""One iteration and one validation of a stage before anything is trained, in memory only."""

from __future__ import annotations

from pathlib import Path

from fsr_plugins.config import Experiment, Stage, runtime
from fsr_plugins.config.dependencies import source_stage, unfinished_stage
from fsr_plugins.config.problems import explained
from fsr_plugins.config.schema import loss_blocks
from fsr_plugins.data.batches import Batch
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.data.loader import OrderedLoader, TrainLoader
from fsr_plugins.data.seeded import SeededLoader
from fsr_plugins.engine.distributed import World
from fsr_plugins.engine.loaders import make_train_loader
from fsr_plugins.engine.set_generation import make_source
from fsr_plugins.models.base import FSRModel
from fsr_plugins.preflight.checks import Later
from fsr_plugins.preflight.hosted_step import hosted_step
from fsr_plugins.preflight.memory import bytes_of, check_fits, freed
from fsr_plugins.preflight.trial import check_scale, try_validation, without_metrics_to_come
from fsr_plugins.values import Options


def dry_step(experiment: Experiment, stage: Stage) -> list[str]:
    """Trains one iteration on the first batch and tries validation, with random weights where a stage has to make them.

    It is the first one in which all that ever learns does: a discriminator may begin alone, a penalty be due now and
    then.

    Raises:
        UserError: either cannot be done; with the place of the key.

    Returns:
        What was not tried, in sentences.
    """
    blocks = [*(data.block for data in stage.options.sets.values()), *loss_blocks(stage.opt).values()]
    waiting = next((name for block in blocks if (name := unfinished_stage(experiment, stage, block))), '')
    if waiting:
        why = f"Not tried: stage '{stage.name}' takes data or a loss from stage '{waiting}', which is not done."
        return [Later(why)]
    opt = runtime(stage, is_train=not stage.generates_set)
    opt['compile'] = False
    for network in stage.networks.values():
        weights = network.weights
        if weights and source_stage(experiment, stage, weights) is not None and not Path(weights).exists():
            del opt['path'][network.weights_key]
    if stage.is_hosted:
        hosted_step(stage, opt)
        return []
    to_come = without_metrics_to_come(experiment, stage, opt)
    if stage.generates_set:
        with explained(_failing(stage, 1)):
            _make_a_batch(stage, opt)
        return []
    try_validation(stage, _train_an_iteration(stage, opt), opt)
    names = ', '.join(f"'{name}'" for name in to_come)
    return [Later(f'Tried without the metrics {names}, whose weights a stage has yet to make.')] if to_come else []


def _failing(stage: Stage, iteration: int) -> str:
    which = 'the first iteration' if iteration == 1 else f'iteration {iteration}'
    return f"{stage.where(('model_type',))}: {which} of stage '{stage.name}' fails"


def _make_a_batch(stage: Stage, opt: Options) -> None:
    """The first images of the set that a stage makes."""
    dataset = make_source(stage.options)
    size = min(stage.data.batch_size, len(dataset))
    with freed(size):
        model = stage.model(opt)

        def generate(number: int) -> Batch:
            with OrderedLoader(dataset, number, [range(number)], prefetch=1) as images:
                batch = next(iter(images))
            model.feed_data(batch)
            model.generate_bytes()
            return batch

        if model.device.type == 'cpu':
            check_fits(generate, size, bytes_of(generate(1)), _key(stage, 'train'))
        generate(size)


def _train_an_iteration(stage: Stage, opt: Options) -> FSRModel:
    """The model after its :meth:`~fsr_plugins.models.FSRModel.trial_iteration`, and with its batch."""
    iteration = 1
    with explained(lambda: _failing(stage, iteration)), freed(stage.data.batch_size):
        model: FSRModel = stage.model(opt)
        iteration = model.trial_iteration()
        with make_train_loader(stage.options, World(), 0, False) as loader:
            if isinstance(loader, SeededLoader):
                loader.in_this_process()
            model.check_data(loader.dataset)
            model.feed_data(_few(loader, 1))
            check_scale(stage, model, must_run=False)
            if model.device.type == 'cpu':
                _check_memory(stage, model, loader)
            model.feed_data(next(iter(loader)))
        model.optimize_parameters(iteration)
        model.get_current_log()
    return model


def _few(loader: TrainLoader, number: int) -> Batch:
    """So many images of a set."""
    with TrainLoader(loader.dataset, number, seed=loader.seed, prefetch=1) as few:
        return next(iter(few))


def _check_memory(stage: Stage, model: FSRModel, loader: TrainLoader) -> None:
    """Whether the memory is large enough for a training batch."""

    def train(number: int) -> None:
        model.feed_data(_few(loader, number))
        model.optimize_parameters(model.trial_iteration())

    kept = loader.dataset.memory() if isinstance(loader.dataset, ImageDataset) else 0
    check_fits(train, loader.batch_size, bytes_of(_few(loader, 1)), _key(stage, 'train'), kept)


def _key(stage: Stage, phase: str) -> str:
    """Where the size of the batches of a set stands, but for the last word."""
    return f"{stage.where(('datasets', phase, 'batch_size_per_gpu'))}: key 'datasets.{phase}"
