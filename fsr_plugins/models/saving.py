"""Network files in BasicSR's layout, self-describing, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

import fsr_plugins
from fsr_plugins.errors import RunError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file under a temporary name, flushes it to the disk and renames it.

    Whoever reads sees the old file or the whole new one, whatever happens in between.

    Raises:
        RunError: the disk is full or not writable; the temporary file is removed and the old file untouched.
    """
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, 'wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch turns a failing write into a RuntimeError
        temporary.unlink(missing_ok=True)
        raise RunError(
            f'Cannot write {path}: {error}. What was saved before is untouched; make room, then start again to resume.'
        ) from error


def write_text(path: Path, text: str) -> None:
    """:func:`write_atomically` for text."""
    write_atomically(path, lambda file: file.write(text.encode()))


def describe(opt: Mapping[str, Any], label: str, block: Mapping[str, Any], iteration: int) -> dict[str, Any]:
    """What a checkpoint says of itself: all that is needed to build the network and to feed it."""
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
        'experiment': opt.get('name'),
        'iteration': iteration,
        'versions': {'fsr_plugins': fsr_plugins.__version__, 'torch': str(torch.__version__)},
    }


def save_network(path: Path, nets: Mapping[str, nn.Module], meta: Mapping[str, Any]) -> None:
    """Writes ``{'params': …, 'params_ema': …, 'meta': …}``.

    Args:
        nets: the networks by the key of their weights, ``params`` and possibly ``params_ema``.
    """
    content: dict[str, Any] = {
        key: {name: tensor.detach().cpu() for name, tensor in net.state_dict().items()} for key, net in nets.items()
    }
    content['meta'] = dict(meta)
    write_atomically(path, lambda file: torch.save(content, file))
