"""Images and outputs that go wrong, against ``fsr infer``, ``fsr prepare folder`` and ``FaceDataset``."""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:3]]

import common
import tiny
import torch
from forked import content, judged
from image_faults import DAMAGES, SIDE, encoded, lying_header, picture

from fsr_plugins.checkpoints import describe, save_network
from fsr_plugins.cli import main
from fsr_plugins.config.settings import read_settings
from fsr_plugins.data.datasets import FaceDataset
from fsr_plugins.errors import UserError
from fsr_plugins.registry import build_network

_FORMATS = ('PNG', 'JPEG', 'BMP', 'WEBP', 'TIFF', 'PPM', 'GIF')
#: Files that are called .gif are not looked for in folders.
_ENDINGS = {'JPEG': '.jpg', 'TIFF': '.tif', 'GIF': '.png'}


def _ending(kind: str) -> str:
    return _ENDINGS.get(kind, f'.{kind.lower()}')


def written(folder: Path, rng: random.Random) -> None:
    """``net.pth`` for faces of 8×8, and ``in/`` with two good ones."""
    torch.manual_seed(0)
    points = [[10.0, 12], [21, 12], [15.5, 18], [11, 24], [20, 24]]
    meta = describe(
        'net_g', tiny.EDSR, 4, read_settings(tiny.options()).training({'train': [{'size': [32, 32], 'points': points}]})
    )
    meta['sizes'] = {}
    save_network(folder / 'net.pth', {'params': build_network(tiny.EDSR)}, meta)
    (folder / 'in').mkdir()
    for name in ('good', 'other'):
        (folder / f'in/{name}.png').write_bytes(encoded(picture(rng), 'PNG'))


# ---- what is done with the pictures ----------------------------------------------------------------------------------


def infer(folder: Path, *arguments: str, good: bool = True) -> int:
    """``fsr infer`` on ``in/``; the good pictures are written whatever the others are."""
    command = ['infer', '-c', 'net.pth', '--json', 'found.json', '-o', 'out', 'in', *arguments]
    status, text = judged(lambda: main(command), folder, ('out', 'found.json'))
    if good:
        assert {'out/good.png', 'out/other.png'} <= content(folder).keys(), f'a good picture is missing: {text[-2000:]}'
        found = json.loads((folder / 'found.json').read_text())
        assert 'pictures' in found, text[-2000:]
        for result in (about['result'] for about in found['pictures'].values()):
            assert os.path.isfile(os.fsencode(folder / result)), f'{result!r} is said to be there'
        assert bool(found['failed']) == (status == 2), found
    return status


def prepare(folder: Path) -> int:
    """``fsr prepare folder`` on ``in/``; every picture is kept or accounted for."""
    command = ['prepare', 'folder', 'in', 'prepared', '--crop', 'none', '--json', 'found.json', '--keep-duplicates']
    status, text = judged(lambda: main(command), folder, ('prepared', '.prepared', 'found.json'))
    assert status == 0, f'two pictures are good: {text[-2000:]}'
    found = json.loads((folder / 'found.json').read_text())
    assert found['images'] >= 2, found
    return status


def dataset(folder: Path) -> int:
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

    return judged(read, folder, ('cache',))[0]


# ---- faults ----------------------------------------------------------------------------------------------------------


def damaged(kind: str, damage: str) -> common.Case:
    def play(rng: random.Random, folder: Path) -> str:
        written(folder, rng)
        side = rng.choice([SIDE, SIDE, 40])
        (folder / f'in/bad{_ending(kind)}').write_bytes(DAMAGES[damage](encoded(picture(rng, side), kind), rng))
        return _all(rng, folder)

    return play


def _all(rng: random.Random, folder: Path) -> str:
    """One of the readers; every third case each."""
    which = rng.choice([infer, infer, prepare, dataset])
    arguments = ('--fit',) if which is infer and rng.random() < 0.5 else ()
    return f'{which.__name__}: status {which(folder, *arguments)}'


def lying(rng: random.Random, folder: Path) -> str:
    """A header that claims what is not there."""
    written(folder, rng)
    name, data = lying_header(rng)
    (folder / 'in' / name).write_bytes(data)
    return _all(rng, folder)


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
        status = infer(folder, good=False)
        names = {'good.png.png', 'other.png.png'} & {file.name for file in (folder / 'out').iterdir()}
        assert status == 0 and names and len(list((folder / 'out').iterdir())) == 3, sorted(names)
        return 'infer: both written, by full name'
    which = rng.choice([infer, prepare, dataset])
    status = which(folder, **({'good': not name.startswith((b'good.', b'other.'))} if which is infer else {}))
    return f'{which.__name__}: status {status}'


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


def _sparse(folder: Path) -> int:
    """As :func:`infer` of a file that is too large to be read here either."""
    status, _ = judged(lambda: main(['infer', '-c', 'net.pth', '-o', 'out', 'in']), folder, (), looks=False)
    assert status == 2 and (folder / 'out/good.png').exists() and (folder / 'out/other.png').exists()
    return status


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
    status, text = judged(lambda: main(command), folder, may)
    assert status in (1, 2), f'{command}: {text}'
    return f'{command[0]}: status {status}'


CASES: common.Kinds = [
    *((f'{damage} {kind}', damaged(kind, damage)) for kind in _FORMATS for damage in DAMAGES),
    *(('header that lies', lying) for _ in range(12)),
    *(('odd name', odd_name) for _ in range(12)),
    *(('odd folder', odd_folder) for _ in range(8)),
    *(('unwritable output', unwritable) for _ in range(12)),
]


def run(seed: int, number: int, seconds: float, only: int | None = None, show: bool = False) -> Counter[str]:
    """Runs cases: see ``common.run_cases``."""
    return common.run_cases(CASES, seed, number, seconds, only, show)


if __name__ == '__main__':
    sys.exit(common.main(run, __doc__ or '', number=2 * len(CASES)))
