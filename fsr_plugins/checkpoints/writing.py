"""Network files in BasicSR's layout, self-describing, written whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import torch
from torch import nn
from typing_extensions import Buffer

from fsr_plugins.atomic import write_atomically
from fsr_plugins.checkpoints.layout import META, self_described
from fsr_plugins.checkpoints.meta import not_plain
from fsr_plugins.checkpoints.tensors import not_finite
from fsr_plugins.errors import RunError
from fsr_plugins.registry import lookup
from fsr_plugins.values import Block, Record
from fsr_plugins.version import __version__


@dataclass(frozen=True)
class Training:
    """What a checkpoint says of the training that made it.

    Attributes:
        experiment: its name and its stage's.
        scale: how many times its networks enlarge.
        sizes, data: by phase, the side of HR crops, None where images are taken whole; what the sets are called.
        degradation: the block that makes LR.
        manifests: by phase, what the set's stores say of themselves.
        history: what was changed while it was going on.
        computed: number format, layout and compilation of its steps.
    """

    experiment: str = ''
    scale: int | None = None
    sizes: Mapping[str, int | None] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    degradation: Block | None = None
    manifests: Record = field(default_factory=dict)
    history: Sequence[Mapping[str, object]] = ()
    computed: Mapping[str, object] = field(default_factory=dict)


def describe(label: str, block: Block, iteration: int, training: Training) -> Record:
    """What a checkpoint says of itself: all that is needed to build the network and to feed it."""
    return {
        'format': 1,
        'net': label,
        'arch': dict(block),
        'module': lookup('archs', str(block['type'])).__module__,
        'scale': training.scale,
        'sizes': dict(training.sizes),
        'range': [0.0, 1.0],
        'channels': 'RGB',
        'degradation': training.degradation,
        'data': dict(training.data),
        'manifests': dict(training.manifests),
        'experiment': training.experiment,
        'iteration': iteration,
        'history': [dict(change) for change in training.history],
        'computed': dict(training.computed),
        'versions': {'fsr_plugins': __version__, 'torch': str(torch.__version__)},
    }


def save_network(path: Path, nets: Mapping[str, nn.Module], meta: Record) -> str:
    """Writes ``{'params': …, 'params_ema': …, 'meta': …}``.

    Args:
        nets: the networks by the key of their weights, ``params`` and possibly ``params_ema``.

    Returns:
        as :func:`write_tensors`.

    Raises:
        RunError: as :func:`write_weights`.
    """
    content: Record = {
        key: {name: tensor.detach().cpu() for name, tensor in net.state_dict().items()} for key, net in nets.items()
    }
    return write_weights(path, {**content, META: dict(meta)})


class _Hashed:
    """A file that is only written to, and the digest of what was."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256 = file, hashlib.sha256()

    def write(self, block: Buffer) -> int:
        """As a file's."""
        self.sha256.update(block)
        return self.file.write(block)

    def flush(self) -> None:
        """As a file's."""
        self.file.flush()


def write_weights(path: Path, content: Record) -> str:
    """:func:`write_tensors` of a network file, and only if every number in its tensors is finite.

    See :func:`self_described`.

    Raises:
        RunError: a tensor holds NaN or an infinity, ``meta`` holds what no reader takes, or as :func:`write_tensors`.
    """
    if wrong := not_plain(content.get(META)):  # somebody's store, say, tells of its faces by numbers of NumPy's
        raise RunError(f"{path} is not written, for it could not be read again: its 'meta' {wrong}.")
    wrong = not_finite(content)
    if wrong is not None:
        raise RunError(
            f'{path} is not written: {wrong} holds values that are no finite numbers (NaN or infinite), so the '
            'training has diverged. What was written before is untouched; try a lower learning rate or clipped '
            'gradients.'
        )
    return write_tensors(path, self_described(content))


def write_tensors(path: Path, content: Mapping[str, object]) -> str:
    """Writes tensors and plain values, whole or not at all.

    Returns:
        the file's SHA-256 in hex.

    Raises:
        RunError: the file cannot be written; what was there before is untouched.
    """
    digests = []

    def write(file: BinaryIO) -> None:
        hashed = _Hashed(file)
        torch.save(dict(content), hashed)  # type: ignore[arg-type]  # it asks for no more of a file
        digests.append(hashed.sha256.hexdigest())

    write_atomically(path, write)
    return digests[-1]
