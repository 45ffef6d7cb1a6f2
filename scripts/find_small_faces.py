"""How many small faces are found in photographs of many megapixels, how long it takes and how much memory.

    python scripts/find_small_faces.py lfw-deepfunneled-test.zip --detector retinaface_mobilenet0.25 \
        --weights retinaface_mobilenet0.25.pth --sizes 3000x2000 6000x4000 --reduce 4 8

A scene is a plain grey ground with whole images of FACES laid on it, reduced by N. A face counts as found if the middle
of exactly one found box lies in the middle half of its image. Boxes elsewhere in an image are other people, mostly;
boxes on the ground are false. Images in whose original size the detector sees no face are left out. Each scene is
looked at in a process of its own, whose greatest memory is printed. Set ``OMP_NUM_THREADS``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from benchmark.memory import peak_bytes
from messages import positive, says_what_is_wrong
from scenes import GAP, GROUND, opened, scattered, size_of

from fsr_plugins.errors import UserError
from fsr_plugins.faces import Detector, nearest_centre, open_detector, tiled
from fsr_plugins.faces.protocol import Image
from fsr_plugins.images import decode_image


@dataclass(frozen=True)
class Scene:
    """What is looked at, and by what.

    Attributes:
        faces: Zip archive of face images of one size.
        count: Faces at most.
        size: Width and height of the photograph.
        reduce: How many times the face images are reduced.
        finest: See :class:`~fsr_plugins.faces.TiledDetector`; 0: the photograph in one piece, without tiles.
    """

    faces: Path
    count: int
    size: tuple[int, int]
    reduce: int
    finest: int
    detector: str
    weights: Path | None


def read_faces(archive: Path, count: int, detector: Detector) -> list[Image]:
    """Images evenly over the archive in which the detector sees a face, uint8 (H, W, 3)."""
    with opened(archive) as images_of:
        names = sorted(name for name in images_of.namelist() if name.lower().endswith(('.jpg', '.png')))
        names = names[:: max(1, len(names) // count)][:count]
        images = [decode_image(images_of.read(name), name) for name in names]
    found = detector.detect(images)
    return [
        image for image, faces in zip(images, found, strict=True) if nearest_centre(faces, *image.shape[:2]) is not None
    ]


def laid_out(faces: Sequence[Image], size: tuple[int, int], reduce: int) -> tuple[Image, np.ndarray]:
    """The photograph, uint8 (H, W, 3), and the corners of the images on it, x and y, (N, 2); in random places."""
    width, height = size
    scene = np.full((height, width, 3), GROUND, np.uint8)
    small = [cv2.resize(face, None, fx=1 / reduce, fy=1 / reduce, interpolation=cv2.INTER_AREA) for face in faces]
    cell = max(max(face.shape[:2]) for face in small) + GAP
    corners = scattered(len(small), (width // cell, height // cell), cell)
    for face, (x, y) in zip(small, corners, strict=False):
        scene[y : y + face.shape[0], x : x + face.shape[1]] = face
    return scene, corners


def look(scene: Scene) -> tuple[int, int, int, int, int, float, float]:
    """Faces, those found once, found twice, other boxes in images, boxes on the ground, seconds, and peak GiB."""
    detector = open_detector(scene.detector, scene.weights)
    faces = read_faces(scene.faces, scene.count, detector)
    if not faces:
        raise UserError(f"'{scene.faces}': {scene.detector} sees no face in its images; give whole images of people.")
    photograph, corners = laid_out(faces, scene.size, scene.reduce)
    side = faces[0].shape[0] / scene.reduce
    looking = tiled(scene.detector, detector, scene.finest) if scene.finest else detector
    start = time.perf_counter()
    found = looking.detect([photograph])[0]
    seconds = time.perf_counter() - start
    middles = np.array([(face.box[:2] + face.box[2:]) / 2 for face in found]).reshape(-1, 2)
    # (N, F): how far each box's middle is from each image's.
    away = np.abs(middles[None] - (corners + side / 2)[:, None]).max(axis=2)
    hits = (away < side / 4).sum(axis=1)
    middle, inside = (int((away < part).any(axis=0).sum()) for part in (side / 4, side / 2))
    memory = peak_bytes() / 2**30
    once, twice = int((hits == 1).sum()), int((hits > 1).sum())
    return len(corners), once, twice, inside - middle, len(found) - inside, seconds, memory


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('faces', type=Path, metavar='FACES', help='zip archive of face images of one size')
    parser.add_argument('--detector', default='retinaface_mobilenet0.25', metavar='NAME')
    parser.add_argument('--weights', type=Path, metavar='FILE', help='a local file instead of the published one')
    parser.add_argument('--sizes', type=size_of, nargs='+', default=[(3000, 2000), (6000, 4000)], metavar='WxH')
    parser.add_argument('--reduce', type=positive, nargs='+', default=[4, 8], metavar='N')
    parser.add_argument('--count', type=positive, default=200, help='faces at most in a scene (default: 200)')
    parser.add_argument('--finest', type=int, default=4, help='a power of two; 0: in one piece, without tiles')
    args = parser.parse_args(arguments)

    print(f'{platform.machine()}, {torch.get_num_threads()} thread(s), {args.detector}\n')
    print('| photograph | reduced by | faces | found | twice | others | false | s | peak GiB |')
    print('|---|---|---|---|---|---|---|---|---|')
    # A new process each, so that memory is that of one scene.
    fresh = multiprocessing.get_context('spawn')
    for size in args.sizes:
        for reduce in args.reduce:
            scene = Scene(args.faces, args.count, size, reduce, args.finest, args.detector, args.weights)
            with fresh.Pool(1) as pool:
                faces, found, twice, others, false, seconds, memory = pool.apply(look, (scene,))
            rate = f'{found} ({100 * found / max(1, faces):.1f} %)'
            print(
                f'| {size[0]}×{size[1]} | {reduce} | {faces} | {rate} | {twice} | {others} | {false} '
                f'| {seconds:.1f} | {memory:.2f} |',
                flush=True,
            )


if __name__ == '__main__':
    sys.exit(main())
