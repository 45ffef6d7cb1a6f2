"""``fsr infer``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING

from fsr_plugins.arguments import given_path
from fsr_plugins.cli.checkpoint import add_checkpoint, add_lr_size_and_weights
from fsr_plugins.cli.outcome import CommandOutcome
from fsr_plugins.cli.plugins import add_plugins
from fsr_plugins.errors import UserError
from fsr_plugins.values import Record
from fsr_plugins.wording import many

if TYPE_CHECKING:
    from fsr_plugins.restore import Mode

EXAMPLE = """fsr infer party.jpg -o results
         fsr infer -c experiments/tsnet/joint/models/net_s_latest.pth lr_faces/ -o results
         fsr infer clip.mp4 -o results
         fsr infer -c net_g.pth party.jpg -o results --ext same --save-faces faces"""


def add_arguments(parser: ArgumentParser) -> None:
    """A checkpoint, pictures and a folder for the results."""
    parser.add_argument(
        'inputs', type=given_path, nargs='+', metavar='IMAGE',
        help='images, clips (MP4, MOV, Matroska, AVI …), or folders of them, also prepared ones (no LMDB)',
    )  # fmt: skip
    add_checkpoint(parser, default='face_x4_blind')
    parser.add_argument('-o', '--output', type=given_path, required=True, metavar='DIR', help='folder for the results')
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        '--aligned', action='store_true',
        help="every picture is a face; default: those up to 1.5 times the network's LR are",
    )  # fmt: skip
    kind.add_argument('--photographs', action='store_true', help='every picture is a photograph with faces in it')
    parser.add_argument(
        '--fit', action='store_true',
        help="every picture is a face, and is first resized to the network's LR, bicubically",
    )  # fmt: skip
    add_lr_size_and_weights(parser)
    add_plugins(parser)
    parser.add_argument('--device', default='auto', metavar='NAME', help='auto (default), cpu, cuda, cuda:1 …')
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument(
        '--precision', choices=('auto', 'fp32', 'bf16'), default='auto',
        help='of the arithmetic; auto (default): bf16 if it is faster and changes a picture by a level or two at most',
    )  # fmt: skip
    precision.add_argument(
        '--half', action='store_const', dest='precision', const='half', help='fp16 on a GPU, bf16 on a CPU that has it'
    )
    parser.add_argument(
        '--engine', choices=('auto', 'torch', 'onnx'), default='auto',
        help='what runs the network; auto (default): PyTorch, or ONNX Runtime if it is faster for many faces',
    )  # fmt: skip
    parser.add_argument('--batch-size', type=int, metavar='N', help='faces a batch; default: 32, or fewer')
    _add_files(parser)
    _add_photographs(parser)


def _add_files(parser: ArgumentParser) -> None:
    group = parser.add_argument_group('files')
    existing = group.add_mutually_exclusive_group()
    existing.add_argument('--overwrite', action='store_true', help='replace results that exist')
    existing.add_argument('--skip-existing', action='store_true', help='skip pictures that have a result')
    group.add_argument('--recursive', action='store_true', help='also take subfolders, and keep their structure')
    group.add_argument(
        '--video',
        action='store_true',
        help='the pictures of a folder are the frames of a clip, in order of their names',
    )
    group.add_argument('--suffix', default='', metavar='TEXT', help="added to each result's name, e.g. _x4")
    group.add_argument(
        '--ext',
        choices=('png', 'jpg', 'webp', 'same'),
        default='png',
        help='format of the results; default: png; same: as the input',
    )
    group.add_argument(
        '--save-faces', type=given_path, metavar='DIR', help='also write each face of photographs, before and after'
    )


def _add_photographs(parser: ArgumentParser) -> None:
    group = parser.add_argument_group('photographs')
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
        help="align faces as in this set with landmarks, or as 'ffhq'; default: as in the training",
    )  # fmt: skip
    group.add_argument(
        '--enlarge', type=int, metavar='N', help="factor; default: the network's, less for large pictures"
    )
    group.add_argument(
        '--background', type=given_path, metavar='FILE',
        help='a checkpoint that enlarges the picture around the faces, in tiles; default: bicubic',
    )  # fmt: skip
    group.add_argument(
        '--seam', metavar='NAME',
        help="mediapipe, bisenet or parsenet: a restored face ends at the outline that it finds; default: an ellipse",
    )  # fmt: skip
    group.add_argument(
        '--seam-weights', type=given_path, metavar='FILE', help='a local file (or folder) instead of the published one'
    )
    group.add_argument(
        '--most', type=float, metavar='X',
        help="leave faces alone from X times the network's LR on, and blend those near it; "
        'default: by the checkpoint, else 1.1',
    )  # fmt: skip
    group.add_argument(
        '--least', type=float, metavar='X',
        help="leave faces alone up to X times the network's LR, and blend those near it; "
        'default: by the checkpoint, else 0.35, or 0 if SR is no larger than LR',
    )  # fmt: skip
    group.add_argument('--score', type=float, metavar='X', help='lowest confidence of the detector; default: its own')
    group.add_argument('--strength', type=float, metavar='X', help='weight of the restored face, 0 to 1 (default)')
    group.add_argument(
        '--only-largest', action='store_true', default=None, help='restore only the largest face of a photograph'
    )
    group.add_argument(
        '--min-face', type=float, metavar='N', dest='smallest',
        help='leave smaller faces alone, in pixels of the photograph',
    )  # fmt: skip
    group.add_argument(
        '--max-face',
        type=float,
        metavar='N',
        dest='largest',
        help='leave larger faces alone, in pixels of the photograph',
    )


def _faces(found: Record) -> str:
    """How many faces there are, how many were restored, and which option left the others alone."""
    faces = [face for picture in found['pictures'].values() for face in picture.get('faces', ())]
    if not faces:
        return '0 faces found'
    left = Counter(face['left_by'] for face in faces if 'left_by' in face)
    why = ', '.join(f'{count} left alone by {option}' for option, count in sorted(left.items()))
    restored = sum(face['restored'] for face in faces)
    return f'{restored} of {len(faces)} faces restored' + (f' ({why})' if why else '')


def _clip(found: Record) -> str:
    """What is to be said of a clip."""
    flicker = found['flicker']
    said = (
        'no flicker to measure'
        if flicker is None
        else (f"faces change by {flicker['restored']} levels from frame to frame, {flicker['ratio']} times bicubic's")
    )
    return (
        f'{many(found["frames"], "frame")} in {found["seconds"]} s ({found["frames_per_second"]} frames/s), '
        f'{many(found["tracks"], "face")} followed, restored {found["restored"]} of {found["faces"]} times; {said}'
    )


def run(arguments: Namespace) -> CommandOutcome:
    """Enlarges and says what was written."""
    from fsr_plugins.engine import logs
    from fsr_plugins.images import shown
    from fsr_plugins.restore.inputs import Naming
    from fsr_plugins.restore.option_names import option_of
    from fsr_plugins.restore.reporting import failures
    from fsr_plugins.restore.restorers import Photographs
    from fsr_plugins.restore.run import RestoreRequest, restore

    logs.set_up(True)
    # What is not given is left to the class's own defaults.
    names = [field.name for field in fields(Photographs)]
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if arguments.photographs and arguments.fit:
        raise UserError('--fit is for pictures that are faces; those in --photographs are fitted anyway: leave it out.')
    mode: Mode = 'photograph' if arguments.photographs else 'face' if arguments.aligned or arguments.fit else 'auto'
    for_photographs = [*given, *(['save_faces'] if arguments.save_faces is not None else [])]
    if for_photographs and mode == 'face':
        raise UserError(
            f'{option_of(for_photographs[0])} is for photographs, and every picture is a face by --aligned or --fit: '
            'leave one of them out.'
        )
    found = restore(
        RestoreRequest(
            arguments.checkpoint,
            arguments.inputs,
            arguments.output,
            size=tuple(arguments.size) if arguments.size else None,
            fit=arguments.fit,
            mode=mode,
            photographs=Photographs(**given),
            device=arguments.device,
            precision=arguments.precision,
            engine=arguments.engine,
            param_key=arguments.param_key,
            batch_size=arguments.batch_size,
            naming=Naming(arguments.suffix, arguments.ext, arguments.recursive, arguments.video),
            save_faces=arguments.save_faces,
            overwrite=arguments.overwrite,
            skip_existing=arguments.skip_existing,
        )
    )
    has_photographs = any('faces' in picture for picture in found['pictures'].values())
    of_them = f', {_faces(found)}' if has_photographs else ''
    for source, clip in found['clips'].items():
        print(f'{shown(source)}: {_clip(clip)}')
    counted = f'{many(len(found["clips"]), "clip")} and ' if found['clips'] else ''
    print(f'{arguments.output}: {counted}{many(len(found["pictures"]), "picture")} in {found["seconds"]} s{of_them}')
    if not found['failed']:
        return CommandOutcome(found)
    done = f'{counted}{many(len(found["pictures"]), "picture")} done'
    found['error'] = f'{done}, {failures(found["failed"])}'
    print(f'fsr: error: {found["error"]}', file=sys.stderr)
    return CommandOutcome(found, 2)
