"""``fsr infer``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping
from typing import Any

from fsr_plugins.arguments import given_path
from fsr_plugins.cli.checkpoint import add_checkpoint, add_lr_size_and_weights
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.cli.plugins import add_plugins
from fsr_plugins.errors import UserError

EXAMPLE = """fsr infer -c experiments/tsnet/joint/models/net_s_latest.pth lr_faces/ -o results
         fsr infer -c net_g.pth party.jpg -o results --photographs --detector mediapipe"""

#: Options of photographs by the name that :class:`~fsr_plugins.restore.restorers.Photographs` has for them.
_WITHIN = {
    'detector': 'detector',
    'weights': 'detector-weights',
    'like': 'like',
    'enlarge': 'enlarge',
    'most': 'most',
    'score': 'score',
    'strength': 'strength',
}


def add_arguments(parser: ArgumentParser) -> None:
    """A checkpoint, pictures and a folder for the results."""
    parser.add_argument(
        'inputs', type=given_path, nargs='+', metavar='IMAGE', help='images, or folders of them, prepared ones too'
    )
    add_checkpoint(parser)
    parser.add_argument(
        '-o', '--output', type=given_path, required=True, metavar='DIR', help='folder for the results, PNG'
    )
    parser.add_argument(
        '--fit', action='store_true', help="bring faces to the size of the network's LR first, bicubically"
    )
    add_lr_size_and_weights(parser)
    add_plugins(parser)
    parser.add_argument('--device', default='auto', metavar='NAME', help='auto (default), cpu, cuda, cuda:1 …')
    parser.add_argument(
        '--precision', choices=('auto', 'fp32', 'bf16'), default='auto',
        help='of the arithmetic; auto (default): bf16 where that is faster and changes a picture by a level or two',
    )  # fmt: skip
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument('--overwrite', action='store_true', help='replace results that exist')
    existing.add_argument('--skip-existing', action='store_true', help='leave out what has a result, to go on')
    group = parser.add_argument_group('photographs')
    group.add_argument('--photographs', action='store_true', help='find the faces, enlarge them and put them back')
    group.add_argument(
        '--detector', metavar='NAME',
        help='mtcnn, mediapipe, retinaface_resnet50 or retinaface_mobilenet0.25; default: the first that is installed',
    )  # fmt: skip
    group.add_argument(
        '--detector-weights',
        type=given_path,
        metavar='FILE',
        dest='weights',
        help='a local file instead of the published one',
    )
    group.add_argument(
        '--like', metavar='SET',
        help="cut faces out as those of this set with landmarks are, or 'ffhq'; default: as in the training",
    )  # fmt: skip
    group.add_argument('--enlarge', type=int, metavar='N', help='times; default: as the network, large pictures less')
    group.add_argument(
        '--most', type=float, metavar='X',
        help="leave faces alone that are X times as large as the network's LR (1.1), and blend those near that",
    )  # fmt: skip
    group.add_argument('--score', type=float, metavar='X', help="the detector's least confidence; default: its own")
    group.add_argument(
        '--strength', type=float, metavar='X', help='how much of a restored face is seen, 0 to 1 (default)'
    )


def _faces(found: Mapping[str, Any]) -> str:
    """How many faces there are, how many were restored, and which option left the others alone."""
    faces = [face for picture in found['pictures'].values() for face in picture['faces']]
    if not faces:
        return '0 faces found'
    left = Counter(face['left_by'] for face in faces if 'left_by' in face)
    why = ', '.join(f'{count} left alone by {option}' for option, count in sorted(left.items()))
    restored = sum(face['restored'] for face in faces)
    return f'{restored} of {len(faces)} faces restored' + (f' ({why})' if why else '')


def run(arguments: Namespace) -> CommandOutcome:
    """Enlarges and says what was written."""
    from fsr_plugins.engine import logs
    from fsr_plugins.images import shown
    from fsr_plugins.restore.restorers import Photographs
    from fsr_plugins.restore.run import RestoreRequest, restore

    logs.set_up(True)
    # What is not given is left to the class's own defaults.
    given = {name: value for name in _WITHIN if (value := getattr(arguments, name)) is not None}
    if given and not arguments.photographs:
        raise UserError(f'--{_WITHIN[next(iter(given))]} is for photographs: give --photographs too, or leave it out.')
    if arguments.photographs and arguments.fit:
        raise UserError('--fit is for pictures that are faces; those in --photographs are fitted anyway: leave it out.')
    found = restore(
        RestoreRequest(
            arguments.checkpoint,
            arguments.inputs,
            arguments.output,
            size=tuple(arguments.size) if arguments.size else None,
            fit=arguments.fit,
            photographs=Photographs(**given) if arguments.photographs else None,
            device=arguments.device,
            precision=arguments.precision,
            param_key=arguments.param_key,
            overwrite=arguments.overwrite,
            skip_existing=arguments.skip_existing,
        )
    )
    of_them = f', {_faces(found)}' if arguments.photographs else ''
    print(f'{arguments.output}: {len(found["pictures"])} pictures in {found["seconds"]} s{of_them}')
    if not found['failed']:
        return CommandOutcome(found)
    reasons: dict[str, list[str]] = {}
    for source, why in found['failed'].items():
        reasons.setdefault(why, []).append(source)
    which = '\n'.join(
        f'- {why}' if shown(of[0]) in why else f"- {why} ({len(of)} pictures, '{shown(of[0])}' is one)"
        for why, of in reasons.items()
    )
    found['error'] = f'{len(found["pictures"])} pictures are done, {len(found["failed"])} are not:\n{which}'
    print(f'fsr: error: {found["error"]}', file=sys.stderr)
    return CommandOutcome(found, 2)
