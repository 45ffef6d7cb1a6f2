"""Whether a metric's evaluation recogniser is one that the networks were trained with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fsr_plugins.config import Experiment, Stage
from fsr_plugins.config.dependencies import texts
from fsr_plugins.errors import UserError
from fsr_plugins.values import Record
from fsr_plugins.weights import file_sha256


def check_recognisers(experiment: Experiment, stage: Stage) -> list[str]:
    """No metric's recogniser may be one that was trained with, unless its block says ``trained_with: true``.

    A network that was trained to please a recogniser is not measured by it.
    """
    used = _trained_with(experiment, stage)
    for name, block in stage.options.metrics.items():
        recogniser = block.get('recogniser')
        if not isinstance(recogniser, dict) or block.get('trained_with'):
            continue
        rated_by = recogniser.get('path') or f'the published {recogniser["type"]}'
        rater, others = Path(rated_by), [Path(other) for other in used]
        if rated_by in used or any(
            rater.is_file()
            and other.is_file()
            and rater.stat().st_size == other.stat().st_size
            and file_sha256(rater) == file_sha256(other)
            for other in others
        ):
            raise UserError(
                f"{stage.where(('val', 'metrics', name))}: key 'val.metrics.{name}': {rated_by} is what the networks "
                "were trained with; rate by another recogniser, or say that you know by 'trained_with: true'."
            )
    return []


def _trained_with(experiment: Experiment, stage: Stage) -> set[str]:
    """Files, and recognisers by name where the published weights are taken, of this stage and those it builds on."""
    waiting, seen, used = [stage.name], set[str](), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        opt = experiment.stages[name].opt
        # Not what only its validation needs, which is a stage's need too.
        blocks = [opt['path'], opt.get('train'), opt['datasets'].get('train')]
        found = {text for block in blocks for text in texts(block)}
        used |= found | {f'the published {block["type"]}' for part in blocks for block in _published(part)}
        folders = {other: experiment.stages[other].folder for other in experiment.stages[name].needs}
        waiting += [other for other, at in folders.items() if any(Path(text).is_relative_to(at) for text in found)]
    return used


def _published(value: object) -> Iterator[Record]:
    """Every block of a recogniser, or of a network whose features are taken, without a file of its own."""
    if isinstance(value, dict):
        for key in ('recogniser', 'features'):
            network = value.get(key)
            if isinstance(network, dict) and network.get('path') is None:
                yield network
        for item in value.values():
            yield from _published(item)
