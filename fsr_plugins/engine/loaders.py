"""The datasets and loaders that a stage's options name."""

from __future__ import annotations

from typing import Any

from fsr_plugins.config.problems import explained
from fsr_plugins.config.settings import SetOptions, StageSettings
from fsr_plugins.data.loader import EvalLoader, TrainLoader
from fsr_plugins.engine.distributed import World
from fsr_plugins.registry import lookup


def make_dataset(data: SetOptions, phase: str, options: StageSettings) -> Any:
    """The dataset a block under ``datasets`` names, with the keys BasicSR adds and the run's seed."""
    block = {'scale': options.scale, 'seed': options.manual_seed, **data.block, 'name': data.name, 'phase': phase}
    with explained(f"the set '{data.name}' cannot be built"):
        return lookup('datasets', data.type)(block)


def make_train_loader(options: StageSettings, world: World, start: int, pin_memory: bool) -> TrainLoader:
    """Batches of ``datasets.train`` from iteration ``start`` on."""
    data = options.sets['train']
    return TrainLoader(
        make_dataset(data, 'train', options),
        data.batch_size,
        seed=options.manual_seed,
        rank=world.rank,
        world_size=world.size,
        start=start,
        threads=data.threads,
        pin_memory=pin_memory,
    )


def make_val_loaders(options: StageSettings, world: World, pin_memory: bool) -> dict[str, EvalLoader]:
    """A loader for every set under ``datasets`` but ``train``, by the set's name; each rank gets its share."""
    return {
        data.name: EvalLoader(
            make_dataset(data, 'val', options),
            data.batch_size,
            rank=world.rank,
            world_size=world.size,
            threads=data.threads,
            pin_memory=pin_memory,
        )
        for data in options.validation_sets
    }
