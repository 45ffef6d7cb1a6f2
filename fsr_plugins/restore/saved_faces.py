"""The faces of photographs, written one by one: each before and after."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from fsr_plugins.atomic import write_atomically
from fsr_plugins.errors import UserError
from fsr_plugins.faces.protocol import Image
from fsr_plugins.images import shown
from fsr_plugins.stores.images import encode_png


@dataclass(frozen=True)
class SavedFaces:
    """Where faces go: into the folders below ``folder`` that their results have below ``out``."""

    folder: Path
    out: Path

    def files(self, result: Path, number: int) -> tuple[Path, Path]:
        """Of a face of a result, before and after."""
        place = self.folder / result.parent.relative_to(self.out)
        return place / f'{result.name}_{number}_before.png', place / f'{result.name}_{number}_after.png'

    def check_free(self, results: Iterable[Path]) -> None:
        """Sees that no faces of other pictures are replaced. A result that is there is skipped, and so are its faces.

        Raises:
            UserError: a face of a result that is to be made is there.
        """
        for result in results:
            there = [] if os.path.lexists(result) else [file for file in self.files(result, 0) if os.path.lexists(file)]
            if there:
                raise UserError(
                    f"--save-faces: '{shown(there[0])}' exists already: choose another folder, or give --overwrite."
                )

    def write(self, result: Path, faces: Sequence[tuple[Image, Image]]) -> None:
        """Writes the faces of a result, LR and SR of each; those that it had more before are removed."""
        for number, pair in enumerate(faces):
            for file, face in zip(self.files(result, number), pair, strict=True):
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(file, partial(_put, encode_png(face)))
        number = len(faces)
        while any(os.path.lexists(file) for file in self.files(result, number)):
            for file in self.files(result, number):
                file.unlink(missing_ok=True)
            number += 1


def _put(data: bytes, handle: BinaryIO) -> None:
    handle.write(data)
