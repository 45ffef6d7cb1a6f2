"""Colours set right without a network: channel by channel, LR gets the mean and the deviation that HR has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from fsr_plugins.bench.cache import MeasurementCache, code_version
from fsr_plugins.bench.data import TestSet
from fsr_plugins.config.options import Block
from fsr_plugins.degradations.bicubic import BicubicDown
from fsr_plugins.stores.checksum import store_checksum
from fsr_plugins.stores.opening import open_store
from fsr_plugins.stores.store import Store

#: Images that are read at once.
_BATCH = 64


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and deviation of R, G and B over all pixels of all images, in [0, 1]."""

    mean: list[float]
    deviation: list[float]


class ChannelSums:
    """Takes in images batch by batch, of any sizes, and gives their statistics."""

    def __init__(self) -> None:
        self._sums, self._squares, self._pixels = torch.zeros(3).double(), torch.zeros(3).double(), 0

    def add(self, images: Tensor) -> None:
        """Images (N, 3, H, W) in [0, 1]."""
        values = images.double().cpu()
        self._sums += values.sum((0, 2, 3))
        self._squares += values.square().sum((0, 2, 3))
        self._pixels += values.numel() // 3

    def statistics(self) -> ChannelStatistics:
        """Of all that was added, one image at the least."""
        mean = self._sums / self._pixels
        variance = (self._squares / self._pixels - mean.square()).clamp(min=0)
        return ChannelStatistics(mean.tolist(), variance.sqrt().tolist())


@dataclass(frozen=True)
class ColourMatch:
    """From the colours of LR to those of HR, by the statistics of two sets that need not show the same faces.

    Attributes:
        lr: of LR as the camera makes it.
        hr: of HR reduced to LR's size, so that both have the same sharpness.
    """

    lr: ChannelStatistics
    hr: ChannelStatistics

    @property
    def gain(self) -> float:
        """One factor for all channels: the ratio of the means."""
        return sum(self.hr.mean) / sum(self.lr.mean)

    @property
    def slope(self) -> list[float]:
        """The factor of each channel; 1 where LR has one colour alone."""
        pairs = zip(self.hr.deviation, self.lr.deviation, strict=True)
        return [wanted / given if given > 0 else 1.0 for wanted, given in pairs]

    @property
    def offset(self) -> list[float]:
        """What is added to each channel behind its factor."""
        return [
            wanted - slope * given for wanted, slope, given in zip(self.hr.mean, self.slope, self.lr.mean, strict=True)
        ]

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) of LR's colours with HR's mean and deviation in each channel; not clamped."""
        slope, offset = (images.new_tensor(values)[:, None, None] for values in (self.slope, self.offset))
        return images * slope + offset


def colours_of_stores(hr: Store, lr: Store, scale: int) -> ColourMatch:
    """Of an HR set and an unpaired set of LR; HR is reduced by MATLAB's bicubic kernel.

    Args:
        scale: how many times larger HR's faces are than LR's.
    """
    down, reduced, given = BicubicDown(scale), ChannelSums(), ChannelSums()
    for batch in stored_batches(hr):
        reduced.add(down(batch))
    for batch in stored_batches(lr):
        given.add(batch)
    return ColourMatch(given.statistics(), reduced.statistics())


def colours_of_suite(train: Block, lq: str | None, options: Block, cache: MeasurementCache) -> ColourMatch:
    """Of a suite's training faces, found once.

    Args:
        train: the block of the suite's training set.
        lq: a store of LR faces of any people; None: LR of the training faces by the suite's degradation.
        options: see :meth:`Suite.run_options`.

    Raises:
        UserError: a set cannot be read.
    """
    faces = TestSet({'type': 'FaceDataset', 'name': 'train', 'batch_size_per_gpu': 16, **train}, options)
    camera = None if lq is None else open_store(lq)

    def find() -> dict[str, Block]:
        down, reduced, given = BicubicDown(faces.scale), ChannelSums(), ChannelSums()
        for made, gt, _ in faces.batches():
            reduced.add(down(gt))
            if camera is None:
                given.add(made)
        for batch in [] if camera is None else stored_batches(camera):
            given.add(batch)
        return {'lr': asdict(given.statistics()), 'hr': asdict(reduced.statistics())}

    key = {
        'train': faces.fingerprint.as_dict(), 'lq': camera and store_checksum(camera), 'options': options,
        'code': code_version(None),
    }  # fmt: skip
    kept = cache.get_or_measure('colours', key, find)
    return ColourMatch(ChannelStatistics(**kept['lr']), ChannelStatistics(**kept['hr']))


def stored_batches(store: Store) -> Iterator[Tensor]:
    """All images of a store, (N, 3, H, W) in [0, 1], those of one size and next to each other together."""
    with store.reader() as read:
        for start in range(0, len(store), _BATCH):
            images = [read(key) for key in store.keys[start : start + _BATCH]]
            for _, alike in groupby(images, key=lambda image: image.shape):
                yield torch.from_numpy(np.stack(list(alike))).permute(0, 3, 1, 2) / 255
