"""Makes a bundled network of a checkpoint: half precision, averaged weights, and of its description what a user needs.

    python scripts/bundle_weights.py experiments/face_x4_blind/train/models/net_g_6000.pth face_x4_blind

A network that learned from unpaired LR of a camera is described by that camera, not by its experiment's degradation:

    python scripts/bundle_weights.py experiments/…/net_t_latest.pth tsnet_x4 --camera NeutralCamera

Writes ``fsr_plugins/zoo/NAME.pth``, notes its SHA-256 in ``SHA256SUMS`` and prints what the card ``NAME.md`` says of
the check on the built-in faces. The card is written by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from messages import says_what_is_wrong
from torch import Tensor, nn

from fsr_plugins.checkpoints import META, PARAMS, PARAMS_EMA, described, load, meta_of, trained_on, write_weights
from fsr_plugins.checkpoints.bundled import FOLDER, SUMS
from fsr_plugins.degradations import bicubic_up
from fsr_plugins.errors import UserError
from fsr_plugins.metrics import PSNR
from fsr_plugins.portraits import render
from fsr_plugins.registry import build
from fsr_plugins.values import Record

#: What stays of the description: nothing of the machine, the folders or the training's course.
KEPT = (
    'format',
    'net',
    'arch',
    'module',
    'scale',
    'sizes',
    'range',
    'channels',
    'degradation',
    'gains_from',
    'gains_up_to',
    'iteration',
    'versions',
)


#: Without these the check on the built-in faces cannot be made.
KEYS = ('scale', 'degradation')


def small(content: Record, camera: str | None = None) -> Record:
    """The averaged weights in half precision, and the description without what only its training needed.

    Args:
        content: of the checkpoint.
        camera: the degradation of the unpaired LR that the network learned from, if it did.

    Raises:
        UserError: there is no such degradation.
    """
    meta = content[META]
    faces = {key: value for key, value in trained_on(meta).items() if value is not None}
    state = content.get(PARAMS_EMA, content.get(PARAMS))
    halves = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    kept = {key: meta[key] for key in KEPT if key in meta}
    if camera is not None:
        kept['degradation'] = {'type': camera, 'scale': meta['scale']}
        build('degradations', kept['degradation'])  # an unknown one is said before anything is written
    return {PARAMS: halves, META: {**kept, 'manifests': {'train': [faces]}}}


def check(meta: Record, checkpoint: Path) -> None:
    """Whether the built-in faces can measure the network; looked at before anything is written.

    Raises:
        UserError: the description lacks the size of the faces, the scale or the degradation.
    """
    size = meta['manifests']['train'][0].get('size')
    lacking = [name for name, value in (('size of faces', size), *((key, meta.get(key)) for key in KEYS)) if not value]
    if lacking:
        raise UserError(f"'{checkpoint}' says nothing of {', '.join(lacking)}: take one trained on aligned faces.")


def measured(net: nn.Module) -> tuple[float, float]:
    """PSNR in dB of the network and of bicubic enlargement on 24 of the built-in faces, degraded as in its training.

    Args:
        net: what :func:`fsr_plugins.load` has opened.
    """
    meta = meta_of(net)
    side = meta['manifests']['train'][0]['size']
    assert side is not None and meta['scale'] is not None  # of networks that were trained here
    faces = [face.image for face in render('studio', 'test', range(24), side[0])]
    gt = torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        lq = build('degradations', meta['degradation'] or {})(gt, torch.arange(len(faces)))
        return _psnr(net(lq), gt), _psnr(bicubic_up(lq, meta['scale']), gt)


def _psnr(sr: Tensor, gt: Tensor) -> float:
    return PSNR().values(sr.clamp(0, 1), gt).mean().item()


def check_line(psnr: float, bicubic: float) -> str:
    """The card's line of the check."""
    return f'Check on 24 built-in faces: {psnr:.2f} dB (bicubic {bicubic:.2f} dB).'


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('name')
    parser.add_argument('--camera', metavar='DEGRADATION', help='what the unpaired LR came through')
    arguments = parser.parse_args(arguments)
    path = FOLDER / f'{arguments.name}.pth'
    content = small(described(arguments.checkpoint), arguments.camera)
    check(content[META], arguments.checkpoint)
    digest = write_weights(path, content)
    sums = FOLDER / SUMS
    lines = sums.read_text().splitlines() if sums.is_file() else []
    lines = [line for line in lines if line.split()[1] != path.name] + [f'{digest}  {path.name}']
    sums.write_text('\n'.join(sorted(lines, key=lambda line: line.split()[1])) + '\n')
    print(f'{path}: {path.stat().st_size / 1e6:.2f} MB, SHA-256 {digest}')
    print(check_line(*measured(load(path))))


if __name__ == '__main__':
    sys.exit(main())
