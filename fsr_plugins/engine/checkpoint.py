"""Training states to resume from, and ready networks from a checkpoint file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fsr_plugins.atomic import write_atomically, write_text
from fsr_plugins.errors import UserError
from fsr_plugins.models.networks import build_network, load_weights
from fsr_plugins.weights import file_sha256, load_state

logger = logging.getLogger(__name__)


def load(path: str | Path, *, param_key: str | None = None) -> nn.Module:
    """The ready network a checkpoint holds: built from what the file says of itself, in evaluation mode.

    Args:
        path: a file written by this toolkit (``meta`` inside). Only tensors and plain values are read; code is not run.
        param_key: ``params`` or ``params_ema``; by default the averaged weights where there are some.
    Returns:
        a network from NCHW RGB in [0, 1] to the same; what the file says of itself is its attribute ``meta``.
    Raises:
        UserError: no such file, damaged, not self-describing, or an arch that no installed plugin registers.
    """
    from fsr_plugins.registry import load_plugins

    load_plugins()
    content = described(path)
    meta = content['meta']
    net = build_network(meta['arch'])
    load_weights(net, str(path), param_key=param_key or ('params_ema' if 'params_ema' in content else 'params'))
    net.meta = meta
    return net.eval().requires_grad_(False)


def described(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint that says what network it holds: ``params``, perhaps ``params_ema``, and ``meta``.

    Raises:
        UserError: no such file, damaged or not self-describing.
    """
    content = load_state(path)
    meta = content.get('meta') if isinstance(content, dict) else None
    if not isinstance(meta, dict) or not isinstance(meta.get('arch'), dict):
        raise UserError(
            f"{path} does not say what network it holds (no 'meta'). Only files of this toolkit do; load others by "
            "'path.pretrain_network_<x>' in an option file."
        )
    return content


class TrainingStates:
    """The states ``<iteration>.state`` in a folder; each with its SHA-256 beside it, the newest few kept.

    Args:
        folder: where they are; created at the first :meth:`save`.
        keep: how many of the newest are kept.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder = folder
        self.keep = keep

    def _iterations(self) -> list[int]:
        return sorted((int(f.stem) for f in self.folder.glob('*.state') if f.stem.isdigit()), reverse=True)

    def _files(self, iteration: int) -> tuple[Path, Path]:
        return self.folder / f'{iteration}.state', self.folder / f'{iteration}.state.sha256'

    def save(self, iteration: int, state: Mapping[str, Any]) -> None:
        """Writes a state whole or not at all, then removes the oldest beyond ``keep``.

        Raises:
            RunError: it cannot be written; the states before it are untouched.
        """
        file, digest = self._files(iteration)
        write_atomically(file, lambda handle: torch.save(dict(state), handle))
        write_text(digest, file_sha256(file))
        for old in self._iterations()[self.keep :]:
            for path in self._files(old):
                path.unlink(missing_ok=True)

    def newest(self) -> dict[str, Any] | None:
        """The newest state that is whole; damaged ones are reported and passed over. None if there is none."""
        for iteration in self._iterations():
            file, digest = self._files(iteration)
            # A kill between the two writes leaves a state without its digest: it was renamed whole, so it is read.
            if digest.exists() and digest.read_text() != file_sha256(file):
                logger.warning('%s is damaged (not the SHA-256 written with it): using the one before.', file)
                continue
            try:
                return load_state(file)
            except UserError as error:
                logger.warning('%s Using the one before.', error)
        return None
