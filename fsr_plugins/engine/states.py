"""Training states to resume from."""

from __future__ import annotations

import logging
from pathlib import Path

from fsr_plugins.atomic import write_text
from fsr_plugins.checkpoints import load_state, write_tensors
from fsr_plugins.errors import UserError
from fsr_plugins.values import Record, State
from fsr_plugins.weights import file_sha256

logger = logging.getLogger(__name__)


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
        write_tensors(file, state)
        write_text(digest, file_sha256(file))
        for old in self._iterations()[self.keep :]:
            for path in self._files(old):
                path.unlink(missing_ok=True)

    def newest(self) -> Record | None:
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
