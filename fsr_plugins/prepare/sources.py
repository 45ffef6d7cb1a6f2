"""Files of a dataset as it was downloaded: a folder, a zip or tar archive, or a folder of archives, read alike."""

from __future__ import annotations

import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from fsr_plugins.errors import UserError
from fsr_plugins.images import shown
from fsr_plugins.prepare.source import MAX_FILES, Source, check_size, read_bounded
from fsr_plugins.prepare.tar_source import TarSource
from fsr_plugins.stores.folder_files import ARCHIVES

#: What zipfile raises at bytes that are no archive.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    ArithmeticError,
    LookupError,
)


class FolderSource(Source):
    """All files below a folder; archives directly in it are opened, their members named ``<archive>/<member>``."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links = []
        self._archives: dict[str, Source] = {}
        sizes: dict[str, int] = {}
        for folder, below, names in os.walk(path, onerror=_unreadable):
            for name in [*below, *names]:
                file = Path(folder, name)
                member = file.relative_to(path).as_posix()
                if file.is_symlink():
                    self.links.append(member)
                elif name in names and file.is_file():
                    sizes[member] = file.stat().st_size
        try:
            for name in [name for name in sizes if '/' not in name and is_archive(Path(name))]:
                archive = self._archives[name] = open_archive(path / name)
                del sizes[name]
                sizes.update({f'{name}/{member}': size for member, size in archive.sizes.items()})
                self.links += [f'{name}/{member}' for member in archive.links]
        except BaseException:
            self.close()
            raise
        self.sizes = dict(sorted(sizes.items()))

    def read(self, name: str) -> bytes:
        """See :meth:`Source.read`."""
        archive, _, member = name.partition('/')
        if archive in self._archives:
            return self._archives[archive].read(member)
        check_size(self, name)
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise UserError(f"'{self.where(name)}' cannot be read: {error.strerror}.") from error

    def close(self) -> None:
        """See :meth:`Source.close`."""
        for archive in self._archives.values():
            archive.close()


class ZipSource(Source):
    """The members of a zip archive that nobody vouches for."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGE as error:
            raise UserError(f"'{path}' is no readable zip archive ({error}); download it again.") from error
        members = [member for member in self._zip.infolist() if not member.is_dir()]
        if len(members) > MAX_FILES:
            raise UserError(f"'{path}' claims {len(members)} files; this is not the dataset.")
        self.links = [member.filename for member in members if stat.S_ISLNK(member.external_attr >> 16)]
        self._members = {member.filename: member for member in members}
        if len(self._members) != len(members):
            raise UserError(f"'{path}' holds the same name twice; download it again.")
        for name in self.links:
            del self._members[name]
        self.sizes = {name: self._members[name].file_size for name in sorted(self._members)}

    def read(self, name: str) -> bytes:
        """See :meth:`Source.read`."""
        check_size(self, name)
        try:
            with self._zip.open(self._members[name]) as file:
                # The size in the directory may lie, so the bound is on what is read.
                return read_bounded(file, self.where(name))
        except _DAMAGE as error:
            raise UserError(f"'{self.where(name)}' cannot be read ({error}); download the archive again.") from error

    def close(self) -> None:
        """See :meth:`Source.close`."""
        self._zip.close()


def _unreadable(error: OSError) -> None:
    raise UserError(f"'{shown(str(error.filename))}' cannot be read: {error.strerror}.") from error


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that can be read."""
    return path.name.lower().endswith(ARCHIVES)


def open_archive(path: Path) -> Source:
    """A zip or tar archive, by its name; a file of another name is taken for a zip.

    Raises:
        UserError: it cannot be read.
    """
    return TarSource(path) if is_archive(path) and path.suffix.lower() != '.zip' else ZipSource(path)


def open_source(path: Path) -> Source:
    """A folder (of files, of archives or of both), or one archive: zip, tar, tar.gz, tar.bz2, tar.xz.

    Raises:
        UserError: there is nothing, or no archive that can be read.
    """
    if os.path.isdir(path):
        return FolderSource(path)
    if os.path.isfile(path):
        if path.suffix.lower() in ('.7z', '.rar') or re.search(r'\.7z\.\d{3}$', path.name):
            raise UserError(f"'{path}' is an archive of a kind that is not read here; unpack it and give the folder.")
        if not is_archive(path) and not zipfile.is_zipfile(path):
            kinds = ', '.join(kind[1:] for kind in ARCHIVES)
            raise UserError(
                f"'{path}' is one file and no archive ({kinds}); give the folder or the archive of the dataset."
            )
        return open_archive(path)
    raise UserError(f"'{path}' does not exist; give the folder or the archive of the dataset.")
