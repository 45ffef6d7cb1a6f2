"""The datasets and loaders that a stage's options name."""

from __future__ import annotations

import copy
from typing import Any

from fsr_plugins.config.hosted import names_hosted
from fsr_plugins.config.problems import explained
from fsr_plugins.config.settings import SetOptions, StageSettings
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.data.loader import EvalLoader, TrainLoader
from fsr_plugins.data.paired_images import check_pair_list
from fsr_plugins.data.seeded import OneByOne, SeededLoader
from fsr_plugins.engine.distributed import World
from fsr_plugins.registry import lookup


def make_dataset(data: SetOptions, phase: str, options: StageSettings) -> Any:
    """The dataset a block under ``datasets`` names, with the keys BasicSR adds and the run's seed."""
    block = {'scale': options.scale, 'seed': options.manual_seed, **data.block, 'name': data.name, 'phase': phase}
    if names_hosted({'model_type': options.model_type}):
        block = copy.deepcopy(block)  # BasicSR's sets take their blocks apart
    listed = block.get('meta_info')
    with explained(f"the set '{data.name}' cannot be built"):
        if data.type == 'RealESRGANPairedDataset' and isinstance(listed, str):
            check_pair_list(listed)
        return lookup('datasets', data.type)(block)


def make_train_loader(options: StageSettings, world: World, start: int, pin_memory: bool) -> TrainLoader:
    """Batches of ``datasets.train`` from iteration ``start`` on.

    Of sets that are not this toolkit's each sample is seeded: threads would share the common generators.
    """
    data = options.sets['train']
    dataset = make_dataset(data, 'train', options)
    if not isinstance(dataset, ImageDataset):
        return SeededLoader(
            dataset,
            data.batch_size,
            workers=data.threads,
            pin_memory=pin_memory,
            seed=options.manual_seed,
            rank=world.rank,
            world_size=world.size,
            start=start,
        )
    return TrainLoader(
        dataset,
        data.batch_size,
        seed=options.manual_seed,
        rank=world.rank,
        world_size=world.size,
        start=start,
        threads=data.threads,
        pin_memory=pin_memory,
    )


def make_val_loaders(options: StageSettings, world: World, pin_memory: bool) -> dict[str, Any]:
    """A loader for every set under ``datasets`` but ``train``, by the set's name; each rank gets its share.

    A hosted model shares a set out by itself.
    """
    if names_hosted({'model_type': options.model_type}):
        return {data.name: OneByOne(make_dataset(data, 'val', options)) for data in options.validation_sets}
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
