#!/usr/bin/env python
"""Measures images a second from LFW's archive to an LMDB: `fsr prepare lfw`, and BasicSR's own steps for the same work.

    python scripts/benchmark_prepare.py lfw-deepfunneled.zip
    python scripts/benchmark_prepare.py lfw-deepfunneled.zip --images 3000 --runs 5 --json prepare.json

Both cut the centre 128x128 out of the 250x250 JPEGs, reduce it to 64x64 as MATLAB's imresize does, and write an LMDB of
PNGs. BasicSR has no step that cuts and resizes, so its side reads the unpacked images, cuts, calls its `imresize` and
writes PNGs in a pool of processes, one a core, as its `extract_subimages` does, and then calls `make_lmdb_from_imgs`
with as many; unpacking is not counted. A third line is ours as raw pixels, which BasicSR does not offer. The sides take
turns; medians count.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from messages import positive, says_what_is_wrong

from fsr_plugins import compat  # noqa: F401  before BasicSR

import cv2  # isort: skip
import numpy as np  # isort: skip
from basicsr.utils.lmdb_util import make_lmdb_from_imgs  # isort: skip
from basicsr.utils.matlab_functions import imresize  # isort: skip
from fsr_plugins.engine.machine import machine, versions  # isort: skip
from fsr_plugins.prepare.lfw import prepare_lfw  # isort: skip
from fsr_plugins.stores.opening import open_store  # isort: skip
from fsr_plugins.threads import available_cores  # isort: skip
from scenes import opened  # isort: skip

CROP, SIZE, OFFSET = 128, 64, 61


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints a table, checks that both sides made the same pixels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('lfw', type=Path, help='zip of LFW, any alignment')
    parser.add_argument('--images', type=positive, default=1467, help='how many of its images (default: 1467)')
    parser.add_argument('--runs', type=positive, default=3, help='runs of each side (default: 3)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures to FILE')
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        count = unpack(args.lfw, root, args.images)
        sides = {
            'ours, png': lambda: ours(root, 'png'),
            'ours, raw': lambda: ours(root, 'raw'),
            'BasicSR, png': lambda: basicsr(root),
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(args.runs):
            for name, run in sides.items():
                seconds[name].append(run())
        check(root)
    rates = {name: count / statistics.median(times) for name, times in seconds.items()}
    for name, rate in rates.items():
        print(f'{name:14}{rate:8.0f} images/s   {rate / rates["BasicSR, png"]:.2f}')
    if args.json:
        found = {
            'machine': machine(),
            'versions': versions(),
            'images': count,
            'seconds': seconds,
            'images_per_s': rates,
        }
        args.json.write_text(json.dumps(found, indent=2) + '\n')
    return 0


def unpack(archive: Path, root: Path, images: int) -> int:
    """The first images of LFW, as a folder and as a zip of their own."""
    with opened(archive) as source, zipfile.ZipFile(root / 'lfw.zip', 'w') as target:
        names = sorted(name for name in source.namelist() if name.endswith('.jpg'))[:images]
        (root / 'lfw').mkdir()
        for name in names:
            content = source.read(name)
            target.writestr('/'.join(Path(name).parts[-2:]), content)
            (root / 'lfw' / Path(name).name).write_bytes(content)
    return len(names)


def ours(root: Path, encoding: str) -> float:
    """Seconds of `fsr prepare lfw`."""
    target = root / f'{encoding}.lmdb'
    shutil.rmtree(target, ignore_errors=True)
    started = time.perf_counter()
    prepare_lfw(root / 'lfw.zip', target, crop=CROP, size=SIZE, encoding='png' if encoding == 'png' else 'raw')
    return time.perf_counter() - started


def cut(paths: tuple[str, str]) -> None:
    """What a worker of BasicSR's side does with an image."""
    image = cv2.imread(paths[0], cv2.IMREAD_COLOR)[OFFSET : OFFSET + CROP, OFFSET : OFFSET + CROP]
    small = imresize(image.astype(np.float32) / 255, SIZE / CROP)
    cv2.imwrite(paths[1], (small.clip(0, 1) * 255).round().astype(np.uint8))


def basicsr(root: Path) -> float:
    """Seconds of BasicSR's steps."""
    target, small = root / 'basicsr.lmdb', root / 'small'
    for old in (target, small):
        shutil.rmtree(old, ignore_errors=True)
    started = time.perf_counter()
    small.mkdir()
    names = sorted(os.listdir(root / 'lfw'))
    work = [(str(root / 'lfw' / name), str(small / f'{Path(name).stem}.png')) for name in names]
    processes = available_cores()
    with multiprocessing.get_context('fork').Pool(processes) as pool:
        pool.map(cut, work, chunksize=16)
    keys = [Path(name).stem for name in names]
    paths = [f'{key}.png' for key in keys]
    with open(os.devnull, 'w') as silence, redirect_stdout(silence), redirect_stderr(silence):
        make_lmdb_from_imgs(str(small), str(target), paths, keys, multiprocessing_read=True, n_thread=processes)
    return time.perf_counter() - started


def check(root: Path) -> None:
    """Both sides hold the same pixels, but for a step where they round a half otherwise."""
    mine, theirs = open_store(root / 'png.lmdb'), open_store(root / 'basicsr.lmdb')
    if list(mine.keys) != list(theirs.keys):
        sys.exit('The sides made different images.')
    largest = max(int(np.abs(mine.image(key).astype(int) - theirs.image(key)).max()) for key in mine.keys)
    print(f'largest difference of a pixel: {largest} of 255')


if __name__ == '__main__':
    sys.exit(main())
