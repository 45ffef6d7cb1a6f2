"""PSNR and SSIM of what a network gave, as each side's validation takes them: ``validation``."""

from __future__ import annotations

import time

import cv2
import numpy as np
import torch
from torch import Tensor

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR

from basicsr.metrics import calculate_metric  # isort: skip
from basicsr.utils import tensor2img  # isort: skip

from fsr_plugins.data.images import Image, read_image
from fsr_plugins.metrics import PSNR, SSIM
from fsr_plugins.models.validation import quantise

from .faces import GT_SIZE, Faces
from .timing import Comparison, Effort, alternate, synchronise

BATCH = 16
IMAGES = 64
#: The agreement that is demanded of the two sides, in dB and in units of SSIM.
TOLERANCE = 1e-4

OPENCV_THREADS = cv2.getNumThreads()


def _enlarged(lq: Image) -> Image:
    return np.asarray(cv2.resize(lq, (GT_SIZE, GT_SIZE), interpolation=cv2.INTER_CUBIC), np.uint8)


class ValidationBenchmark:
    """Both sides on the same results, float NCHW on the device, where a network leaves them: LQ enlarged, and GT.

    BasicSR's loop makes a uint8 image of every result and GT, one at a time, and calls its two metrics on these. Ours
    rounds a batch of results to 8 bits and gives it to the batched metrics.
    """

    def __init__(self, faces: Faces, device: torch.device, count: int) -> None:
        self.device = device
        names = [path.name for path in sorted(faces.gt.iterdir())[:count]]
        self.gt = self._floats([read_image(faces.gt / name) for name in names])
        self.sr = self._floats([_enlarged(read_image(faces.lq / name)) for name in names])
        self.results: dict[str, tuple[float, float]] = {}

    def _floats(self, images: list[Image]) -> Tensor:
        return torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float().div_(255).contiguous()

    def ours(self) -> float:
        """Images a second of our batched metrics."""
        psnr, ssim = PSNR(), SSIM()
        synchronise(self.device)
        started = time.perf_counter()
        for sr, gt in zip(self.sr.split(BATCH), self.gt.split(BATCH), strict=True):
            images = quantise(sr)
            psnr.update(images, gt, {})
            ssim.update(images, gt, {})
        self.results['ours'] = psnr.compute()['psnr'], ssim.compute()['ssim']
        return len(self.gt) / (time.perf_counter() - started)

    def basicsr(self) -> float:
        """Images a second of BasicSR's loop."""
        cv2.setNumThreads(OPENCV_THREADS)  # a loader of ours may have turned OpenCV's own threads off
        totals = {'calculate_psnr': 0.0, 'calculate_ssim': 0.0}
        synchronise(self.device)
        started = time.perf_counter()
        for sr, gt in zip(self.sr.split(1), self.gt.split(1), strict=True):
            data = {'img': tensor2img([sr.cpu()]), 'img2': tensor2img([gt.cpu()])}
            for name in totals:
                totals[name] += calculate_metric(data, {'type': name, 'crop_border': 0})
        elapsed = time.perf_counter() - started
        self.results['basicsr'] = totals['calculate_psnr'] / len(self.gt), totals['calculate_ssim'] / len(self.gt)
        return len(self.gt) / elapsed

    def check(self) -> None:
        """Compares what the two sides found.

        Raises:
            AssertionError: they differ, so their speeds cannot be compared.
        """
        difference = np.abs(np.subtract(self.results['ours'], self.results['basicsr'])).max()
        if difference > TOLERANCE:
            raise AssertionError(f'PSNR and SSIM differ: {self.results}')


def validation(faces: Faces, device: torch.device, effort: Effort) -> Comparison:
    """Images a second of PSNR and SSIM together."""
    benchmark = ValidationBenchmark(faces, device, min(IMAGES, effort.images))
    pair = alternate(benchmark.ours, benchmark.basicsr, effort.runs)
    benchmark.check()
    how = f'PSNR and SSIM of RGB {GT_SIZE}×{GT_SIZE}; BasicSR: image by image, ours: batches of {BATCH}'
    return Comparison('validation', 'images/s', pair.ours, pair.basicsr, how)
