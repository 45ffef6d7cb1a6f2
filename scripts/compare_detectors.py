"""How far face detectors and parsers agree, with each other and with a store's points and maps, and how fast they are.

    fsr prepare lfw lfw-deepfunneled.zip lfw250.lmdb --crop 250 --landmarks points.csv --parsing maps.zip
    python scripts/compare_detectors.py lfw250.lmdb --count 400 --engines retinaface_mobilenet0.25=FILE mediapipe

STORE is any that ``fsr train`` takes, built-in faces (``portraits://…``) too; its points and maps are the reference. Of
several faces the one nearest to the image's centre is compared. Prints Markdown tables. Set ``OMP_NUM_THREADS``.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

import cv2
import numpy as np
import numpy.typing as npt
import torch
from messages import positive, says_what_is_wrong

from fsr_plugins.faces import PARTS, Detection, nearest_centre, open_detector, open_landmarker, open_parser
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.store import Store

Floats = npt.NDArray[np.floating]
PACKAGES = ('torch', 'facexlib', 'ai-edge-litert', 'opencv-python')


def named(argument: str) -> tuple[str, str | None]:
    """``NAME`` or ``NAME=WEIGHTS``."""
    name, _, weights = argument.partition('=')
    return name, weights or None


def timed(images: Sequence[np.ndarray], work: Callable[[Sequence[np.ndarray]], list]) -> tuple[list, float]:
    """What ``work`` makes of the images, and images a second of this process's time, eight done before to warm up.

    The process's own time, of all its threads, does not grow where others use the machine as well.
    """
    work(images[:8])
    start = time.process_time()
    done = work(images)
    return done, len(images) / (time.process_time() - start)


def five(faces: Sequence[Detection | None]) -> Floats:
    """(N, 5, 2), NaN where there is no face."""
    return np.stack([np.full((5, 2), np.nan) if face is None else face.points for face in faces])


def apart(first: Floats, second: Floats) -> tuple[Floats, Floats, int]:
    """Distances of points in pixels and in eyes' distances of ``second``, (M, 5) each, and M, the faces of both."""
    both = np.isfinite(first).all(axis=(1, 2)) & np.isfinite(second).all(axis=(1, 2))
    pixels = np.linalg.norm(first[both] - second[both], axis=2)
    eyes = np.linalg.norm(second[both, 0] - second[both, 1], axis=1)
    return pixels, pixels / eyes[:, None], int(both.sum())


def row(*cells: str) -> str:
    return f'| {" | ".join(cells)} |'


def print_detection(
    images: Sequence[np.ndarray], points: dict[str, Floats], engines: list[tuple[str, str | None]]
) -> None:
    """Finds faces by each engine, prints rate and speed, and adds the points to ``points``.

    Where MediaPipe is among the engines, its mesh looks again at what each other one has found.
    """
    print(row('engine', 'images with a face', 'faces an image', 'images / CPU s'))
    print(row(*['---'] * 4))
    for name, weights in engines:
        detector = open_detector(name, weights)
        found, speed = timed(images, detector.detect)
        centred = [nearest_centre(faces, *image.shape[:2]) for faces, image in zip(found, images, strict=True)]
        rate, mean = np.mean([face is not None for face in centred]), np.mean([len(faces) for faces in found])
        print(row(name, f'{100 * rate:.1f} %', f'{mean:.2f}', f'{speed:.1f}'))
        points[name] = five(centred)
        if name != 'mediapipe' and 'mediapipe' in dict(engines):
            marks = open_landmarker('mediapipe').points(images, centred)
            points[f'{name}, then the mesh'] = np.stack(
                [np.full((5, 2), np.nan) if one is None else one.points for one in marks]
            )


def print_points(points: dict[str, Floats]) -> None:
    """Distances between each two sets of points."""
    print()
    columns = ('eyes', 'nose', 'mouth corners')
    print(row('points', 'against', 'faces', 'median px', *columns, '95 % of faces below'))
    print(row(*['---'] * 8))
    for first, second in itertools.combinations(points, 2):
        pixels, shares, count = apart(points[second], points[first])
        if not count:
            continue
        parts = [100 * shares[:, which].mean() for which in ([0, 1], [2], [3, 4])]
        worst = 100 * np.quantile(shares.mean(axis=1), 0.95)
        print(
            row(
                second,
                first,
                str(count),
                f'{np.median(pixels):.2f}',
                *(f'{one:.1f} %' for one in parts),
                f'{worst:.1f} %',
            )
        )


def print_parsing(
    images: Sequence[np.ndarray], maps: Sequence[np.ndarray], parsers: list[tuple[str, str | None]]
) -> None:
    """Agreement of parsers with the store's maps: each part's intersection over union, all images together."""
    print()
    held = sorted(set(np.unique(np.concatenate([one.ravel() for one in maps])).tolist()) - {0})
    print(row('parser', 'maps', 'images / CPU s', 'all pixels equal', *(PARTS[part] for part in held)))
    print(row(*['---'] * (len(held) + 4)))
    for name, weights in parsers:
        parsed, speed = timed(images, open_parser(name, weights).parse)
        made = [(one, truth) for one, truth in zip(parsed, maps, strict=True) if one is not None]
        ours, theirs = (np.concatenate([pair[side].ravel() for pair in made]) for side in (0, 1))
        shares = [
            ((ours == part) & (theirs == part)).sum() / max(1, ((ours == part) | (theirs == part)).sum())
            for part in held
        ]
        print(
            row(
                name,
                f'{len(made)} of {len(maps)}',
                f'{speed:.1f}',
                f'{100 * (ours == theirs).mean():.1f} %',
                *(f'{one:.2f}' for one in shares),
            )
        )


def installed(name: str) -> str:
    try:
        return f'{name} {version(name)}'
    except PackageNotFoundError:
        return f'no {name}'


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('store', metavar='STORE')
    parser.add_argument('--count', type=positive, default=400, help='images, evenly over the store (default: 400)')
    parser.add_argument('--engines', nargs='+', type=named, default=[('mediapipe', None)], metavar='NAME[=WEIGHTS]')
    parser.add_argument('--parsers', nargs='*', type=named, default=[('mediapipe', None)], metavar='NAME[=WEIGHTS]')
    args = parser.parse_args(arguments)
    cv2.setNumThreads(torch.get_num_threads())

    store: Store = open_store(args.store)
    keys = list(store.keys)[:: max(1, len(store.keys) // args.count)][: args.count]
    images = [store.image(key) for key in keys]
    sizes = sorted({image.shape[:2] for image in images})
    print(f'{len(images)} images of {sizes[0][0]}x{sizes[0][1]} to {sizes[-1][0]}x{sizes[-1][1]} from {args.store}')
    print(f'{platform.machine()}, {torch.get_num_threads()} thread(s); {", ".join(map(installed, PACKAGES))}\n')

    points: dict[str, Floats] = {}
    if store.landmarks is not None:
        place = {key: at for at, key in enumerate(store.keys)}
        points['the store'] = store.landmarks[[place[key] for key in keys]]
    print_detection(images, points, args.engines)
    print_points(points)
    if store.has_parsing and args.parsers:
        print_parsing(images, [store.parsing(key) for key in keys], args.parsers)


if __name__ == '__main__':
    sys.exit(main())
