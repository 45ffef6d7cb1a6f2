"""From which size on a network makes the faces of a photograph no better: restored against untouched, by size.

    python scripts/measure_face_sizes.py net_g.pth --images lfw-deepfunneled-test.zip --write net_g_measured.pth

Whole images of people lie on a plain ground, reduced so that the part of a face that the network takes has so many
pixels. The photograph is clean, or blurred, noisy and compressed. Faces are found, restored and put back as by
``fsr infer``. PSNR of each face against the image before the reduction is compared with that of the photograph
enlarged bicubically, in the position and size of the network's SR. ``gain`` is the mean difference where every face is
restored in full, ``worse`` the share of faces that lose. ``by default`` is the gain with ``--least``, ``--most`` and
the fading between them, with its 95 % interval over people, ``worst`` its least. ``--write`` makes a copy of the
checkpoint that says between which sizes clean and degraded faces gain on the average; ``fsr infer`` reads it there.
``--recogniser`` adds the likeness, the mean cosine of embeddings with the true face's: untouched, and restored by
default. Set ``OMP_NUM_THREADS``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scenes
import torch
from messages import positive, says_what_is_wrong

from fsr_plugins.checkpoints import META, described, write_weights
from fsr_plugins.faces import open_detector, tiled
from fsr_plugins.faces.protocol import Detection, Image
from fsr_plugins.measuring.statistics import bootstrap_interval
from fsr_plugins.metrics.recogniser import EvaluationRecogniser
from fsr_plugins.restore import photograph
from fsr_plugins.restore.face_choice import FaceChoice
from fsr_plugins.restore.network import FaceNetwork
from fsr_plugins.restore.opening import open_network

SIZES = (10, 12, 14, 16, 20, 24, 28, 32, 36, 40)
#: Larger than any face.
EVERY = 1e9


class Row(NamedTuple):
    """Of the faces found of one size: PSNR untouched, gains in full and by default in dB, (N,) each.

    ``likeness`` is that of the untouched and of those restored by default, if a recogniser was given.
    """

    faces: int
    untouched: np.ndarray
    full: np.ndarray
    default: np.ndarray
    likeness: tuple[float, float] | None = None


def put(image: Image, found: Sequence[Detection], network: FaceNetwork, choice: FaceChoice) -> Image:
    """A photograph enlarged by the network's scale with those faces restored."""
    assert network.points is not None
    cuts = photograph.cut(image, found, network.known_size(), network.points, choice)
    chosen = [face for face in cuts if face.lr is not None]
    result = photograph.enlarged(image, network.scale)
    photograph.put_back(result, network.scale, chosen, network([face.lr for face in chosen if face.lr is not None]))
    return result


def measured(
    image: Image,
    scene: scenes.Scene,
    found: list[Detection],
    network: FaceNetwork,
    most: float | None = None,
    recogniser: EvaluationRecogniser | None = None,
) -> Row:
    """One size; ``image`` is the scene's photograph, clean or not."""
    hit = scenes.matches(scene, found) >= 0
    choices = (FaceChoice(most=EVERY, least=0), FaceChoice(most=most).of(network.gains))
    results = [photograph.enlarged(image, network.scale), *(put(image, found, network, choice) for choice in choices)]
    untouched, full, default = (scenes.psnr(scene, result, network.scale, network)[hit] for result in results)
    likeness = None
    if recogniser is not None:
        before, after = (
            float(np.nanmean(scenes.likeness(scene, result, network.scale, network, recogniser)[hit]))
            for result in (results[0], results[2])
        )
        likeness = before, after
    return Row(len(hit), untouched, full - untouched, default - untouched, likeness)


def interval(gains: np.ndarray) -> str:
    """The 95 % interval of a mean over people, one face each: ``0.98 to 1.41``."""
    low, high = bootstrap_interval(gains[:, None], np.arange(len(gains)), seed=0, resamples=10_000, confidence=0.95)
    return f'{low[0]:.2f} to {high[0]:.2f}'


