"""How far the batched Canny agrees with OpenCV's, and what each costs.

    python scripts/compare_canny.py --images FOLDER --device cuda

Without ``--images`` it draws random blobs. Prints the share of equal pixels, F1 of the edges and milliseconds a batch
(medians of 9, alternating).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from messages import positive, says_what_is_wrong
from torch import Tensor

from fsr_plugins.edges import canny, canny_cv2
from fsr_plugins.errors import UserError
from fsr_plugins.images import read_image

SIZE = 64
ROUNDS = 9


def load(folder: Path | None, count: int) -> Tensor:
    """``count`` images N3HW of 64×64 in [0, 1]: the first of a folder, reduced by area, or random blobs."""
    if folder is None:
        rng = np.random.default_rng(0)
        blurred = [cv2.GaussianBlur(rng.random((SIZE, SIZE, 3)), (0, 0), rng.uniform(0.3, 4)) for _ in range(count)]
        images = [np.clip((one - one.mean()) / one.std() * 0.2 + 0.5, 0, 1) for one in blurred]
    else:
        files = sorted(path for path in folder.rglob('*') if path.suffix.lower() in {'.png', '.jpg', '.jpeg'})[:count]
        if not files:
            raise UserError(f"'{folder}' holds no PNG or JPEG.")
        decoded = [read_image(path) for path in files]
        images = [cv2.resize(one, (SIZE, SIZE), interpolation=cv2.INTER_AREA) / 255.0 for one in decoded]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().contiguous()


def milliseconds(find: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Wall time of one call, the device's queue emptied before and after."""
    if x.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    find(x)
    if x.is_cuda:
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


def compare_speed(x: Tensor) -> tuple[float, float]:
    """Median milliseconds of (OpenCV's, batched) on one batch, the two alternating."""
    canny_cv2(x), canny(x)
    pairs = [(milliseconds(canny_cv2, x), milliseconds(canny, x)) for _ in range(ROUNDS)]
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second)


@says_what_is_wrong
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=Path, help='folder of images; searched with its subfolders')
    parser.add_argument('--count', type=positive, default=512, help='images to compare (512)')
    parser.add_argument('--device', default='cpu', help='where the images lie (cpu)')
    options = parser.parse_args()
    x = load(options.images, options.count).to(options.device)
    for adaptive in (None, 'mean_std', 'otsu'):
        theirs, ours = canny_cv2(x, adaptive=adaptive), canny(x, adaptive=adaptive)
        equal = (theirs == ours).float().mean().item()
        f1 = 2 * (theirs * ours).sum().item() / max((theirs.sum() + ours.sum()).item(), 1.0)
        print(
            f'{adaptive or "100/200":8}  equal pixels {equal:.6f}  F1 {f1:.6f}  edge pixels {theirs.mean().item():.3f}'
        )
    print(f'{options.device}, {torch.get_num_threads()} CPU threads, {SIZE}×{SIZE}, milliseconds a batch')
    for batch in (4, 16, 64, 256):
        if batch <= len(x):
            theirs_ms, ours_ms = compare_speed(x[:batch])
            print(f'batch {batch:3}  canny_cv2 {theirs_ms:7.2f}  canny {ours_ms:7.2f}')


if __name__ == '__main__':
    sys.exit(main())
