"""The zip archives that ``torch.save`` writes: whether every byte that is read of them is the one that was written."""

from __future__ import annotations

import os
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from fsr_plugins.errors import UserError
from fsr_plugins.positioned import read_at

#: What a zip archive begins with; torch tells its two formats apart by it.
MAGIC = b'PK\x03\x04'
#: A member's own header: so long, and where in it the lengths of name and extra field stand, two bytes each.
_HEADER, _LENGTHS = 30, 26
#: What the end of its directory begins with, and how long it is where no comment follows.
_ENDS, _END = b'PK\x05\x06', 22
_BLOCK = 1 << 20
#: Threads that sum at once; one is about as fast as the disk, several as memory.
_THREADS = 4


def is_archive(file: BinaryIO) -> bool:
    """Whether an open file begins as a zip archive; it is left at its beginning."""
    file.seek(0)
    begin = file.read(len(MAGIC))
    file.seek(0)
    return begin == MAGIC


def check_archive(file: BinaryIO, path: str | Path) -> None:
    """Compares every member with its CRC-32, and the archive with the form that ``torch.save`` gives it.

    torch itself reads the sums and compares nothing. Of an archive of another form (compressed, something before or
    after it, two members of one name) two readers may read different things: it is refused. The file is left at its
    beginning.

    Raises:
        UserError: it is damaged or of another form; the message says which member.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise _damaged(path, f'it is cut short or its directory is damaged: {error}') from error
    file.seek(-_END, os.SEEK_END)
    if not members or file.read(len(_ENDS)) != _ENDS or len({member.filename for member in members}) != len(members):
        raise _damaged(path, 'its directory is not as PyTorch writes it')
    if min(member.header_offset for member in members) != 0:
        raise _damaged(path, 'its directory belongs to another archive')
    # What lies in one place under many names would be read as many times, into as much memory.
    if sum(member.file_size for member in members) > os.fstat(file.fileno()).st_size:
        raise _damaged(path, 'its directory names more than it holds')
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        wrong = next((name for name in pool.map(lambda member: _wrong(file, member), members) if name), None)
    if wrong is not None:
        raise _damaged(path, wrong)
    file.seek(0)


def _wrong(file: BinaryIO, member: zipfile.ZipInfo) -> str | None:
    """What is wrong with a member of an archive; None if nothing is."""
    number, name = file.fileno(), member.filename[:80]
    # Positioned reads: threads share the file, and one that is overwritten meanwhile ends no process as a map would.
    header = read_at(number, _HEADER, member.header_offset)
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 or member.file_size != member.compress_size:
        return f'{name!r} in it is compressed or encrypted, which PyTorch does not do'
    if len(header) < _HEADER or header[: len(MAGIC)] != MAGIC:
        return f'{name!r} is not where its directory says'
    place = member.header_offset + _HEADER
    place += int.from_bytes(header[_LENGTHS : _LENGTHS + 2], 'little')
    place += int.from_bytes(header[_LENGTHS + 2 : _HEADER], 'little')
    sum_, left = 0, member.file_size
    while left:
        block = read_at(number, min(left, _BLOCK), place)
        if not block:
            return f'{name!r} is cut short'
        sum_, place, left = zlib.crc32(block, sum_), place + len(block), left - len(block)
    return None if sum_ == member.CRC else f'{name!r} in it is not what was written (CRC-32)'


def _damaged(path: str | Path, reason: str) -> UserError:
    return UserError(f"'{path}' is damaged: {reason}. Replace it by a whole copy.")
