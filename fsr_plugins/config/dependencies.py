"""What a stage builds on that another stage of its experiment makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fsr_plugins.config.experiment import Experiment, Stage
from fsr_plugins.config.finished import is_finished


def named_stages(experiment: Experiment, stage: Stage, block: object) -> list[Stage]:
    """The stages whose results a block of a stage's options names."""
    paths = [Path(text) for text in texts(block)]
    needed = [experiment.stages[name] for name in stage.needs]
    return [other for other in needed if any(path.is_relative_to(other.folder) for path in paths)]


def unfinished_stage(experiment: Experiment, stage: Stage, block: object) -> str:
    """The stage, not finished yet, whose results a block names; an empty string if there is none."""
    return next((other.name for other in named_stages(experiment, stage, block) if not is_finished(other)), '')


def texts(value: object) -> Iterator[str]:
    """Every text in a block, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


def source_stage(experiment: Experiment, stage: Stage, path: str) -> Stage | None:
    """The stage of the same experiment that writes a network's file, or None."""
    for name in stage.needs:
        if Path(path).parent == experiment.stages[name].folder / 'models':
            return experiment.stages[name]
    return None
