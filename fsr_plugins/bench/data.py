"""The sets of a suite: which images they are, told by checksums, and the LR that every network is given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fsr_plugins.bench.people import TestPeople, people_in
from fsr_plugins.bench.results import Json, SetResults
from fsr_plugins.config.options import Block
from fsr_plugins.config.settings import SetOptions, read_settings
from fsr_plugins.data.image_dataset import ImageDataset
from fsr_plugins.data.loader import EvalLoader
from fsr_plugins.engine.loaders import make_dataset
from fsr_plugins.errors import UserError
from fsr_plugins.models.stage_model import StageModel
from fsr_plugins.models.strategies import lq_of, meta_of
from fsr_plugins.stores.checksum import store_checksum


@dataclass(frozen=True)
class DatasetFingerprint:
    """Which images a set has: equal for equal sets, wherever they lie."""

    checksums: tuple[str, ...]  #: of its stores, in order
    keys: str  #: SHA-256 of the keys in use
    images: int

    def as_dict(self) -> SetResults:
        """Plain values."""
        return {'images': self.images, 'checksums': list(self.checksums), 'keys_sha256': self.keys}

    def __str__(self) -> str:
        stores = ' + '.join(checksum[:12] for checksum in self.checksums)
        return f'{self.images} images of {stores} (keys {self.keys[:8]})'


def fingerprint(dataset: ImageDataset) -> DatasetFingerprint:
    """Of a dataset; folders are read for it once."""
    keys = dataset.lists()[dataset.role]
    checksums = tuple(store_checksum(part) for store in dataset.stores for part in store.parts)
    return DatasetFingerprint(checksums, hashlib.sha256('\n'.join(keys).encode()).hexdigest(), len(keys))


class TestSet:
    """The test images in one order, as HR and LR, each time the same.

    Args:
        block: the dataset's block.
        options: device, degradation, scale and seed, see :meth:`Suite.run_options`.

    Attributes:
        dataset: the images.
        fingerprint: which they are.
        people: whose they are.
        device: where LR and HR are put.
    """

    __test__ = False  # it is no test, whatever pytest makes of the name

    def __init__(self, block: Block, options: Block) -> None:
        data, settings = SetOptions('test', dict(block)), read_settings(dict(options))
        self.dataset = make_dataset(data, 'val', settings)
        if not isinstance(self.dataset, ImageDataset) or not self.dataset.has_gt:
            raise UserError("The suite's 'test' must be a set of HR faces of this toolkit, e.g. a FaceDataset.")
        self.fingerprint = fingerprint(self.dataset)
        self.people: TestPeople = people_in(self.dataset)
        self.scale = settings.scale
        # A model without networks: it brings batches to the device and makes LR as in training.
        self._feeder = StageModel(dict(options))
        self.device = self._feeder.device
        self._loader = EvalLoader(self.dataset, data.batch_size, threads=data.threads, prefetch=2)
        self._lr_sha256 = hashlib.sha256()
        self._seen = False

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def lr_sha256(self) -> str:
        """Of all LR images, once :meth:`batches` has gone through them."""
        if not self._seen:
            for _ in self.batches():
                pass
        return self._lr_sha256.hexdigest()

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Json]]:
        """LR and HR, NCHW RGB in [0, 1], and what metrics learn besides; in the same batches each time."""
        for batch in self._loader:
            lq = lq_of(self._feeder, batch, self.dataset.name)
            assert self._feeder.gt is not None  # has_gt
            if not self._seen:
                self._lr_sha256.update(lq.cpu().contiguous().numpy().tobytes())
            yield lq, self._feeder.gt, meta_of(self._feeder)
        self._seen = True

    def pick(self, index: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """LR, HR, both (1, 3, H, W), and landmarks (5, 2) or None, of one image."""
        sample = torch.utils.data.default_collate([dict(self.dataset[index])])
        lq = lq_of(self._feeder, sample, self.dataset.name)
        assert self._feeder.gt is not None  # has_gt
        landmarks = self._feeder.batch.get('landmarks')
        return lq, self._feeder.gt, None if landmarks is None else landmarks[0].cpu()

    def first(self) -> tuple[Tensor, Tensor, Json]:
        """What :meth:`batches` gives, of the first image alone."""
        lq, gt, _ = self.pick(0)
        return lq, gt, meta_of(self._feeder)

    @property
    def lr_size(self) -> tuple[int, int]:
        """Height and width of the first image's LR."""
        height, width = self.pick(0)[0].shape[-2:]
        return height, width
