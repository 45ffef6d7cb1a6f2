"""What a stage builds on that another stage of its experiment makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fsr_plugins.config.experiment import Experiment, Stage


def is_finished(stage: Stage) -> bool:
    """Whether the stage was trained to its end."""
    return (stage.folder / 'done.json').exists()


def unfinished_stage(experiment: Experiment, stage: Stage, block: object) -> str:
    """The stage, not finished yet, whose results a block names; an empty string if there is none."""
    for name in stage.needs:
        if not is_finished(experiment.stages[name]) and any(
            Path(text).is_relative_to(experiment.stages[name].folder) for text in texts(block)
        ):
            return name
    return ''


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
