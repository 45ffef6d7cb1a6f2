"""FID with the Inception features of the original (through BasicSR's network), reference HR images or a folder."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from fsr_plugins.arguments import home_path
from fsr_plugins.checkpoints import read_weights
from fsr_plugins.errors import UserError
from fsr_plugins.metrics.base import BatchMeta, Metric, check_pair
from fsr_plugins.metrics.frechet import FeatureMoments, frechet_distance
from fsr_plugins.registry import METRIC_REGISTRY
from fsr_plugins.weights import WeightFile, locate

DIMENSION = 2048
FOLDER_BATCH = 32
SUFFIXES = {'.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff'}


class InceptionFeatures(nn.Module):
    """Pooled features of the Inception network that FID is defined by, of images resized to 299×299 (bilinear)."""

    dimension = DIMENSION

    def __init__(self, path: Path) -> None:
        """
        Args:
            path: ``pt_inception-2015-12-05-6726825d.pth``.

        Raises:
            UserError: the file does not hold these weights.
        """
        super().__init__()
        from basicsr.archs import inception

        # Read once beforehand for the clear message; BasicSR's constructor reads the file named by its module constant.
        read_weights(path)
        inception.LOCAL_FID_WEIGHTS = str(path)
        try:
            self.net = inception.InceptionV3([3], resize_input=True, normalize_input=True).eval()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"'{path}' does not hold FID's Inception weights: {reason}.") from error

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in [0, 1] to (N, 2048)."""
        return self.net(images)[0].flatten(1)


@METRIC_REGISTRY.register()
class FID(Metric):
    """Fréchet inception distance (Heusel et al. 2017) between all results and a reference set.

    The images of both sets have to be of one size for a fair value, and some thousands: fewer bias the value upwards.
    """

    better = 'lower'
    by_image = False

    def __init__(self, reference: str = 'hr', weights: str | None = None, extractor: nn.Module | None = None) -> None:
        """
        Args:
            reference: ``'hr'`` for the validation set's own reference images, or a folder of images (with subfolders).
            weights: local file of the Inception weights; looked for and downloaded when None.
            extractor: another network from (N, 3, H, W) in [0, 1] to (N, D), with D as its attribute ``dimension``.

        Raises:
            UserError: a folder that is missing or without images; weights that are absent or wrong.
        """
        super().__init__(f'RGB, uint8, Inception 2048, reference {reference}')
        # An instance's own: what is needed depends on the option.
        self.needs_gt = reference == 'hr'  # type: ignore[misc]
        self.files = [] if self.needs_gt else image_files(home_path(reference))
        if extractor is None:
            (weight,) = self.requirements(weights=weights)
            extractor = InceptionFeatures(locate(weight))
        self.extractor = extractor.requires_grad_(False).eval()
        self.device = torch.device('cpu')
        self._folder: tuple[int, Tensor, Tensor] | None = None
        self._results, self._references = FeatureMoments(), FeatureMoments()

    @classmethod
    def requirements(cls, weights: str | None = None, **others: object) -> list[WeightFile]:
        """See :meth:`fsr_plugins.metrics.base.Metric.requirements`."""
        from basicsr.archs import inception

        url = inception.FID_WEIGHTS_URL
        return [WeightFile('FID (Inception)', url, '6726825d', url.rpartition('/')[2], path=weights)]

    @torch.no_grad()
    def update(self, sr: Tensor, gt: Tensor | None, meta: BatchMeta) -> None:
        """See :meth:`fsr_plugins.metrics.base.Metric.update`."""
        self.device = sr.device
        if self.needs_gt:
            check_pair(sr, gt, 'fid', meta)
        self._results.add(self._features(sr))
        if self.needs_gt and gt is not None:
            self._references.add(self._features(gt))

    def compute(self) -> dict[str, float]:
        """See :meth:`fsr_plugins.metrics.base.Metric.compute`.

        Raises:
            UserError: fewer than two results or references: they have no covariance.
        """
        dimension = int(self.extractor.dimension)  # type: ignore[arg-type]
        results = self._results.gather(dimension)
        references = self._references.gather(dimension) if self.needs_gt else self._folder_moments(dimension)
        self._results, self._references = FeatureMoments(), FeatureMoments()
        for (count, _, _), what in ((results, 'results'), (references, 'reference images')):
            if count < 2:
                raise UserError(f"The metric 'fid' saw {count} {what}: it needs at least two, better thousands.")
        return {'fid': frechet_distance(*results[1:], *references[1:])}

    def _features(self, images: Tensor) -> Tensor:
        # Full precision: the distance is a difference of large numbers.
        with torch.autocast(images.device.type, enabled=False):
            return self.extractor.to(images.device)(images.float())

    @torch.no_grad()
    def _folder_moments(self, dimension: int) -> tuple[int, Tensor, Tensor]:
        """Moments of the reference folder, taken once; every process reads its share."""
        if self._folder is None:
            grouped = dist.is_available() and dist.is_initialized()
            rank, world = (dist.get_rank(), dist.get_world_size()) if grouped else (0, 1)
            moments = FeatureMoments()
            for images in read_batches(self.files[rank::world]):
                moments.add(self._features(images.to(self.device)))
            self._folder = moments.gather(dimension)
        return self._folder


def image_files(folder: Path) -> list[Path]:
    """All images of a folder and its subfolders, sorted.

    Raises:
        UserError: no such folder, or no images in it.
    """
    if not folder.is_dir():
        raise UserError(f"'reference' of the metric FID is neither 'hr' nor a folder: '{folder}'.")
    files = sorted(path for path in folder.rglob('*') if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise UserError(f"The reference folder of the metric FID has no images: '{folder}'.")
    return files


def read_batches(files: list[Path]) -> Iterator[Tensor]:
    """Batches (N, 3, H, W) RGB in [0, 1] of consecutive images of one size.

    Raises:
        UserError: an image that cannot be decoded, or has more than 8 bits a channel.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        for start in range(0, len(files), FOLDER_BATCH):
            images = pool.map(_read, files[start : start + FOLDER_BATCH])
            for _, group in groupby(images, key=np.shape):
                yield torch.from_numpy(np.stack(list(group))).permute(0, 3, 1, 2).float() / 255


def _read(path: Path) -> np.ndarray:
    try:
        data = np.fromfile(path, np.uint8)  # OpenCV's own reading ends the process over names that are no UTF-8
    except OSError as error:
        raise UserError(f"The reference image '{path}' cannot be read: {error.strerror}.") from error
    try:
        # ANYDEPTH keeps 16 bits visible: without it OpenCV makes them 8 in silence.
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH) if data.size else None
    except cv2.error:  # a header that claims too many pixels
        image = None
    if image is None:
        raise UserError(f"The reference image '{path}' cannot be decoded: remove or replace it.")
    if image.dtype != np.uint8:
        raise UserError(
            f"The reference image '{path}' has {image.dtype} pixels; FID is defined for 8 bits: convert it."
        )
    return image
