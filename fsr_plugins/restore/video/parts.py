"""What a clip's restoration has done so far, in files that are whole or not there."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fsr_plugins.atomic import write_atomically, write_text
from fsr_plugins.engine.lock import LOCK, NOTE
from fsr_plugins.errors import UserError, shown
from fsr_plugins.images import shown as shown_path
from fsr_plugins.restore.video.kinds import parts_of
from fsr_plugins.values import Record

#: What is written first: the options and the clip that all other files belong to.
ABOUT = 'about.json'
#: Names of all that is ever written there: parts, temporary files and the lock's.
_OURS = re.compile('|'.join([re.escape(name) for name in (ABOUT, LOCK, NOTE)] + [r'[a-z]+_\d{6,}\.npz', r'\..+\.part']))
Arrays = dict[str, npt.NDArray[Any]]


class Parts:
    """A folder beside a result, ``<result>.parts``, that is removed when the result is whole.

    Args:
        result: the file of the result, or for frames a name beside them.
    """

    def __init__(self, result: Path) -> None:
        self.folder = parts_of(result)

    def begin(self, about: Mapping[str, object], anew: bool) -> None:
        """Goes on with what is there if it was made of the same clip with the same options, or begins.

        Args:
            about: plain values.
            anew: whether what was made otherwise is thrown away.

        Raises:
            UserError: something was made otherwise, which is named, or the folder is somebody's own.
            DiskError: nothing can be written.
        """
        others = [name for name in sorted(os.listdir(self.folder)) if not _OURS.fullmatch(name)]
        if others:
            raise UserError(
                f"'{shown_path(self.folder)}' holds {shown(others[0])}, which is no part of a clip: the folder is "
                'needed while the clip is restored. Move it away, or choose another folder for the results.'
            )
        wanted = json.loads(json.dumps(about))
        there = self._about()
        if there != wanted:
            changed = [] if there is None else _changed(there, wanted)
            if not anew and there is not None:
                raise UserError(
                    f"'{shown_path(self.folder)}' was begun otherwise: {'; '.join(changed)}. Give the same again to go "
                    'on, or --overwrite to begin anew.'
                )
            self._clear()
        write_text(self.folder / ABOUT, json.dumps(wanted, indent=1) + '\n')

    def _about(self) -> Record | None:
        try:
            found = json.loads((self.folder / ABOUT).read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _clear(self) -> None:
        for file in [self.folder / ABOUT, *self.folder.glob('*.npz')]:
            file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes what was written, and the folder."""
        with suppress(OSError):
            for name in os.listdir(self.folder):
                if _OURS.fullmatch(name):
                    (self.folder / name).unlink(missing_ok=True)
            self.folder.rmdir()

    def write(self, kind: str, number: int, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Writes one part, whole.

        Raises:
            DiskError: the disk is full.
        """
        write_atomically(self._file(kind, number), lambda handle: np.savez(handle, allow_pickle=False, **arrays))

    def has(self, kind: str, number: int) -> bool:
        """Whether a part was written."""
        return self._file(kind, number).exists()

    def read(self, kind: str, number: int) -> Arrays | None:
        """A part; None where it is not there, or damaged."""
        try:
            with np.load(self._file(kind, number), allow_pickle=False) as found:
                return dict(found.items())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _file(self, kind: str, number: int) -> Path:
        return self.folder / f'{kind}_{number:06d}.npz'


def _changed(there: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    names = [name for name in dict.fromkeys([*there, *wanted]) if there.get(name) != wanted.get(name)]
    return [f'{name} was {shown(there.get(name))} and is {shown(wanted.get(name))}' for name in names]
