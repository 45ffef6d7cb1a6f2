"""PSNR and SSIM of images that are in memory as uint8: ``validation``."""

from __future__ import annotations

import time

import cv2
import numpy as np
import torch

from fsr_plugins import compat  # noqa: F401  before anything of BasicSR

from basicsr.metrics import calculate_metric  # isort: skip

from fsr_plugins.data.images import read_image
from fsr_plugins.metrics import PSNR, SSIM

from .faces import GT_SIZE, Faces
from .timing import Comparison, Effort, alternate, synchronise

BATCH = 16
IMAGES = 64
#: The agreement that is demanded of the two sides, in dB and in units of SSIM.
TOLERANCE = 1e-4

OPENCV_THREADS = cv2.getNumThreads()


def _enlarged(lq: np.ndarray) -> np.ndarray:
    return cv2.resize(lq, (GT_SIZE, GT_SIZE), interpolation=cv2.INTER_CUBIC)


class ValidationBenchmark:
    """Both sides on the same images: GT, and LQ enlarged.

    BasicSR's metrics take one uint8 image at a time, as its validation loop calls them (the loop's conversion from
    tensors is left out); ours take batches, which are brought to the device as uint8 and made float there.
    """

    def __init__(self, faces: Faces, device: torch.device, count: int) -> None:
        self.device = device
        names = [path.name for path in sorted(faces.gt.iterdir())[:count]]
        self.gt = np.stack([read_image(faces.gt / name) for name in names])
        self.sr = np.stack([_enlarged(read_image(faces.lq / name)) for name in names])
        self.results: dict[str, tuple[float, float]] = {}

    def _batches(self, images: np.ndarray) -> list[torch.Tensor]:
        return list(torch.from_numpy(images).split(BATCH))

    def _floats(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)

    def ours(self) -> float:
        """Images a second of our batched metrics."""
        psnr, ssim = PSNR(), SSIM()
        synchronise(self.device)
        started = time.perf_counter()
        for sr, gt in zip(self._batches(self.sr), self._batches(self.gt), strict=True):
            images, references = self._floats(sr), self._floats(gt)
            psnr.update(images, references, {})
            ssim.update(images, references, {})
        self.results['ours'] = psnr.compute()['psnr'], ssim.compute()['ssim']
        return len(self.gt) / (time.perf_counter() - started)

    def basicsr(self) -> float:
        """Images a second of BasicSR's loop."""
        cv2.setNumThreads(OPENCV_THREADS)  # a loader of ours may have turned OpenCV's own threads off
        totals = {'calculate_psnr': 0.0, 'calculate_ssim': 0.0}
        started = time.perf_counter()
        for sr, gt in zip(self.sr, self.gt, strict=True):
            for name in totals:
                totals[name] += calculate_metric({'img': sr, 'img2': gt}, {'type': name, 'crop_border': 0})
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
