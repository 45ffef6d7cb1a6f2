"""The random generators of Python, NumPy and torch: seeded, looked at and put back."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt
import torch

from fsr_plugins.errors import UserError
from fsr_plugins.values import Record, State


def seed_everything(seed: int) -> None:
    """Seeds Python's, NumPy's and torch's generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> Record:
    """The states of this process's generators, as plain values and tensors."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        'python': random.getstate(),
        'numpy': (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        'torch': torch.get_rng_state(),
        'cuda': torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def check_random_state(state: State) -> None:
    """Looks whether :func:`set_random_state` can put a state back, and changes nothing.

    Raises:
        UserError: a generator does not take it.
    """
    try:
        python, numpy = _as_the_generators_take_them(state)
        random.Random().setstate(python)
        np.random.RandomState().set_state(numpy)
        torch.Generator().set_state(state['torch'])
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise UserError('its random numbers are damaged') from error


def _as_the_generators_take_them(
    state: State,
) -> tuple[tuple[object, ...], tuple[str, npt.NDArray[np.uint32], int, int, float]]:
    version, internal, gauss = state['python']
    name, keys, position, has_gauss, cached = state['numpy']
    numpy = (name, keys.numpy().astype(np.uint32), position, has_gauss, cached)
    return (version, tuple(internal), gauss), numpy


def set_random_state(state: State) -> None:
    """Puts :func:`random_state` back."""
    python, numpy = _as_the_generators_take_them(state)
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(state['torch'])
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])
