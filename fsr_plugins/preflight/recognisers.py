"""Whether a metric's evaluation recogniser is one that the networks were trained with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fsr_plugins.config import Experiment, Stage
from fsr_plugins.config.dependencies import texts
from fsr_plugins.errors import UserError
from fsr_plugins.weights import file_sha256


def check_recognisers(experiment: Experiment, stage: Stage) -> list[str]:
    """No metric's recogniser may be one that was trained with, unless its block says ``trained_with: true``.

    A network that was trained to please a recogniser is not measured by it.
    """
    used = _trained_with(experiment, stage)
    for name, block in stage.options.metrics.items():
        recogniser = block.get('recogniser')
        rated_by = _origin(recogniser)
        if rated_by is None or block.get('trained_with'):
            continue
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
        used |= found | set(_published(blocks))
        folders = {other: experiment.stages[other].folder for other in experiment.stages[name].needs}
        waiting += [other for other, at in folders.items() if any(Path(text).is_relative_to(at) for text in found)]
    return used


def _origin(network: object) -> str | None:
    """Where the weights of a recogniser's block come from; None of what is no such block."""
    if not isinstance(network, dict) or not (network.get('path') or network.get('type')):
        return None
    return str(network.get('path') or f'the published {network["type"]}')


def _published(value: object) -> Iterator[str]:
    """The origins of all recognisers, and networks whose features are taken, that have no file of their own."""
    if isinstance(value, dict):
        for key in ('recogniser', 'features'):
            network = value.get(key)
            origin = _origin(network)
            if isinstance(network, dict) and origin is not None and not network.get('path'):
                yield origin
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _published(item)
