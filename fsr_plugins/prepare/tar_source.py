"""Tar archives, compressed or not, as a source of files."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path
from typing import IO

from fsr_plugins.errors import UserError
from fsr_plugins.images import shown
from fsr_plugins.positioned import read_at
from fsr_plugins.prepare.source import MAX_FILES, Source, check_size

#: A compressed archive is unpacked to at most this many times its size, and at least to the bytes below: pictures are
#: compressed already, so what grows more is no archive of pictures.
_GROWTH, _LEAST = 20, 1 << 30
_BLOCK = 4 << 20
#: No writer pads an archive by more zeros.
_PADDING = 1 << 20
#: What tarfile raises at bytes that are no archive.
_DAMAGE = (tarfile.TarError, EOFError, ValueError, OSError, ArithmeticError, LookupError, RecursionError)

_OPENERS: dict[str, Callable[[Path], BufferedIOBase]] = {
    '.tgz': gzip.GzipFile,
    '.gz': gzip.GzipFile,
    '.bz2': bz2.BZ2File,
    '.xz': lzma.LZMAFile,
}


class TarSource(Source):
    """The regular members of a tar archive that nobody vouches for.

    A compressed one is unpacked as a whole, once, into a nameless temporary file (``$TMPDIR``), since its members can
    be reached in no other way but from the beginning.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._file = self._opened()
        try:
            self._places = self._listed()
        except BaseException:
            self._file.close()
            raise
        self.sizes = {name: size for name, (_, size) in sorted(self._places.items())}

    def _opened(self) -> IO[bytes]:
        opener = _OPENERS.get(self.path.suffix.lower())
        try:
            if opener is None:
                return self.path.open('rb')
            most = max(_GROWTH * self.path.stat().st_size, _LEAST)
            spool = tempfile.TemporaryFile()  # noqa: SIM115  closed with the source
            try:
                with opener(self.path) as packed:
                    while block := packed.read(_BLOCK):
                        spool.write(block)
                        if spool.tell() > most:
                            raise UserError(
                                f"'{self.path}' unpacks to more than {_GROWTH} times its size. No archive of "
                                'pictures does; it is not read.'
                            )
            except BaseException:
                spool.close()
                raise
            spool.seek(0)
            return spool
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise UserError(
                f"'{self.path}' cannot be unpacked ({error}): download it again, or make room in "
                f"'{tempfile.gettempdir()}' (or set TMPDIR)."
            ) from error

    def _listed(self) -> dict[str, tuple[int, int]]:
        """Offset and size of every regular file, by name."""
        places: dict[str, tuple[int, int]] = {}
        self.links = []
        try:
            with tarfile.open(fileobj=self._file, mode='r:') as archive:
                for member in archive:
                    # A negative size would let the next member be this one again.
                    if member.size < 0 or member.issparse():
                        raise UserError(
                            f"'{self.path}' holds '{shown(member.name)}' in a way that is not read here (sparse, or "
                            'of a negative size); unpack it and give the folder.'
                        )
                    if member.islnk() or member.issym():
                        self.links.append(member.name)
                    elif member.isreg():
                        if member.name in places:
                            raise UserError(f"'{self.path}' holds '{shown(member.name)}' twice; download it again.")
                        places[member.name] = (member.offset_data, member.size)
                    if len(places) + len(self.links) > MAX_FILES:
                        raise UserError(f"'{self.path}' claims more than {MAX_FILES} files; this is not the dataset.")
                end = archive.offset
        except _DAMAGE as error:
            raise UserError(f"'{self.path}' is no readable tar archive ({error}); download it again.") from error
        self._check_end(end, places)
        return places

    def _check_end(self, end: int, places: dict[str, tuple[int, int]]) -> None:
        """That the members end where the archive does: tarfile stops without a word where it cannot read on."""
        self._file.seek(0, os.SEEK_END)
        length = self._file.tell()
        last = max((offset + size for offset, size in places.values()), default=0)
        self._file.seek(end)
        mark = self._file.read(tarfile.BLOCKSIZE)
        if last > length or len(mark) < tarfile.BLOCKSIZE:
            raise UserError(f"'{self.path}' is cut short after {len(places)} files; download it again.")
        while mark:
            if mark.count(0) != len(mark):
                raise UserError(
                    f"'{self.path}' cannot be read beyond its first {len(places)} files: it is damaged, or more than "
                    'one archive; download it again, or unpack it and give the folder.'
                )
            mark = self._file.read(_BLOCK)
        if length - end > _PADDING:
            raise UserError(
                f"'{self.path}' ends in {length - end} bytes without a file, behind its first {len(places)} files, as "
                'a download that was not finished does; download it again, or unpack it and give the folder.'
            )

    def read(self, name: str) -> bytes:
        """See :meth:`Source.read`."""
        check_size(self, name)
        offset, size = self._places[name]
        # pread has no position that threads would share.
        data = read_at(self._file.fileno(), size, offset)
        if len(data) != size:
            raise UserError(f"'{self.where(name)}' is cut short; download the archive again.")
        return data

    def close(self) -> None:
        """See :meth:`Source.close`."""
        self._file.close()
