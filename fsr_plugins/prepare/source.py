"""What every source of a dataset as it was downloaded offers: named byte strings.

An archive is never extracted to where its names say: names are only compared, members only read, with a bound on each.
Links, in archives and in folders, are not followed.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from fsr_plugins.errors import UserError
from fsr_plugins.images import Image, decode_composed, decode_image, decode_labels, look_at, shown

#: More than any picture of the datasets has, and any table; what claims to be larger is not read.
FILE_BYTES = 64 << 20
#: More than any archive of the datasets holds.
MAX_FILES = 4_000_000
#: Pixels of a photograph: larger ones are not decoded.
MAX_PIXELS = 100_000_000

#: What pictures with alpha may be laid over, and its colour.
Ground = Literal['black', 'grey', 'white']
GROUNDS: dict[Ground, tuple[int, int, int]] = {'black': (0, 0, 0), 'grey': (128, 128, 128), 'white': (255, 255, 255)}


class Source(ABC):
    """Named byte strings, safe to read from several threads.

    ``sizes`` gives bytes by name, sorted by name; names are relative paths with forward slashes. ``links`` are names
    that were left alone because they are links.
    """

    path: Path
    sizes: Mapping[str, int]
    links: list[str]

    def __init__(self) -> None:
        #: Over what pictures with alpha are laid, and which of those that have been read had it.
        self.ground: Ground = 'black'
        self.with_alpha: set[str] = set()

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return list(self.sizes)

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The file's bytes.

        Raises:
            UserError: it is larger than :data:`FILE_BYTES` or cannot be read.
        """

    def by_key(self, pattern: re.Pattern[str]) -> dict[str, list[str]]:
        """The names that fit a pattern as a whole, by the text of its group ``key``, in the order of names.

        More than one name under a key means that a file is there twice.
        """
        found: dict[str, list[str]] = {}
        for name in self.sizes:
            match = pattern.fullmatch(name)
            if match is not None:
                found.setdefault(match['key'], []).append(name)
        return found

    def one(self, pattern: re.Pattern[str], what: str) -> str:
        """The single name that fits a pattern.

        Raises:
            UserError: none does, or several do.
        """
        found = [name for name in self.sizes if pattern.fullmatch(name)]
        if len(found) != 1:
            there = f'{len(found)} are there: {", ".join(found[:3])}' if found else f'{_some(self.names)} is there'
            raise UserError(f"'{self.path}' needs one {what}; {there}.")
        return found[0]

    def text(self, name: str) -> str:
        """A text file (UTF-8).

        Raises:
            UserError: it cannot be read, or is no text.
        """
        try:
            return self.read(name).decode('utf-8-sig')
        except UnicodeDecodeError as error:
            raise UserError(f"'{self.where(name)}' is no text: {error}.") from error

    def image(self, name: str, shape: tuple[int, int] | None = None) -> Image:
        """The image as uint8 HWC RGB, with alpha laid over ``ground``.

        Args:
            shape: height and width that it must have.

        Raises:
            UserError: it does not decode, has more than :data:`MAX_PIXELS` pixels, or is of another size.
        """
        data, alpha = self._looked_at(name, shape)
        if not alpha:
            return decode_image(data, self.where(name))
        self.with_alpha.add(name)
        return decode_composed(data, self.where(name), GROUNDS[self.ground])

    def labels(self, name: str, shape: tuple[int, int] | None = None) -> Image:
        """A parsing map as uint8 HW; as :meth:`image`."""
        return decode_labels(self._looked_at(name, shape)[0], self.where(name))

    def _looked_at(self, name: str, shape: tuple[int, int] | None) -> tuple[bytes, bool]:
        # The header is looked at before anything is decoded: a few bytes may claim gigabytes of pixels.
        data = self.read(name)
        where = self.where(name)
        header = look_at(data, where)
        height, width = header.shape
        if shape is not None and (height, width) != shape:
            raise UserError(f"'{where}' is {width}x{height}; images of {shape[1]}x{shape[0]} are expected.")
        if height * width > MAX_PIXELS:
            raise UserError(f"'{where}' claims {width}x{height} pixels, more than the {MAX_PIXELS} that are decoded.")
        return data, header.alpha

    def where(self, name: str) -> str:
        """The file's place, for messages."""
        return shown(f'{self.path}/{name}')

    def close(self) -> None:  # noqa: B027  a folder has nothing to close
        """Lets go of the archive."""

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_size(source: Source, name: str) -> None:
    """Refuses a file that claims more than :data:`FILE_BYTES`.

    Raises:
        UserError: it does.
    """
    if source.sizes[name] > FILE_BYTES:
        raise UserError(
            f"'{source.where(name)}' has {source.sizes[name]} bytes, more than any file of the datasets; remove it."
        )


def read_bounded(file: IO[bytes], where: str) -> bytes:
    """All of an opened file, if it is not larger than :data:`FILE_BYTES`.

    Args:
        where: the file's place, for messages.

    Raises:
        UserError: it is larger.
    """
    data = file.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise UserError(f"'{where}' is larger than any file of the datasets; it is not read.")
    return data


def _some(names: list[str]) -> str:
    """A few of the names, to show what is there instead."""
    if not names:
        return 'nothing'
    return ', '.join(f"'{name}'" for name in names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')


def wrong_layout(source: Source, dataset: str, looked_for: str) -> UserError:
    """The answer to a source of another layout: what was looked for, and what is there instead."""
    return UserError(f"'{source.path}' is not {dataset}: {looked_for} was looked for, {_some(source.names)} was found.")
