"""One iteration of a stage before anything is trained, in memory only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fsr_plugins.config import Experiment, Stage, runtime
from fsr_plugins.config.dependencies import source_stage, unfinished_stage
from fsr_plugins.config.problems import explained
from fsr_plugins.config.schema import loss_blocks
from fsr_plugins.data.loader import OrderedLoader
from fsr_plugins.engine.distributed import World
from fsr_plugins.engine.set_generation import make_source
from fsr_plugins.engine.trainer import make_train_loader
from fsr_plugins.errors import UserError
from fsr_plugins.registry import lookup


def dry_step(experiment: Experiment, stage: Stage) -> list[str]:
    """Trains one iteration on the first batch, in memory, with random weights where a stage has yet to make them."""
    blocks = [*stage.opt['datasets'].values(), *loss_blocks(stage.opt).values()]
    if any(unfinished_stage(experiment, stage, block) for block in blocks):
        return [f"Stage '{stage.name}' has no dry step before the stages it takes data or losses from are done."]
    opt = runtime(stage, is_train=not stage.generates_set)
    opt['compile'] = False
    for key, value in list(opt['path'].items()):
        is_network = key.startswith('pretrain_network_') and value is not None
        if is_network and source_stage(experiment, stage, value) is not None and not Path(value).exists():
            del opt['path'][key]
    place = stage.where(('model_type',))
    with explained(f"{place}: the first iteration of stage '{stage.name}' fails"):
        if stage.generates_set:
            dataset = make_source(opt)
            size = min(opt['datasets']['train'].get('batch_size_per_gpu', 16), len(dataset))
            with _freed(size), OrderedLoader(dataset, size, [range(size)]) as images:
                model = lookup('models', opt['model_type'])(opt)
                model.feed_data(next(iter(images)))
                model.generate_bytes()
            return []
        with _freed(opt['datasets']['train']['batch_size_per_gpu']):
            model = lookup('models', opt['model_type'])(opt)
            with make_train_loader(opt, World(), 0, False) as loader:
                model.check_data(loader.dataset)
                model.feed_data(next(iter(loader)))
            model.optimize_parameters(1)
            model.get_current_log()
    return []


@contextmanager
def _freed(batch_size: int) -> Iterator[None]:
    """Says so if the GPU's memory is too small for a batch, and gives the memory back."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(
            f"A batch of {batch_size} does not fit into the GPU's memory: lower "
            "'datasets.train.batch_size_per_gpu' or use 'precision: bf16'."
        ) from error
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