def write(file: Path, checkpoint: str, gains_from: float, gains_up_to: float) -> None:
    """Writes a copy of a checkpoint that says between which sizes, as shares of LR, faces gain by its network."""
    content = described(checkpoint)
    write_weights(file, {**content, META: {**content[META], 'gains_from': gains_from, 'gains_up_to': gains_up_to}})
    print(f'\n{file}: gains from {gains_from:.3g} to {gains_up_to:.3g} times LR.')


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='a network for aligned faces')
    parser.add_argument(
        '--images', type=Path, required=True, metavar='ZIP', help='images of one size, a folder a person'
    )
    parser.add_argument('--count', type=positive, default=60, help='people (default: 60)')
    parser.add_argument('--sizes', type=positive, nargs='+', default=SIZES, metavar='N', help='pixels of faces')
    parser.add_argument('--detector', default='mtcnn', metavar='NAME')
    parser.add_argument('--weights', type=Path, metavar='FILE', help='of the detector, instead of the published ones')
    parser.add_argument('--most', type=float, metavar='X', help='as of fsr infer')
    parser.add_argument(
        '--recogniser', type=Path, metavar='FILE', help="MobileFaceNet's weights, to measure likeness by"
    )
    parser.add_argument('--write', type=Path, metavar='FILE', help='a copy of the checkpoint that says what was found')
    args = parser.parse_args(arguments)

    network = open_network(args.checkpoint)
    block = {'type': 'MobileFaceNet', 'path': str(args.recogniser)}
    recogniser = None if args.recogniser is None else EvaluationRecogniser(block, 'landmarks')
    if network.points is None:
        parser.error(f'{args.checkpoint} does not say where the points of its faces lie.')
    if args.write is not None and META not in described(args.checkpoint):
        parser.error(f'{args.checkpoint} is no file of this toolkit: it says nothing, and a copy would not either.')
    detector = open_detector(args.detector, args.weights)
    people = scenes.read_people(args.images, args.count, detector)
    looking = tiled(args.detector, detector, photograph.power_of_two(network.scale))
    side = max(network.known_size())
    at_hand = scenes.window(people, network) * side
    print(f'{len(people)} people, LR of {side} pixels, {args.detector}, {torch.get_num_threads()} thread(s)\n')
    more = '' if recogniser is None else ' untouched likeness | by default |'
    print(f'| pixels | of LR | photograph | found | untouched dB | gain dB | worse | by default dB | worst dB |{more}')
    print('|---|---|---|---|---|---|---|---|---|' + ('' if recogniser is None else '---|---|'))
    gains: dict[str, list[int]] = {'clean': [], 'degraded': []}
    for pixels in args.sizes:
        scene = scenes.laid_out(people, None, at_hand / pixels)
        for kind in gains:
            image = scene.photograph if kind == 'clean' else scenes.degraded(scene.photograph)
            row = measured(image, scene, looking.detect([image])[0], network, args.most, recogniser)
            if not len(row.full):
                print(f'| {pixels} | {pixels / side:.2f} | {kind} | 0 of {row.faces} | | | | | |', flush=True)
                continue
            gains[kind] += [pixels] if row.full.mean() > 0 else []
            print(
                f'| {pixels} | {pixels / side:.2f} | {kind} | {len(row.full)} of {row.faces} '
                f'| {row.untouched.mean():.2f} | {row.full.mean():+.2f} | {100 * (row.full < 0).mean():.0f} % '
                f'| {row.default.mean():+.2f} ({interval(row.default)}) | {row.default.min():+.2f} |'
                + ('' if row.likeness is None else ''.join(f' {value:.3f} |' for value in row.likeness)),
                flush=True,
            )
    for kind, sizes in gains.items():
        print(f'\n{kind}: the largest size with a gain is {max(sizes, default=0)} pixels.')
    if args.write is not None:
        both = set.intersection(*map(set, gains.values()))
        if not both:
            parser.error(f'no size gains both clean and degraded, so {args.write} is not written.')
        write(args.write, args.checkpoint, min(both) / side, max(both) / side)


if __name__ == '__main__':
    sys.exit(main())
