"""LR faces of which nobody knows the HR, for metrics that need no reference."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import ClassVar

import numpy as np

from fsr_plugins.data.image_dataset import Arrays, ImageDataset, Sample, Slot, number_slots, write
from fsr_plugins.data.options import RealFaceDatasetOptions
from fsr_plugins.registry import DATASET_REGISTRY


@DATASET_REGISTRY.register()
class RealFaceDataset(ImageDataset):
    """Real LR faces alone (``dataroot_lq``): batches have ``lq`` and no ``gt``; for validation without a reference."""

    Options: ClassVar[type[RealFaceDatasetOptions]] = RealFaceDatasetOptions
    options: RealFaceDatasetOptions
    role: ClassVar[str] = 'lq'
    has_gt: ClassVar[bool] = False

    def root(self) -> str:
        """See :meth:`ImageDataset.root`."""
        return self.options.dataroot_lq

    def shape(self, index: int) -> tuple[int, int]:
        """See :meth:`ImageDataset.shape`: the LR's own."""
        height, width = self.sizes()[index].tolist()
        return height, width

    def slots(self, index: int) -> dict[str, Slot]:
        """See :meth:`ImageDataset.slots`."""
        return {'lq': Slot((*self.shape(index), 3), np.uint8), **number_slots()}

    def fill_samples(self, samples: Sequence[Sample], out: Arrays, stack: ExitStack) -> dict[str, list[str]]:
        """See :meth:`ImageDataset.fill_samples`."""
        read = stack.enter_context(self.store.reader())
        keys = [self.key(sample.place) for sample in samples]
        for row, (sample, key) in enumerate(zip(samples, keys, strict=True)):
            write(sample.flip, read(key), out['lq'][row], self.store, key)
        return {'lq_path': keys}
