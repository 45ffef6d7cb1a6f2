"""What enlargement gets without a network where LR comes from a camera: bicubic, as it is or with colours set right.

    python scripts/bicubic_rows.py --hr 'portraits://studio/train?number=2000&size=64' \
        --lr 'portraits://real_lr/train?number=1000&size=16' \
        --test-hr 'portraits://real_lr_hidden/test?number=100&size=64' \
        --test-lr 'portraits://real_lr/test?number=100&size=16'

Colours are set right by the statistics of two unpaired training sets; no test image is used. HR is first reduced to
LR's size. `gain` is one factor, the ratio of their means. `affine` gives each channel of LR the mean and the deviation
that reduced HR has, as the entry `{type: bicubic_matched}` of a suite does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch
from messages import says_what_is_wrong
from torch import Tensor

from fsr_plugins.bench.colours import colours_of_stores, stored_batches
from fsr_plugins.degradations import bicubic_up
from fsr_plugins.errors import UserError
from fsr_plugins.metrics import PSNR, SSIM
from fsr_plugins.stores import open_store


def images(spec: str) -> Tensor:
    """All images of a store, (N, 3, H, W) in [0, 1].

    Raises:
        UserError: they are of several sizes.
    """
    batches = list(stored_batches(open_store(spec)))
    if len({batch.shape[1:] for batch in batches}) != 1:
        raise UserError(f"'{spec}' has to hold images of one size.")
    return torch.cat(batches)


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('--hr', '--lr', '--test-hr', '--test-lr'):
        parser.add_argument(name, required=True, metavar='SPEC')
    given = parser.parse_args(arguments)
    gt, lq = images(given.test_hr), images(given.test_lr)
    scale = gt.shape[-1] // lq.shape[-1]
    if len(gt) != len(lq) or tuple(gt.shape[2:]) != (scale * lq.shape[2], scale * lq.shape[3]):
        sizes = ' and '.join(f'{len(each)} of {each.shape[3]}x{each.shape[2]}' for each in (gt, lq))
        raise UserError(f'--test-hr and --test-lr are no pairs: {sizes}; the first has to be a multiple of the second.')
    match = colours_of_stores(open_store(given.hr), open_store(given.lr), scale)
    enlarged = bicubic_up(lq, scale)
    rows = {
        'bicubic': enlarged,
        f'bicubic, gain {match.gain:.3f}': enlarged * match.gain,
        'bicubic, affine': match(enlarged),
    }
    metrics = {'PSNR': PSNR(), 'SSIM': SSIM(), 'PSNR of Y': PSNR(test_y_channel=True)}
    print('| |', ' | '.join(metrics), '|')
    for title, result in rows.items():
        sr = (result.clamp(0, 1) * 255).round() / 255
        figures = [f'{metric.values(sr, gt).mean().item():.4f}' for metric in metrics.values()]
        print(f'| {title} |', ' | '.join(figures), '|')


if __name__ == '__main__':
    sys.exit(main())
