"""Training states to resume from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from fsr_plugins.atomic import write_text
from fsr_plugins.checkpoints import all_finite, load_state, tensors_in, write_tensors
from fsr_plugins.errors import UserError
from fsr_plugins.values import Record, State
from fsr_plugins.weights import file_sha256

logger = logging.getLogger(__name__)

#: What every state has.
_KEYS = {'iter', 'seconds', 'validation', 'random', 'model'}


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

    def save(self, iteration: int, state: State) -> None:
        """Writes a state whole or not at all, then removes the oldest beyond ``keep``.

        Raises:
            RunError: it cannot be written; the states before it are untouched.
        """
        file, digest = self._files(iteration)
        write_text(digest, write_tensors(file, state))
        for old in self._iterations()[self.keep :]:
            for path in self._files(old):
                path.unlink(missing_ok=True)

    def newest(self) -> Record | None:
        """The newest state that is whole and finite; others are reported and passed over. None if there is none."""
        iterations = self._iterations()
        for iteration in iterations:
            try:
                return self._read(iteration)
            except UserError as error:
                logger.warning('%s Using the one before.', error)
        if iterations:
            logger.warning('No state in %s can be used: the stage begins anew.', self.folder)
        return None

    def _read(self, iteration: int) -> Record:
        file, digest = self._files(iteration)
        # A kill between the two writes leaves a state without its digest: it was renamed whole, so it is read.
        if digest.exists() and digest.read_bytes() != file_sha256(file).encode():
            raise UserError(f'{file} is damaged (not the SHA-256 written with it).')
        state: Any = load_state(file)
        if not isinstance(state, dict) or not state.keys() >= _KEYS:
            raise UserError(f'{file} is no training state of this toolkit.')
        weights = [state['model'].get(key) for key in ('nets', 'averages')]
        if not all_finite(tensor for _, tensor in tensors_in(weights)):
            raise UserError(f'{file} holds weights that are NaN or Inf.')
        return state

    def kept(self) -> str:
        """What there is to go on from, in a sentence."""
        file = next((self._files(iteration)[0] for iteration in self._iterations()), None)
        if file is None:
            return 'Nothing was saved yet: there is no checkpoint.'
        return f'The last state saved is {file}.'
