"""Images and outputs that go wrong, against ``fsr infer``, ``fsr prepare folder`` and ``FaceDataset``."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:3]]

import cases
import numpy as np
import tiny
import torch
from PIL import Image

from fsr_plugins.checkpoints import describe, save_network
from fsr_plugins.cli import main
from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.errors import UserError
from fsr_plugins.registry import build_network

SIDE = 8
_FORMATS = ('PNG', 'JPEG', 'BMP', 'WEBP', 'TIFF', 'PPM', 'GIF')
#: Files that are called .gif are not looked for in folders.
_ENDINGS = {'JPEG': '.jpg', 'TIFF': '.tif', 'GIF': '.png'}


def _ending(kind: str) -> str:
    return _ENDINGS.get(kind, f'.{kind.lower()}')


def picture(rng: random.Random, side: int = SIDE) -> Image.Image:
    pixels = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def written(folder: Path, rng: random.Random) -> None:
    """``net.pth`` for faces of 8×8, and ``in/`` with two good ones."""
    torch.manual_seed(0)
    points = [[10.0, 12], [21, 12], [15.5, 18], [11, 24], [20, 24]]
    meta = describe(tiny.options(), 'net_g', tiny.EDSR, 4, {'train': [{'size': [32, 32], 'points': points}]})
    meta['sizes'] = {}
    save_network(folder / 'net.pth', {'params': build_network(tiny.EDSR)}, meta)
    (folder / 'in').mkdir()
    for name in ('good', 'other'):
        (folder / f'in/{name}.png').write_bytes(encoded(picture(rng), 'PNG'))


# ---- what is done with the pictures ----------------------------------------------------------------------------------


def infer(folder: Path, *arguments: str, good: bool = True) -> cases.Ended:
    """``fsr infer`` on ``in/``; the good pictures are written whatever the others are."""
    before = cases.content(folder)
    command = ['infer', '-c', 'net.pth', '--json', 'found.json', '-o', 'out', 'in', *arguments]
    ended = cases.forked(lambda: main(command), folder)
    after = cases.content(folder)
    cases.judge(ended, before, after, ('out', 'found.json'))
    if good:
        assert {'out/good.png', 'out/other.png'} <= after.keys(), f'a good picture is missing: {ended.text[-2000:]}'
        found = json.loads((folder / 'found.json').read_text())
        assert 'pictures' in found, ended.text[-2000:]
        for result in (about['result'] for about in found['pictures'].values()):
            assert os.path.isfile(os.fsencode(folder / result)), f'{result!r} is said to be there'
        assert bool(found['failed']) == (ended.status == 2), found
    return ended


def prepare(folder: Path) -> cases.Ended:
    """``fsr prepare folder`` on ``in/``; every picture is kept or accounted for."""
    before = cases.content(folder)
    command = ['prepare', 'folder', 'in', 'prepared', '--crop', 'none', '--json', 'found.json', '--keep-duplicates']
    ended = cases.forked(lambda: main(command), folder)
    cases.judge(ended, before, cases.content(folder), ('prepared', '.prepared', 'found.json'))
    assert ended.status == 0, f'two pictures are good: {ended.text[-2000:]}'
    found = json.loads((folder / 'found.json').read_text())
    assert found['images'] >= 2, found
    return ended


def dataset(folder: Path) -> cases.Ended:
    """``FaceDataset`` over ``in/``: every sample, or an error that names the file."""

    def read() -> int:
        os.environ['XDG_CACHE_HOME'] = str(folder / 'cache')
        try:
            faces = FaceDataset({'type': 'FaceDataset', 'dataroot_gt': 'in', 'scale': 1, 'phase': 'val'})
            faces.check(1)
            for index in range(len(faces)):
                faces[index]
        except UserError as error:
            sys.stderr.write(f'error: {error}'.encode('utf-8', 'backslashreplace').decode() + '\n')
            return 2
        return 0

    before = cases.content(folder)
    ended = cases.forked(read, folder)
    cases.judge(ended, before, cases.content(folder), ('cache',))
    return ended


# ---- faults ----------------------------------------------------------------------------------------------------------


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 4, 32])):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def beginning(data: bytes, rng: random.Random) -> bytes:
    """Bytes of the header, or of what comes first, are anything."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 2, 4])):
        changed[rng.randrange(min(64, len(data)))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return bytes(changed)


def spliced(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + rng.randbytes(rng.choice([1, 100, 5000])) + data[place + rng.choice([0, 1, 50]) :]


def zeroed(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes(len(data) - place)


_DAMAGES = {'cut': cut, 'flipped': flipped, 'beginning': beginning, 'spliced': spliced, 'zeroed': zeroed}


def damaged(kind: str, damage: str) -> Callable[[random.Random, Path], str]:
    def play(rng: random.Random, folder: Path) -> str:
        written(folder, rng)
        side = rng.choice([SIDE, SIDE, 40])
        (folder / f'in/bad{_ending(kind)}').write_bytes(_DAMAGES[damage](encoded(picture(rng, side), kind), rng))
        return _all(rng, folder)

    return play


def _all(rng: random.Random, folder: Path) -> str:
    """One of the readers; every third case each."""
    which = rng.choice([infer, infer, prepare, dataset])
    arguments = ('--fit',) if which is infer and rng.random() < 0.5 else ()
    return f'{which.__name__}: status {which(folder, *arguments).status}'


def png(width: int, height: int, bits: int = 8, colour: int = 2, data: bytes = b'') -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))

    header = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', data) + chunk(b'IEND', b'')


def lying(rng: random.Random, folder: Path) -> str:
    """A header that claims what is not there."""
    written(folder, rng)
    side = rng.choice([0, 1, 3000, 14_000, 60_000, 65_535])
    other = rng.choice([side, 8])
    name, data = rng.choice(
        [
            (
                'a.png',
                png(side, other, rng.choice([1, 8, 16]), rng.choice([0, 2, 3, 4, 6]), zlib.compress(bytes(1000))),
            ),
            ('a.png', png(2**31 - 1, side)),
            ('a.ppm', f'P6\n{side} {other}\n255\n'.encode() + bytes(300)),
            ('a.pgm', f'P5\n{side} {other}\n{rng.choice([1, 255, 65535, 10**9])}\n'.encode() + bytes(300)),
            ('a.bmp', _with(encoded(picture(rng), 'BMP'), 18, struct.pack('<ii', side, rng.choice([other, -other])))),
            ('a.jpg', _jpeg(rng, side, other)),
            ('a.tif', _tiff(rng, side, other)),
            ('a.webp', _with(encoded(picture(rng), 'WEBP'), 26, struct.pack('<HH', side & 0x3FFF, other & 0x3FFF))),
            ('a.gif', _with(encoded(picture(rng), 'GIF'), 6, struct.pack('<HH', side, other))),
        ]
    )
    (folder / 'in' / name).write_bytes(data)
    return _all(rng, folder)


def _with(data: bytes, place: int, content: bytes) -> bytes:
    return data[:place] + content + data[place + len(content) :]


def _jpeg(rng: random.Random, width: int, height: int) -> bytes:
    data = encoded(picture(rng), 'JPEG')
    return _with(data, data.index(b'\xff\xc0') + 5, struct.pack('>HH', height, width))


def _tiff(rng: random.Random, width: int, height: int) -> bytes:
    data = encoded(picture(rng), 'TIFF')
    for tag, value in ((256, width), (257, height)):
        place = data.find(struct.pack('<HH', tag, 4))
        place = place if place >= 0 else data.index(struct.pack('<HH', tag, 3))
        data = _with(data, place + 2, struct.pack('<HII', 4, 1, value))
    return data


def odd_name(rng: random.Random, folder: Path) -> str:
    written(folder, rng)
    name = rng.choice(
        [
            b'\xff\xfe.png',
            b'caf\xe9.jpg',
            'ü ä.png'.encode(),
            b'new\nline.png',
            b'x' * 250 + b'.png',
            b'y' * 251 + b'.ppm',
            'ö'.encode() * 125 + b'.png',
            b'%s{0}[red].png',
            b'quo\'te".png',
            b'-o.png',
            b'good.jpg',
            b'other.webp',
            b' .png',
            b'.png',
            b'..png',
            b'a..png',
            b'UPPER.PNG',
            b'\x1b[31m.png',
            b'a.png.png',
            b'good.png.png',
            b'\x01.png',
        ]
    )
    kind = rng.choice(['PNG', 'PNG', 'JPEG'])
    Path(os.fsdecode(os.fsencode(folder / 'in') + b'/' + name)).write_bytes(encoded(picture(rng), kind))
    if os.path.splitext(name)[0] in (b'good', b'other') and rng.random() < 0.7:
        ended = infer(folder, good=False)
        names = {'good.png.png', 'other.png.png'} & {file.name for file in (folder / 'out').iterdir()}
        assert ended.status == 0 and names and len(list((folder / 'out').iterdir())) == 3, ended.text
        return 'infer: both written, by full name'
    which = rng.choice([infer, prepare, dataset])
    ended = which(folder, **({'good': not name.startswith((b'good.', b'other.'))} if which is infer else {}))
    return f'{which.__name__}: status {ended.status}'


def odd_folder(rng: random.Random, folder: Path) -> str:
    written(folder, rng)
    inside = folder / 'in'
    for number in range(rng.choice([1, 2, 3])):
        place = inside / f'odd{number}.png'
        odd = rng.randrange(9)
        if odd == 0:
            place.symlink_to(place.name)
        elif odd == 1:
            place.symlink_to('nowhere.png')
        elif odd == 2:
            place.mkdir()
        elif odd == 3:
            os.mkfifo(place)
        elif odd == 4:
            place.with_suffix('').symlink_to('..', target_is_directory=True)
        elif odd == 5:
            (place.with_suffix('') / 'deep').mkdir(parents=True)
            (place.with_suffix('') / 'deep/a.png').write_bytes(encoded(picture(rng), 'PNG'))
        elif odd == 6:
            place.with_suffix('.gif').write_bytes(encoded(picture(rng), 'GIF'))
        elif odd == 7:
            place.symlink_to('/dev/zero')
        else:
            with place.open('wb') as file:
                file.truncate(rng.choice([0, 1 << 33]))
    if any(entry.is_file() and entry.stat().st_size > 1 << 30 for entry in inside.iterdir()):
        return f'infer: status {_sparse(folder)}'
    return _all(rng, folder)


def _sparse(folder: Path) -> int | None:
    """As :func:`infer` of a file that is too large to be read here either."""
    ended = cases.forked(lambda: main(['infer', '-c', 'net.pth', '-o', 'out', 'in']), folder)
    cases.judge(ended, {}, {}, ())
    assert ended.status == 2 and (folder / 'out/good.png').exists() and (folder / 'out/other.png').exists()
    return ended.status


def unwritable(rng: random.Random, folder: Path) -> str:
    """An output that cannot be is found before the work, and leaves nothing behind."""
    written(folder, rng)
    (folder / 'file').write_bytes(b'mine')
    (folder / 'loop').symlink_to('loop')
    (folder / 'out/good.png/x').mkdir(parents=True)
    outputs = [
        'file',
        'file/sub',
        'file/sub/deep',
        '/proc/out',
        '/dev/null',
        '/dev/null/x',
        'z' * 300,
        'loop',
        'loop/x',
        'in',
    ]
    documents = ['in', 'file/x', 'nowhere/x.json', '/proc/x.json', 'z' * 300, 'loop', '/dev/full', '.']
    command = ['infer', 'in', '-c', 'net.pth']
    if rng.random() < 0.15:
        command += ['-o', 'out', '--overwrite']
        may = ('out',)
    elif rng.random() < 0.6:
        command += ['-o', rng.choice(outputs)]
        may = ()
    else:
        document = rng.choice(documents)
        command += ['-o', 'fresh', '--json', document]
        may = ('fresh',) if document == '/dev/full' else ()
    if rng.random() < 0.2:
        command = ['prepare', 'folder', 'in', rng.choice(outputs[:-1]), '--crop', 'none']
        may = ()
    before = cases.content(folder)
    ended = cases.forked(lambda: main(command), folder)
    cases.judge(ended, before, cases.content(folder), may)
    assert ended.status in (1, 2), f'{command}: {ended.text}'
    return f'{command[0]}: status {ended.status}'


CASES: cases.Cases = [
    *((f'{damage} {kind}', damaged(kind, damage)) for kind in _FORMATS for damage in _DAMAGES),
    *(('header that lies', lying) for _ in range(12)),
    *(('odd name', odd_name) for _ in range(12)),
    *(('odd folder', odd_folder) for _ in range(8)),
    *(('unwritable output', unwritable) for _ in range(12)),
]


def run(seed: int, number: int, seconds: float, only: int | None = None) -> Counter[tuple[str, str]]:
    """See :func:`cases.run`."""
    return cases.run(CASES, seed, number, seconds, only)


if __name__ == '__main__':
    sys.exit(cases.main(run, 2 * len(CASES)))
