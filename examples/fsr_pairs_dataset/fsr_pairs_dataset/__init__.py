"""A dataset for fsr_plugins: HR faces, each with one or several recorded LR. Importing this module registers it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from pydantic import Field

from fsr_plugins.data.augment import draw_below
from fsr_plugins.data.hr_dataset import HRDataset
from fsr_plugins.data.image_dataset import Arrays, Sample, Slot, write
from fsr_plugins.data.options import Block, HRDatasetOptions, Roots
from fsr_plugins.errors import UserError
from fsr_plugins.registry import DATASET_REGISTRY
from fsr_plugins.stores.verify import verify


class PairListOptions(HRDatasetOptions):
    """Keys of :class:`PairListDataset`."""

    dataroot_lq: Roots = Field(description='recorded LR: folder, *.lmdb or another store')
    pairs: str = Field(description='a file with a line gt,lq for each recording: the keys of an HR and of its LR')
    gt_size: None = Field(None, description='not for this dataset: its faces are used whole')


@DATASET_REGISTRY.register()
class PairListDataset(HRDataset):
    """HR faces, and with each an LR that was recorded of it: drawn anew in every epoch, in validation the first."""

    Options = PairListOptions
    options: PairListOptions

    def __init__(self, opt: Block) -> None:
        super().__init__(opt)
        self.lq, self.recordings = self.open_root(self.options.dataroot_lq), read_pairs(self.options.pairs)
        there = set(self.lq.keys)
        for key in map(self.key, range(len(self))):
            if not self.recordings.get(key) or not there.issuperset(self.recordings[key]):
                raise UserError(f"'{self.options.pairs}' names no LR for '{key}', or one not in '{self.lq.path}'.")

    def slots(self, index: int) -> dict[str, Slot]:
        """The arrays that a sample fills; ``lq`` is HR's size divided by the scale."""
        height, width = self.shape(index)
        return {**super().slots(index), 'lq': Slot((height // self.scale, width // self.scale, 3), np.uint8)}

    def fill_samples(self, samples: Sequence[Sample], out: Arrays, stack: ExitStack) -> dict[str, list[str]]:
        """Writes HR and LR of samples into a part of a batch."""
        paths = super().fill_samples(samples, out, stack)
        read = stack.enter_context(self.lq.reader())
        partners = [self.partner(sample) for sample in samples]
        for row, (sample, key) in enumerate(zip(samples, partners, strict=True)):
            write(sample.flip, read(key), out['lq'][row], self.lq, key)
        return {**paths, 'lq_path': partners}

    def partner(self, sample: Sample) -> str:
        """The recording that a sample takes: a function of its seed, so that a run can be taken up anywhere."""
        recordings = self.recordings[self.key(sample.place)]
        return recordings[draw_below(sample.seed, len(recordings)) if self.options.training else 0]

    def lists(self) -> dict[str, list[str]]:
        """The keys in use; of the LR all recordings."""
        lists = super().lists()
        return {**lists, 'lq': [partner for key in lists['gt'] for partner in self.recordings[key]]}

    def check(self, scale: int) -> None:
        """Looks at every image; a recording must be its HR's size divided by the scale."""
        super().check(scale)
        found = dict(zip(self.lq.keys, verify(self.lq).tolist(), strict=True))
        for place, size in enumerate((self.sizes() // scale).tolist()):
            for key in self.recordings[self.key(place)]:
                if found[key] != size:
                    raise UserError(f"'{self.lq.where(key)}' is {found[key]}, its HR divided by {scale} is {size}.")


def read_pairs(path: str) -> dict[str, list[str]]:
    """The recordings by HR key, in the order of the file; UserError if it is no such list."""
    recordings: dict[str, list[str]] = {}
    try:
        with open(path, encoding='utf-8') as file:
            for gt, lq in (line.split(',') for line in file.read().split()):
                recordings.setdefault(gt, []).append(lq)
    except (OSError, ValueError) as error:
        raise UserError(f"'pairs: {path}' has to be a file of lines gt,lq: {error}.") from error
    return recordings
