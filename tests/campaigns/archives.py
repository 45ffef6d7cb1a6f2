"""Archives that go wrong, against what ``fsr prepare`` reads: nothing is lost without a word, or written outside."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import struct
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:3]]

import common
import numpy as np
from forked import judged
from PIL import Image

from fsr_plugins.cli import main
from fsr_plugins.errors import UserError
from fsr_plugins.prepare.sources import open_source

KINDS = ('.tar', '.tar.gz', '.tar.bz2', '.tar.xz', '.zip')
_PACK: dict[str, Callable[[bytes], bytes]] = {
    '.tar': bytes,
    '.tar.gz': gzip.compress,
    '.tar.bz2': bz2.compress,
    '.tar.xz': lzma.compress,
}


def pictures(rng: random.Random) -> dict[str, bytes]:
    """Some files by name: pictures in folders, names of all lengths, and a text."""
    files = {'list.txt': b'x' * rng.randrange(2000)}
    for number in range(rng.randrange(2, 8)):
        pixels = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, 'PNG')
        name = 'n' * rng.choice([1, 1, 90, 150])
        files[f'{rng.choice(["", "a/", "a/b c/"])}{name}{number}.png'] = file.getvalue()
    return files


def tar(files: dict[str, bytes], rng: random.Random) -> bytes:
    out = io.BytesIO()
    form = rng.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    if form == tarfile.USTAR_FORMAT and any(len(name) > 100 for name in files):
        form = tarfile.GNU_FORMAT
    with tarfile.open(fileobj=out, mode='w', format=form) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def packed(kind: str, files: dict[str, bytes], rng: random.Random) -> bytes:
    """An archive of a kind, by the ending of its name."""
    if kind != '.zip':
        return _PACK[kind](tar(files, rng))
    out = io.BytesIO()
    how = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    with zipfile.ZipFile(out, 'w', how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def _read(path: Path) -> int:
    """All files of an archive, as JSON on standard output, or 2 and an error."""
    try:
        with open_source(path) as source:
            said = {name: source.read(name).hex() for name in source.names}
    except UserError as error:
        sys.stderr.write(f'error: {error}'.encode('utf-8', 'backslashreplace').decode() + '\n')
        return 2
    print(json.dumps(said))
    return 0


def opened(folder: Path, data: bytes, kind: str) -> tuple[int, dict[str, bytes]]:
    """What a source makes of an archive: its status, and the files it gives."""
    path = folder / f'in{kind}'
    path.write_bytes(data)
    status, text = judged(lambda: _read(path), folder, ())
    files = json.loads(text.splitlines()[-1]) if status == 0 else {}
    return status, {name: bytes.fromhex(content) for name, content in files.items()}


def prepared(folder: Path, kind: str) -> str:
    """``fsr prepare folder`` of the same archive; nothing is written anywhere else."""
    command = ['prepare', 'folder', f'in{kind}', 'out', '--crop', 'none', '--keep-duplicates']
    status, _ = judged(lambda: main(command), folder, ('out', '.out'))
    return f'prepare: status {status}'


# ---- faults ----------------------------------------------------------------------------------------------------------


def cut(kind: str) -> common.Case:
    """Cut anywhere, an archive gives an error, or all that was in it."""

    def play(rng: random.Random, folder: Path) -> str:
        files = pictures(rng)
        data = packed(kind, files, rng)
        place = rng.randrange(len(data))
        status, found = opened(folder, data[: rng.choice([place, place // 512 * 512])], kind)
        assert status != 0 or found == files, f'{len(found)} of {len(files)} files, without a word'
        return f'source: status {status}' if rng.random() < 0.7 else prepared(folder, kind)

    return play


def flipped(kind: str) -> common.Case:
    """With bits flipped an archive gives an error, or as many files; where there are checksums, the same files."""

    def play(rng: random.Random, folder: Path) -> str:
        files = pictures(rng)
        data = bytearray(packed(kind, files, rng))
        for _ in range(rng.choice([1, 1, 1, 8])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        status, found = opened(folder, bytes(data), kind)
        if status == 0:
            assert len(found) == len(files), f'{len(found)} of {len(files)} files, without a word'
            # A plain tar has checksums of its headers alone, a zip's names have none.
            same = sorted(found.values()) == sorted(files.values())
            assert kind == '.tar' or same, 'other content, without a word'
        return f'source: status {status}' if rng.random() < 0.7 else prepared(folder, kind)

    return play


def zeroed(kind: str) -> common.Case:
    """Blocks of zeros, as an interrupted download leaves them, anywhere."""

    def play(rng: random.Random, folder: Path) -> str:
        files = pictures(rng)
        data = packed(kind, files, rng)
        place = rng.randrange(len(data)) // 512 * 512
        length = rng.choice([512, 1024, len(data)])
        changed = data[:place] + bytes(len(data[place : place + length])) + data[place + length :]
        if kind == '.tar' and not any(changed[place:]):
            changed += bytes(1 << 20)  # fewer zeros at the end may be an archive's own
        status, found = opened(folder, changed, kind)
        if status == 0 and not (kind == '.tar' and len(found) == len(files)):
            assert found == files, f'{len(found)} of {len(files)} files, without a word'
        return f'source: status {status}'

    return play


def doubled(kind: str) -> common.Case:
    """Two archives in one file, or something behind the end: all, or an error."""

    def play(rng: random.Random, folder: Path) -> str:
        files = pictures(rng)
        data = packed(kind, files, rng)
        more = rng.choice([packed(kind, {'more.png': b'x'}, rng), b'behind', bytes(3000)])
        status, found = opened(folder, data + more, kind)
        if status == 0:
            assert found == files or (len(more) < 100 or not any(more)) or found.keys() >= {'more.png'}, (
                'one of two archives'
            )
        return f'source: status {status}'

    return play


#: Where a zip's records have sizes and places; what a tar's size may say.
_ZIP_SIZES = (
    (b'PK\1\2', 20), (b'PK\1\2', 24), (b'PK\3\4', 18), (b'PK\3\4', 22), (b'PK\1\2', 42), (b'PK\5\6', 8),
    (b'PK\5\6', 10), (b'PK\5\6', 12), (b'PK\5\6', 16),
)  # fmt: skip
_TAR_SIZES = (
    b'00000000000\0', b'77777777777\0', b'00000000001\0', b'-0000000512\0', b'\xff' * 12,
    b'\x80' + bytes(3) + b'\xff' * 8, b'\x80' + bytes(10) + b'\x05', b'          8 ', b'nonsense    ',
)  # fmt: skip


def lying(kind: str) -> common.Case:
    """Sizes that are not so, checksums made to fit them."""

    def play(rng: random.Random, folder: Path) -> str:
        files = pictures(rng)
        if kind == '.zip':
            data = bytearray(packed(kind, files, rng))
            record, offset = rng.choice(_ZIP_SIZES)
            place = data.index(record) + offset
            data[place : place + 4] = struct.pack('<I', rng.choice([0, 1, 10, 2**31, 2**32 - 1]))
        else:
            data = bytearray(tar(files, rng))
            size = rng.choice(_TAR_SIZES)
            block = rng.randrange(4) * 512
            data[block + 124 : block + 136] = size
            data[block + 148 : block + 156] = b' ' * 8
            data[block + 148 : block + 156] = b'%06o\0 ' % sum(data[block : block + 512])
            data = bytearray(_PACK[kind](bytes(data)))
        opened(folder, bytes(data), kind)
        return prepared(folder, kind)

    return play


def hostile(kind: str) -> common.Case:
    """Names and links that lead outside, and names that are none."""

    def play(rng: random.Random, folder: Path) -> str:
        picture = next(content for name, content in pictures(rng).items() if name.endswith('.png'))
        names = [
            '../../out.png',
            '/tmp/campaign-escaped.png',
            'a/../../b.png',
            '..\\..\\c.png',
            'C:\\d.png',
            './e.png',
            '//f.png',
            'g\nh.png',
            'i' * 300 + '.png',
            '\udcff.png',
            '.png',
            'con.png',
            'j.png/',
            'k\0l.png',
            ' .png',
        ]
        chosen = rng.sample(names, rng.randrange(1, 5))
        if kind == '.zip':
            out = io.BytesIO()
            with zipfile.ZipFile(out, 'w') as archive:
                for name in chosen:
                    member = zipfile.ZipInfo(name.replace('\udcff', 'ÿ'))
                    member.external_attr = rng.choice([0, 0o120777 << 16, 0o100644 << 16, 0o010644 << 16])
                    archive.writestr(member, rng.choice([picture, b'/etc/passwd']))
                archive.writestr('good.png', picture)
            data = out.getvalue()
        else:
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode='w', format=tarfile.GNU_FORMAT) as archive:
                for name in chosen:
                    entry = tarfile.TarInfo(name)
                    kinds = [
                        tarfile.REGTYPE,
                        tarfile.SYMTYPE,
                        tarfile.LNKTYPE,
                        tarfile.CHRTYPE,
                        tarfile.FIFOTYPE,
                        tarfile.DIRTYPE,
                        tarfile.GNUTYPE_SPARSE,
                        b'Z',
                    ]
                    entry.type = rng.choice([tarfile.REGTYPE, rng.choice(kinds)])
                    entry.linkname = rng.choice(['../../../etc/passwd', '/etc', name])
                    entry.size = len(picture) if entry.type == tarfile.REGTYPE else 0
                    archive.addfile(entry, io.BytesIO(picture))
                entry = tarfile.TarInfo('good.png')
                entry.size = len(picture)
                archive.addfile(entry, io.BytesIO(picture))
            data = _PACK[kind](out.getvalue())
        opened(folder, data, kind)
        happened = prepared(folder, kind)
        assert not os.path.lexists('/tmp/campaign-escaped.png')
        return happened

    return play


_FAULTS = (cut, flipped, zeroed, doubled, lying, hostile)
CASES: common.Kinds = [(f'{fault.__name__} {kind}', fault(kind)) for fault in _FAULTS for kind in KINDS] + [
    (f'{fault.__name__} .tar', fault('.tar')) for fault in (cut, cut, flipped, zeroed, lying)
]


def run(seed: int, number: int, seconds: float, only: int | None = None, show: bool = False) -> Counter[str]:
    """Runs cases: see ``common.run_cases``."""
    return common.run_cases(CASES, seed, number, seconds, only, show)


if __name__ == '__main__':
    sys.exit(common.main(run, __doc__ or '', number=4 * len(CASES)))
