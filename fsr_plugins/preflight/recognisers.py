"""Whether a metric's evaluation recogniser is one that the networks were trained with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fsr_plugins.archs.recognition import recogniser_weight
from fsr_plugins.arguments import home_path
from fsr_plugins.config import Experiment, Stage
from fsr_plugins.config.dependencies import texts
from fsr_plugins.errors import UserError
from fsr_plugins.values import ReadBlock
from fsr_plugins.weights import file_sha256


@dataclass(frozen=True)
class _Weights:
    """Where weights come from: a file, which may not be there yet, or what somebody publishes."""

    name: str  #: for messages, and what two of them are compared by where nothing else is known
    file: Path | None = None
    published: str = ''  #: SHA-256 of a published file, or its first digits; empty where it is not known

    def are(self, other: _Weights, digests: dict[Path, str]) -> bool:
        """Whether both are the same: by place, or else by content.

        Args:
            digests: of files that have been read; filled.
        """
        if self.file is None or other.file is None:
            one, two = (each.published or _digest(each.file, digests) for each in (self, other))
            # Of a published file the first digits may be all that is known.
            return self.name == other.name or bool(one and two and (one.startswith(two) or two.startswith(one)))
        if self.file == other.file:
            return True
        if not (os.path.isfile(self.file) and os.path.isfile(other.file)):
            return False
        if self.file.stat().st_size != other.file.stat().st_size:
            return False
        return _digest(self.file, digests) == _digest(other.file, digests)


def check_recognisers(experiment: Experiment, stage: Stage) -> list[str]:
    """No metric's recogniser may be one that was trained with, unless its block says ``trained_with: true``.

    A network that was trained to please a recogniser is not measured by it.
    """
    for name, found in known_recognisers(experiment, stage, stage.options.metrics):
        raise UserError(f"{stage.where(('val', 'metrics', name))}: key 'val.metrics.{name}': {found}")
    return []


def known_recognisers(
    experiment: Experiment, stage: Stage, metrics: Mapping[str, ReadBlock]
) -> Iterator[tuple[str, str]]:
    """The metrics whose recogniser a stage, or one that it builds on, was trained with; and what to do, in words."""
    used = [*_trained_with(experiment, stage)]
    digests: dict[Path, str] = {}
    for name, block in metrics.items():
        rated_by = _weights_of(block.get('recogniser'))
        if rated_by is None or block.get('trained_with'):
            continue
        if any(rated_by.are(other, digests) for other in used):
            yield (
                name,
                f'{rated_by.name} is what the networks were trained with; rate by another recogniser, or say that you '
                "know by 'trained_with: true'.",
            )


def _trained_with(experiment: Experiment, stage: Stage) -> Iterator[_Weights]:
    """Files, and recognisers whose published weights are taken, of this stage and those it builds on."""
    waiting, seen = [stage.name], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        opt = experiment.stages[name].opt
        # Not what only its validation needs, which is a stage's need too.
        blocks = [opt['path'], opt.get('train'), opt['datasets'].get('train')]
        found = {text for block in blocks for text in texts(block)}
        yield from (_Weights(text, home_path(text)) for text in sorted(found))
        yield from _published(blocks)
        folders = {other: experiment.stages[other].folder for other in experiment.stages[name].needs}
        waiting += [other for other, at in folders.items() if any(Path(text).is_relative_to(at) for text in found)]


def _weights_of(network: object) -> _Weights | None:
    """Where the weights of a recogniser's block come from; None of what is no such block."""
    if not isinstance(network, dict) or not (network.get('path') or network.get('type')):
        return None
    if network.get('path'):
        path = str(network['path'])
        return _Weights(path, home_path(path))
    try:
        digest = recogniser_weight(network).sha256
    except UserError:  # another network, whose features are taken, or a block that is refused elsewhere
        digest = ''
    return _Weights(f'the published {network["type"]}', None, digest.lower())


def _published(value: object) -> Iterator[_Weights]:
    """All recognisers, and networks whose features are taken, that have no file of their own."""
    if isinstance(value, dict):
        for key in ('recogniser', 'features'):
            found = _weights_of(value.get(key))
            if found is not None and found.file is None:
                yield found
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _published(item)


def _digest(file: Path | None, digests: dict[Path, str]) -> str:
    """SHA-256 of a file's content; empty of what is no file."""
    if file is None or not os.path.isfile(file):  # any text of the options may be meant
        return ''
    if file not in digests:
        digests[file] = file_sha256(file)
    return digests[file]
