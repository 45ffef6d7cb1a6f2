"""Weights as TensorFlow.js stores them: one file of numbers, and a manifest beside it that says what they are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from fsr_plugins.errors import UserError
from fsr_plugins.values import Record

#: The file of numbers ends so, and its manifest's name is its own without that, and this.
SUFFIX, MANIFEST = '.bin', '-weights_manifest.json'
#: Kinds of numbers by their names in a manifest; little-endian.
_KINDS = {'float32': '<f4', 'float16': '<f2', 'uint8': 'u1', 'uint16': '<u2'}


def manifest_of(path: str | Path) -> Path:
    """Where the manifest of a file of numbers lies."""
    return Path(path).with_name(Path(path).stem + MANIFEST)


def read_tensorflow_js(file: BinaryIO, path: str | Path) -> dict[str, Tensor]:
    """The tensors of an open file, float32, by their names with dots for slashes.

    Numbers that are stored in 8 or 16 bits are ``minimum + scale · number``. Filters of two-dimensional convolutions
    lie as (height, width, in, out) in the file, and come as (out, in, height, width), which PyTorch takes.

    Args:
        path: what the file is called; its manifest is :func:`manifest_of` it.

    Raises:
        UserError: the manifest is absent or none of this file, or the file is cut short or longer than it says.
    """
    manifest = manifest_of(path)
    try:
        groups = json.loads(manifest.read_text(encoding='utf-8'))
        entries = [entry for group in groups for entry in group['weights']]
        files = [name for group in groups for name in group['paths']]
        layout = [_entry(entry) for entry in entries]
    except OSError as error:
        raise UserError(f"'{manifest}' cannot be read: {error.strerror or error}.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"'{manifest}' is no manifest of weights of TensorFlow.js: fetch it again.") from error
    if len(files) != 1:
        raise UserError(f"'{manifest}' names {len(files)} files; weights in one file are read.")
    data = file.read()
    size = sum(math.prod(shape) * kind.itemsize for _, shape, kind, _, _ in layout)
    if size != len(data):
        raise UserError(f"'{path}' has {len(data)} bytes, and '{manifest.name}' says {size}: fetch both again.")
    state, start = {}, 0
    for name, shape, kind, scale, least in layout:
        numbers = np.frombuffer(data, kind, math.prod(shape), start).astype(np.float32)
        start += math.prod(shape) * kind.itemsize
        tensor = torch.from_numpy(numbers * np.float32(scale) + np.float32(least)).reshape(shape)
        state[name] = tensor.permute(3, 2, 0, 1).contiguous() if tensor.ndim == 4 else tensor
    return state


def _entry(entry: Record) -> tuple[str, tuple[int, ...], np.dtype[np.generic], float, float]:
    """Name, shape, kind, scale and minimum of one tensor."""
    how = entry.get('quantization') or {'dtype': entry['dtype']}
    shape = tuple(int(side) for side in entry['shape'])
    if min(shape, default=0) < 0:
        raise ValueError('a negative side')
    scale, least = float(how.get('scale', 1.0)), float(how.get('min', 0.0))
    return str(entry['name']).replace('/', '.'), shape, np.dtype(_KINDS[how['dtype']]), scale, least
