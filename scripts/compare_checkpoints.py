#!/usr/bin/env python
"""Puts the images of several networks side by side: LR, bicubic, each checkpoint and HR, a column a face.

    python scripts/compare_checkpoints.py --faces datasets/lfw/dev.lmdb --scale 8 A=A.pth B=B.pth -o faces.jpg

LR is made by MATLAB's bicubic reduction. The faces lie evenly spread over the store, or are named by --keys.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from messages import positive, says_what_is_wrong
from torch import Tensor

import fsr_plugins
from fsr_plugins.checkpoints import meta_of
from fsr_plugins.degradations import BicubicDown
from fsr_plugins.degradations.bicubic import bicubic_up
from fsr_plugins.engine.report import grid
from fsr_plugins.errors import UserError
from fsr_plugins.stores.opening import open_store


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('networks', nargs='+', metavar='NAME=CHECKPOINT', help='in the order of the rows')
    parser.add_argument('--faces', required=True, metavar='STORE', help='HR faces: folder, LMDB or portraits://…')
    parser.add_argument('--scale', type=positive, required=True)
    parser.add_argument('--number', type=positive, default=8, help='faces (default: 8)')
    parser.add_argument('--keys', nargs='+', help='these faces')
    parser.add_argument('-o', '--output', type=Path, required=True, help='.png or .jpg')
    given = parser.parse_args(arguments)
    if not cv2.haveImageWriter(str(given.output)):
        parser.error(f"-o {given.output}: no picture is written under that ending, '.png' is one.")
    return given


@torch.no_grad()
def picture(options: argparse.Namespace) -> np.ndarray:
    """The rows as one image, uint8 HWC BGR."""
    store = open_store(options.faces)
    chosen = np.linspace(0, len(store) - 1, min(options.number, len(store))).astype(int)
    keys = options.keys or [store.keys[place] for place in chosen]
    unknown = sorted(set(keys) - set(store.keys))
    if unknown:
        raise UserError(f"'{store.path}' has no face '{unknown[0]}'.")
    degradation = BicubicDown(options.scale)
    hr = [torch.from_numpy(store.image(key)).permute(2, 0, 1)[None] / 255 for key in keys]
    lq = [degradation(image) for image in hr]
    rows: dict[str, list[Tensor]] = {'LR': lq, 'bicubic': [bicubic_up(image, options.scale) for image in lq]}
    for network in options.networks:
        name, _, path = network.partition('=')
        if not path:
            raise UserError(f"'{network}' is not NAME=CHECKPOINT.")
        if name in (*rows, 'HR'):
            raise UserError(f"'{network}': there is a row '{name}' already; give it another name.")
        net = fsr_plugins.load(path)
        if meta_of(net)['scale'] != options.scale:
            raise UserError(f"'{path}' enlarges {meta_of(net)['scale']} times, not --scale {options.scale}.")
        rows[name] = [net(image) for image in lq]
    return grid({**rows, 'HR': hr})


@says_what_is_wrong
def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the picture; the exit status."""
    options = parse(arguments)
    image = picture(options)
    if not cv2.imwrite(str(options.output), image):
        print(f"compare_checkpoints: '{options.output}' cannot be written.", file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
