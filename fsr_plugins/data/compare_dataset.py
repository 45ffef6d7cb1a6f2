"""HR faces, each with another face of the same person: the compare face of C-Face (Section 3.3)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import ClassVar

import numpy as np

from fsr_plugins.data.augment import draw_below
from fsr_plugins.data.compare_index import CompareIndex
from fsr_plugins.data.hr_dataset import HRDataset
from fsr_plugins.data.image_dataset import Arrays, Sample, Slot
from fsr_plugins.data.options import Block, CompareFaceDatasetOptions
from fsr_plugins.data.others import AllOthers, NearestOthers, Others
from fsr_plugins.data.seeding import mix
from fsr_plugins.data.unpaired import write_apart
from fsr_plugins.errors import UserError
from fsr_plugins.registry import DATASET_REGISTRY

logger = logging.getLogger(__name__)

#: Keeps the draws for compare faces apart from those for the faces, and for unpaired images.
_STREAM = 2


@DATASET_REGISTRY.register()
class CompareFaceDataset(HRDataset):
    """HR faces, and with each a compare face (``compare_gt``): one of its ``k`` nearest of the same person.

    Which one is drawn anew in every epoch, uniformly; a person of fewer images gives what there is. ``has_compare`` is
    false for a person of one image, whose ``compare_gt`` is the face itself. With ``random: true`` it is any other
    image of the person (the paper's Table 6). Crops and flips are independent of the face's. Views belong to ``gt``;
    with the view ``landmarks`` there are ``compare_landmarks`` too.
    The index of the nearest is built on first use and stored (:class:`~fsr_plugins.data.compare_index.CompareIndex`).
    """

    Options: ClassVar[type[CompareFaceDatasetOptions]] = CompareFaceDatasetOptions
    options: CompareFaceDatasetOptions
    has_gt: ClassVar[bool] = True

    def __init__(self, opt: Block) -> None:
        super().__init__(opt)
        for part in self.gt.parts:
            if part.identities is None:
                raise UserError(
                    f"The dataset '{self.name}' compares faces of one person, but '{part.place}' does not say who is "
                    'who; prepare the data with identities, or take a FaceDataset.'
                )
        compare = self.options.compare
        self.others: Others
        if compare.random or compare.recogniser is None:
            assert self.gt.identities is not None
            self.others = AllOthers(self.gt.identities[self.chosen])
        else:
            same = {'name': self.name, 'phase': 'test', **self.options.choice}
            if compare.align == 'landmarks':
                same['views'] = ['landmarks']
            images = HRDataset(same)
            self.others = NearestOthers(CompareIndex(images, compare.recogniser, compare.k, compare.align).neighbours())
        alone = int((self.others.counts == 0).sum())
        logger.info(
            "The dataset '%s': %d of %d faces have no compare face, being their person's only one.",
            self.name, alone, len(self),
        )  # fmt: skip

    def lists(self) -> dict[str, list[str]]:
        """See :meth:`ImageDataset.lists`; ``compare_gt`` holds some face's compare faces, or their own."""
        used = self.others.reached() | (self.others.counts == 0)
        return {**super().lists(), 'compare_gt': [self._keys[place] for place in np.flatnonzero(used)]}

    def slots(self, index: int) -> dict[str, Slot]:
        """See :meth:`HRDataset.slots`; ``compare_gt`` is of the face's size, ``has_compare`` a truth value."""
        slots = super().slots(index)
        points = {'compare_landmarks': slots['landmarks']} if 'landmarks' in slots else {}
        return {**slots, 'compare_gt': slots['gt'], 'has_compare': Slot((), np.bool_), **points}

    def fill_samples(self, samples: Sequence[Sample], out: Arrays, stack: ExitStack) -> dict[str, list[str]]:
        """See :meth:`ImageDataset.fill_samples`."""
        paths = super().fill_samples(samples, out, stack)
        read = stack.enter_context(self.gt.reader())
        seeds = [mix(sample.seed, _STREAM) for sample in samples]
        counts = self.others.counts[out['index']]
        out['has_compare'][:] = counts > 0
        # A person of one face is compared with that face itself.
        places = [
            self.others.pick(sample.place, draw_below(seed, count)) if count else sample.place
            for sample, seed, count in zip(samples, seeds, counts.tolist(), strict=True)
        ]
        keys = [self._keys[place] for place in places]
        flips = self.options.use_hflip, self.options.use_rot
        for row, (place, key, seed) in enumerate(zip(places, keys, seeds, strict=True)):
            placed = write_apart(read(key), seed, flips, self.gt_size is not None, out['compare_gt'][row], self.gt, key)
            if 'compare_landmarks' in out and self.gt.landmarks is not None:
                out['compare_landmarks'][row] = placed.points(self.gt.landmarks[self.chosen[place]])
        return {**paths, 'compare_gt_path': keys}
