"""Photographs of many megapixels as ``fsr infer`` restores them: faces found, gain, seconds and memory.

    python scripts/check_photographs.py net_g.pth --images lfw-deepfunneled-test.zip -o check \
        --detector mtcnn --detector retinaface_mobilenet0.25=retinaface_mobilenet0.25.pth --folder 30

Whole images of people lie on a plain ground, reduced so that the part of a face that the network takes has so many
pixels. The photograph is clean, or blurred, noisy and compressed. The command runs offline in a process of its own,
whose greatest memory is printed, with the options of a user who gives none but the detector. ``gain`` is the mean of
the PSNR of each face that was found less that of the same face enlarged bicubically, against the image before the
reduction. ``least`` is that of the face that gains least. ``false`` are faces beside the images. ``--folder`` also runs
the command over a folder with so many copies of the last photograph. Beside the photographs and results ``OUT`` holds
sheets of faces: enlarged bicubically, restored, and the truth. Set ``OMP_NUM_THREADS``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import cv2
import numpy as np
import scenes
import torch
from messages import positive, says_what_is_wrong

from fsr_plugins.errors import RunError, UserError
from fsr_plugins.faces import Detection, open_detector
from fsr_plugins.faces.protocol import Image
from fsr_plugins.images import read_image
from fsr_plugins.restore import photograph
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.restore.opening import open_network
from fsr_plugins.stores.images import encode_png

#: Faces on a sheet, and their side.
SHOWN, SIDE = 8, 256
SCRIPTS = Path(__file__).resolve().parent


class Run(NamedTuple):
    """What a command says, its seconds, and the peak of its memory in GiB."""

    found: dict[str, Any]
    seconds: float
    memory: float


def infer(source: Path, checkpoint: Path, out: Path, detector: str, more: Sequence[str] = ()) -> Run:
    """``fsr infer`` offline on a photograph, or on a folder of them, with a detector ``NAME`` or ``NAME=WEIGHTS``.

    Raises:
        RunError: the command failed; what it says is on standard error.
    """
    name, _, weights = detector.partition('=')
    report, peak = out / 'found.json', out / 'peak.txt'
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, '-m', 'benchmark.measured', str(peak), 'fsr_plugins.inference', str(source)]
    command += ['-c', str(checkpoint), '-o', str(out)]
    command += ['--photographs', '--overwrite', '--json', str(report), '--detector', name, *more]
    command += ['--detector-weights', weights] if weights else []
    paths = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get('PYTHONPATH')]))
    start = time.perf_counter()
    done = subprocess.run(
        command, env=os.environ | {'FSR_OFFLINE': '1', 'PYTHONPATH': paths}, stdout=subprocess.DEVNULL, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RunError(f'fsr infer ended with {done.returncode}: {" ".join(command)}')
    return Run(json.loads(report.read_text()), seconds, int(peak.read_text()) / 2**30)


def judged(scene: scenes.Scene, image: Image, run: Run, network: FaceNetwork, sheet: Path) -> list[str]:
    """Faces found, faces beside the images, the gain of those found and the least gain, as cells; draws a sheet."""
    (about,) = run.found['pictures'].values()
    faces = [Detection(np.array(f['box'], np.float32), f['score'], np.array(f['points'])) for f in about['faces']]
    hit = scenes.matches(scene, faces) >= 0
    middles = np.array([(face.box[:2] + face.box[2:]) / 2 for face in faces]).reshape(-1, 2)
    away = np.abs(middles[None] - (scene.corners + scene.side / 2)[:, None]).max(axis=2)
    beside = int((away.min(axis=0) > scene.side / 2).sum()) if faces else 0
    result, times = read_image(about['result']), about['enlarged']
    plain = photograph.enlarged(image, times)
    gain = (scenes.psnr(scene, result, times, network) - scenes.psnr(scene, plain, times, network))[hit]
    sheet.write_bytes(encode_png(drawn(scene, plain, result, times)))
    gains = [f'{gain.mean():+.2f}', f'{gain.min():+.2f}'] if len(gain) else ['', '']
    return [f'{hit.sum()} of {len(hit)} ({100 * hit.mean():.0f} %)', str(beside), *gains]


def drawn(scene: scenes.Scene, plain: Image, result: Image, times: int) -> Image:
    """Rows of three: an image of the scene enlarged bicubically, restored, and as it was."""
    rows = []
    for person, (x, y) in list(zip(scene.people, scene.corners * times, strict=True))[:SHOWN]:
        side = scene.side * times
        both = [whole[y : y + side, x : x + side] for whole in (plain, result)]
        shown = [cv2.resize(each, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for each in (*both, person.image)]
        rows.append(np.hstack(shown))
    half = len(rows) // 2
    return np.hstack([np.vstack(rows[:half]), np.vstack(rows[half : 2 * half])]) if half else rows[0]


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, metavar='CHECKPOINT', help='a network for aligned faces')
    parser.add_argument('--images', type=Path, required=True, metavar='ZIP', help='images, a folder a person')
    parser.add_argument('-o', '--out', type=Path, required=True, metavar='DIR', help='photographs, results and sheets')
    parser.add_argument('--detector', action='append', metavar='NAME[=WEIGHTS]', help='each is tried; default: mtcnn')
    parser.add_argument('--sizes', type=scenes.size_of, nargs='+', default=[(3000, 2000), (6000, 4000)], metavar='WxH')
    parser.add_argument('--pixels', type=positive, nargs='+', default=[28, 14], metavar='N', help='of faces')
    parser.add_argument('--count', type=positive, default=60, help='people (default: 60)')
    parser.add_argument('--enlarge', type=positive, metavar='N', help='as of fsr infer')
    parser.add_argument('--folder', type=int, default=0, metavar='N', help='copies of the last photograph in a folder')
    args = parser.parse_args(arguments)

    detectors = args.detector or ['mtcnn']
    network = open_network(args.checkpoint)
    if network.points is None:
        raise UserError(f"'{args.checkpoint}' does not say where the points of its faces lie.")
    people = scenes.read_people(args.images, args.count, open_detector('mtcnn'))
    at_hand = scenes.window(people, network) * max(network.known_size())
    more = [] if args.enlarge is None else ['--enlarge', str(args.enlarge)]
    args.out.mkdir(parents=True, exist_ok=True)
    print(f'{len(people)} people, {torch.get_num_threads()} thread(s)\n')
    print('| photograph | pixels | kind | detector | found | false | gain dB | least dB | s | peak GiB |')
    print('|---|---|---|---|---|---|---|---|---|---|')
    source = args.out
    for size in args.sizes:
        for pixels in args.pixels:
            scene = scenes.laid_out(people, size, at_hand / pixels)
            for kind in ('clean', 'degraded'):
                image = scene.photograph if kind == 'clean' else scenes.degraded(scene.photograph)
                source = args.out / f'{size[0]}x{size[1]}_{pixels}_{kind}.png'
                source.write_bytes(encode_png(image))
                for detector in detectors:
                    name = detector.partition('=')[0]
                    run = infer(source, args.checkpoint, args.out / name, detector, more)
                    cells = judged(scene, image, run, network, args.out / f'{source.stem}_{name}_faces.png')
                    first = [f'{size[0]}×{size[1]}', str(pixels), kind, name]
                    print(f'| {" | ".join([*first, *cells])} | {run.seconds:.0f} | {run.memory:.2f} |', flush=True)
    if args.folder:
        with TemporaryDirectory(prefix='copies_', dir=args.out) as copies:
            for number in range(args.folder):
                Path(copies, f'{number}.png').write_bytes(source.read_bytes())
            run = infer(Path(copies), args.checkpoint, args.out / 'of_copies', detectors[-1], more)
        print(f'\n{args.folder} copies of {source.name}: {run.seconds:.0f} s, {run.memory:.2f} GiB at most')


if __name__ == '__main__':
    sys.exit(main())
