"""Network files in BasicSR's layout, self-describing, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fsr_plugins.atomic import write_atomically
from fsr_plugins.checkpoints.layout import META
from fsr_plugins.values import Block, Options, Record
from fsr_plugins.version import __version__


def describe(
    opt: Options,
    label: str,
    block: Block,
    iteration: int,
    manifests: Record | None = None,
) -> Record:
    """What a checkpoint says of itself: all that is needed to build the network and to feed it.

    ``manifests`` says what data it was trained and measured on: by phase as in the option file, what the set's stores
    say of themselves.
    """
    return {
        'format': 1,
        'net': label,
        'arch': dict(block),
        'scale': opt.get('scale'),
        'sizes': {name: data.get('gt_size') for name, data in opt.get('datasets', {}).items()},
        'range': [0.0, 1.0],
        'channels': 'RGB',
        'degradation': opt.get('degradation'),
        'data': {name: data.get('name', name) for name, data in opt.get('datasets', {}).items()},
        'manifests': dict(manifests or {}),
        'experiment': opt.get('name'),
        'iteration': iteration,
        'versions': {'fsr_plugins': __version__, 'torch': str(torch.__version__)},
    }


def save_network(path: Path, nets: Mapping[str, nn.Module], meta: Record) -> None:
    """Writes ``{'params': …, 'params_ema': …, 'meta': …}``.

    Args:
        nets: the networks by the key of their weights, ``params`` and possibly ``params_ema``.
    """
    content: Record = {
        key: {name: tensor.detach().cpu() for name, tensor in net.state_dict().items()} for key, net in nets.items()
    }
    write_tensors(path, {**content, META: dict(meta)})


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Writes tensors and plain values, whole or not at all.

    Raises:
        RunError: the file cannot be written; what was there before is untouched.
    """
    write_atomically(path, lambda file: torch.save(dict(content), file))
