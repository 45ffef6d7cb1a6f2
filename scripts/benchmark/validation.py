"""PSNR and SSIM of what a network gave, as each side's validation takes them: ``validation``."""

from __future__ import annotations

import time
from contextlib import ExitStack

import cv2
import numpy as np
import torch
from torch import Tensor

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR

from basicsr.metrics import calculate_metric  # isort: skip
from basicsr.utils import tensor2img  # isort: skip

from fsr_plugins.engine import distributed
from fsr_plugins.metrics import PSNR, SSIM
from fsr_plugins.models.evaluation import quantise
from fsr_plugins.stores.images import Image, read_image

from .faces import GT_SIZE, Faces
from .process import Side
from .timing import Comparison, Effort, alternate, synchronise

BATCH = 16
IMAGES = 256
#: The agreement that is demanded of the two sides, in dB and in units of SSIM.
TOLERANCE = 1e-4


def _enlarged(lq: Image) -> Image:
    return np.asarray(cv2.resize(lq, (GT_SIZE, GT_SIZE), interpolation=cv2.INTER_CUBIC), np.uint8)


class _Validation:
    """Results and GT as a network and a loader leave them, float NCHW on the device: LQ enlarged, and GT.

    Attributes:
        found: the last run's PSNR and SSIM.
    """

    def __init__(self, faces: Faces, device: torch.device, count: int) -> None:
        self.device = device
        names = [path.name for path in sorted(faces.gt.iterdir())[:count]]
        self.gt = self._floats([read_image(faces.gt / name) for name in names])
        self.sr = self._floats([_enlarged(read_image(faces.lq / name)) for name in names])
        self.found: tuple[float, float] | None = None

    def _floats(self, images: list[Image]) -> Tensor:
        return torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float().div_(255).contiguous()

    def results(self) -> tuple[float, float] | None:
        """PSNR and SSIM of the last run, None before."""
        return self.found


class OurValidation(_Validation):
    """Rounds a batch of results to 8 bits and gives it to the batched metrics, set up as our pipeline does."""

    def __init__(self, faces: Faces, device: torch.device, count: int) -> None:
        distributed.start('none', int(device.type == 'cuda'))
        super().__init__(faces, device, count)

    def run(self) -> float:
        """Images a second."""
        psnr, ssim = PSNR(), SSIM()
        synchronise(self.device)
        started = time.perf_counter()
        for sr, gt in zip(self.sr.split(BATCH), self.gt.split(BATCH), strict=True):
            images = quantise(sr)
            psnr.update(images, gt, {})
            ssim.update(images, gt, {})
        self.found = psnr.compute()['psnr'], ssim.compute()['ssim']
        return len(self.gt) / (time.perf_counter() - started)


class BasicSRValidation(_Validation):
    """Makes a uint8 image of every result and GT, one at a time, and calls the two metrics on these."""

    def run(self) -> float:
        """Images a second."""
        totals = {'calculate_psnr': 0.0, 'calculate_ssim': 0.0}
        synchronise(self.device)
        started = time.perf_counter()
        for sr, gt in zip(self.sr.split(1), self.gt.split(1), strict=True):
            data = {'img': tensor2img([sr.cpu()]), 'img2': tensor2img([gt.cpu()])}
            for name in totals:
                totals[name] += calculate_metric(data, {'type': name, 'crop_border': 0})
        elapsed = time.perf_counter() - started
        self.found = totals['calculate_psnr'] / len(self.gt), totals['calculate_ssim'] / len(self.gt)
        return len(self.gt) / elapsed


def validation(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """Images a second of PSNR and SSIM together, each side in a process of its own.

    Raises:
        AssertionError: the sides' figures differ, so their speeds cannot be compared.
    """
    common = (faces, device, min(IMAGES, effort.images))
    with ExitStack() as stack:
        ours, basicsr = (stack.enter_context(Side(side, *common)) for side in (OurValidation, BasicSRValidation))
        ours.call('run'), basicsr.call('run')  # not counted: the first run starts threads and takes memory
        pair = alternate(lambda: ours.call('run'), lambda: basicsr.call('run'), effort.runs)
        figures = ours.call('results'), basicsr.call('results')
    if np.abs(np.subtract(*figures)).max() > TOLERANCE:
        raise AssertionError(f'PSNR and SSIM differ: ours {figures[0]}, BasicSR {figures[1]}')
    how = f'PSNR and SSIM of RGB {GT_SIZE}×{GT_SIZE}; BasicSR: image by image, ours: batches of {BATCH}'
    return Comparison('validation', 'images/s', pair.ours, pair.basicsr, how)
