"""Which stages an entry's network comes from: those that must be trained, and those whose training it has seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fsr_plugins.bench.options import SuiteEntry
from fsr_plugins.checkpoints import label_of, network_file
from fsr_plugins.config import Experiment, Stage
from fsr_plugins.config.dependencies import source_stage
from fsr_plugins.errors import UserError
from fsr_plugins.registry import near


@dataclass(frozen=True)
class Lineage:
    """The stages that the network of an entry comes from.

    ``experiment`` has only the stages that this one needs; ``trained`` are those that train the network or what it is
    put together of, not those that only train its teachers.
    """

    experiment: Experiment
    stage: str
    label: str
    trained: tuple[str, ...]

    @property
    def checkpoint(self) -> Path:
        """Where the network's file is, or will be."""
        return network_file(self.experiment.stages[self.stage].folder / 'models', self.label)

    def spent(self, unit: str) -> dict[str, int]:
        """By stage of ``trained``, the iterations or images that the network sees there."""
        return {name: training_amount(self.experiment.stages[name], unit) for name in self.trained}

    def monitored_stages(self) -> tuple[str, ...]:
        """The stages whose validation shows SR images of a network of this kind.

        A teacher whose layers the network begins with is of another: it may need what the network does not.
        """
        kind = _kind(self.experiment.stages[self.stage], self.label)
        stages = {name: self.experiment.stages[name] for name in self.trained}
        return tuple(
            name
            for name, stage in stages.items()
            if stage.options.degradation
            and stage.model.evaluation.shows_images
            and _kind(stage, stage.result_label) == kind
        )


def lineage_of(experiment: Experiment, entry: SuiteEntry) -> Lineage:
    """The part of an experiment that an entry needs.

    Raises:
        UserError: there is no such stage or network.
    """
    name = entry.stage or list(experiment.stages)[-1]
    if name not in experiment.stages:
        there = ', '.join(experiment.stages)
        raise UserError(f"there is no stage '{name}' (there are: {there}).{near(name, experiment.stages)}")
    stage = experiment.stages[name]
    if stage.generates_set:
        raise UserError(f"stage '{name}' trains nothing: name the stage of the network by 'stage'.")
    model = stage.model
    label = entry.net or stage.result_label
    products = model.composite_blocks(stage.opt)
    known = [*(key for key, use in stage.declared.items() if not use.frozen), *products]
    if label not in known:
        raise UserError(f"stage '{name}' makes no '{label}' (it makes: {', '.join(known)}).{near(label, known)}")
    found = set(_trained(experiment, name, label))
    trained = tuple(other for other in experiment.stages if other in found)
    needed = set(_closure(experiment, name))
    stages = {other: stage for other, stage in experiment.stages.items() if other in needed}
    return Lineage(replace(experiment, stages=stages), name, label, trained)


def training_amount(stage: Stage, unit: str) -> int:
    """How many iterations, or images of one process, a stage trains."""
    iterations = stage.train.total_iter
    return iterations if unit == 'iterations' else iterations * stage.data.batch_size


def _kind(stage: Stage, label: str) -> object:
    """The arch of a stage's network; of one that is put together of others too."""
    network = stage.networks.get(label)
    block = stage.model.composite_blocks(stage.opt).get(label, {}) if network is None else network.block or {}
    return block.get('type')


def _closure(experiment: Experiment, name: str) -> Iterator[str]:
    yield name
    for needed in experiment.stages[name].needs:
        yield from _closure(experiment, needed)


def _trained(experiment: Experiment, name: str, label: str) -> Iterator[str]:
    """The stages in which a network, or what it is put together of, learns."""
    stage = experiment.stages[name]
    model = stage.model
    product = label in model.composite_blocks(stage.opt)
    for key, network in stage.networks.items():
        if stage.declared[key].train_only or not (key == label or product):
            continue
        path = network.weights
        source = source_stage(experiment, stage, path) if path is not None else None
        if source is not None:
            yield from _trained(experiment, source.name, label_of(Path(str(path))))
        if not stage.declared[key].frozen:
            yield name
