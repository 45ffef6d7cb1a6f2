"""Other people's datasets: samples by (seed, epoch, index), whoever makes them, and from wherever on."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from fsr_plugins.config.settings import read_settings
from fsr_plugins.data.seeded import OneByOne, SeededLoader, seeded
from fsr_plugins.engine.distributed import World
from fsr_plugins.engine.loaders import make_train_loader
from fsr_plugins.registry import DATASET_REGISTRY


class Drawn:
    """Samples of random numbers, of all three generators, with their index."""

    opt = {'name': 'drawn'}

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, Any]:
        drawn = torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))])
        return {'index': index, 'drawn': drawn, 'image': torch.zeros(4, 5, 3).permute(2, 0, 1)}


def batches(count: int, start: int = 0, workers: int = 0, seed: int = 7) -> list[dict[str, Any]]:
    with SeededLoader(Drawn(), 2, workers=workers, pin_memory=False, seed=seed, start=start) as loader:
        made = iter(loader)
        return [next(made) for _ in range(count)]


def values(found: list[dict[str, Any]]) -> list[list[float]]:
    return [batch['drawn'].flatten().tolist() for batch in found]


def test_samples_do_not_depend_on_the_process_that_makes_them() -> None:
    alone = batches(7)
    assert values(alone) == values(batches(7, workers=2))
    assert values(alone)[4:] == values(batches(3, start=4, workers=1))
    assert values(alone) != values(batches(7, seed=8))
    assert all(batch['image'].is_contiguous() for batch in alone)
    first, second = (torch.cat([b['index'] for b in alone])[part].tolist() for part in (slice(0, 5), slice(5, 10)))
    assert sorted(first) == sorted(second) == list(range(5))
    drawn = torch.cat([batch['drawn'] for batch in alone])[:10]
    assert len(drawn.unique()) == 30  # another epoch, other numbers


def test_the_common_generators_stay_as_they_are() -> None:
    before = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    batches(3)
    assert before == [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    with seeded(2**62 + 5):
        one = random.random(), np.random.rand(), torch.rand(2).tolist()
    with seeded(2**62 + 5):
        assert one == (random.random(), np.random.rand(), torch.rand(2).tolist())


def test_the_beginning_of_a_set_seems_to_be_all_of_it() -> None:
    data = Drawn()
    loader = OneByOne(data, first=2)
    assert len(loader.dataset) == 2 and loader.dataset.opt is data.opt
    assert [int(batch['index']) for batch in loader] == [0, 1]
    assert len(OneByOne(data)) == 5


@DATASET_REGISTRY.register()
class DrawnForModelsHere(Drawn):
    """As a package may register one."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt


@pytest.mark.parametrize('workers', [0, 2])
def test_models_of_this_toolkit_see_the_same_samples_wherever_training_goes_on(workers: int) -> None:
    block = {'type': 'DrawnForModelsHere', 'batch_size_per_gpu': 2, 'num_worker_per_gpu': workers}
    options = read_settings(tiny.stage({}, datasets={'train': block}, model_type='SupervisedModel', manual_seed=7))

    def seen(count: int, start: int = 0) -> list[list[float]]:
        with make_train_loader(options, World(), start, pin_memory=False) as loader:
            made = iter(loader)
            return values([next(made) for _ in range(count)])

    assert seen(5) == values(batches(5))
    assert seen(2, start=3) == seen(5)[3:]
