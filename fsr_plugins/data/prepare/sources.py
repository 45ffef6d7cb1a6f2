"""Files of a dataset as it was downloaded: a folder or a zip archive, read alike.

An archive is never extracted: its names are only compared, its members only read, with a bound on each.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType

from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from fsr_plugins.data.images import Image, decode_image, decode_labels
from fsr_plugins.errors import UserError

#: More than any face image of these datasets has; what claims to be larger is not read.
_FILE_BYTES = 16 << 20
_FILES = 2_000_000


class Source(ABC):
    """Named byte strings. ``names`` are sorted relative paths with forward slashes."""

    path: Path
    names: list[str]

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The file's bytes.

        Raises:
            UserError: it is too large or cannot be read.
        """

    def by_key(self, pattern: re.Pattern[str]) -> dict[str, str]:
        """The names that fit a pattern as a whole, by the text of its group ``key``.

        Raises:
            UserError: two have the same key.
        """
        found: dict[str, str] = {}
        for name in self.names:
            match = pattern.fullmatch(name)
            if match is None:
                continue
            if match['key'] in found:
                raise UserError(
                    f"'{self.path}' holds '{found[match['key']]}' and '{name}', which have the same key; remove one."
                )
            found[match['key']] = name
        return found

    def image(self, name: str, shape: tuple[int, int]) -> Image:
        """The image as uint8 HWC RGB, which must be of ``shape`` (height, width).

        Raises:
            UserError: it does not decode or is of another size.
        """
        return decode_image(self._sized(name, shape), self.where(name))

    def labels(self, name: str, shape: tuple[int, int]) -> Image:
        """A parsing map as uint8 HW; as :meth:`image`."""
        return decode_labels(self._sized(name, shape), self.where(name))

    def _sized(self, name: str, shape: tuple[int, int]) -> bytes:
        # The header is looked at before anything is decoded: a few bytes may claim gigabytes of pixels.
        data = self.read(name)
        try:
            with PILImage.open(io.BytesIO(data)) as header:
                width, height = header.size
        except (UnidentifiedImageError, OSError, ValueError, PILImage.DecompressionBombError) as error:
            raise UserError(f"'{self.where(name)}' cannot be decoded as an image; download the data again.") from error
        if (height, width) != shape:
            raise UserError(f"'{self.where(name)}' is {width}x{height}; images of {shape[1]}x{shape[0]} are expected.")
        return data

    def where(self, name: str) -> str:
        """The file's place, for messages."""
        return f'{self.path}/{name}'

    def close(self) -> None:  # noqa: B027  a folder has nothing to close
        """Lets go of the archive."""

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FolderSource(Source):
    """All files below a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = sorted(file.relative_to(path).as_posix() for file in path.rglob('*') if file.is_file())

    def read(self, name: str) -> bytes:
        """See :meth:`Source.read`."""
        file = self.path / name
        if file.stat().st_size > _FILE_BYTES:
            raise UserError(
                f"'{file}' has {file.stat().st_size} bytes, more than any image of this dataset; remove it."
            )
        return file.read_bytes()


class ZipSource(Source):
    """The members of a zip archive that nobody vouches for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"'{path}' is no readable zip archive ({error}); download it again.") from error
        members = [member for member in self._zip.infolist() if not member.is_dir()]
        if len(members) > _FILES:
            raise UserError(f"'{path}' claims {len(members)} files; this is not the dataset.")
        self._members = {member.filename: member for member in members}
        if len(self._members) != len(members):
            raise UserError(f"'{path}' holds the same name twice; download it again.")
        self.names = sorted(self._members)

    def read(self, name: str) -> bytes:
        """See :meth:`Source.read`."""
        member = self._members[name]
        try:
            with self._zip.open(member) as file:
                # The size in the directory may lie, so the bound is on what is read.
                data = file.read(_FILE_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as error:
            raise UserError(f"'{self.where(name)}' cannot be read ({error}); download the archive again.") from error
        if len(data) > _FILE_BYTES:
            raise UserError(f"'{self.where(name)}' is larger than any image of this dataset; it is not read.")
        return data

    def close(self) -> None:
        """See :meth:`Source.close`."""
        self._zip.close()


def open_source(path: Path) -> Source:
    """A folder or a zip archive.

    Raises:
        UserError: there is neither.
    """
    if path.is_dir():
        return FolderSource(path)
    if path.is_file():
        return ZipSource(path)
    raise UserError(f"'{path}' does not exist; give the folder or the zip archive of the dataset.")
